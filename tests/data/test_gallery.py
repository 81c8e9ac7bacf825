import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import v2

from src.data.celeba import CelebA
from src.data.digits import Digits
from src.data.files import fingerprint
from src.data.gallery import SHOWN, Embedded, Gallery
from src.data.pictures import DamagedImageError

GREYS = [10 * number for number in range(12)]


class Pixels(nn.Module):
    """Embeds an image as its first two pixels, and counts the images that it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.seen = 0

    def forward(self, images: Tensor) -> Tensor:
        self.seen += len(images)
        return images.flatten(1)[:, :2] * self.weight


def embed(folder: Path, encoder: nn.Module, strict: bool = False, model: str = "A") -> Embedded:
    gallery = Gallery(folder, Digits(split_seed=0), strict)
    return gallery.embed(encoder, folder.parent / "cache", model)


def greys(embedded: Embedded) -> list[int]:
    assert len(embedded.files) == len(embedded.embeddings)
    values = embedded.embeddings[: len(embedded.files)][:, 0].int().tolist()
    pixels = embedded.files[torch.arange(len(embedded.files))]
    assert pixels[:, 0, 0, 0].tolist() == values  # images belong to their embeddings
    return values


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve images, each of one grey."""
    (tmp_path / "gallery").mkdir()
    for number, grey in enumerate(GREYS):
        Image.new("L", (8, 8), grey).save(tmp_path / "gallery" / f"{number:02d}.png")
    return tmp_path / "gallery"


def test_images_are_embedded_once(folder: Path) -> None:
    encoder = Pixels()
    for _ in range(2):
        embedded = embed(folder, encoder)
        assert greys(embedded) == GREYS
        assert embedded.left_out == []
    assert encoder.seen == 12


def test_what_cannot_be_decoded_is_left_out_and_said_each_time(folder: Path) -> None:
    (folder / "00.png").write_text("no image")
    (folder / "07.png").write_bytes((folder / "07.png").read_bytes()[:45])
    (folder / "deep.png").write_bytes(b"")
    Image.new("I;16", (8, 8), 7).save(folder / "deep.png")
    (folder / "notes.txt").touch()
    encoder = Pixels()
    for _ in range(2):
        embedded = embed(folder, encoder)
        assert greys(embedded) == [grey for grey in GREYS if grey not in (0, 70)]
        counts, *messages = embedded.left_out
        assert counts == "left out: with other endings (.txt): 1, cannot be decoded: 3"
        for name, message in zip(("00", "07", "deep"), messages, strict=True):
            assert message.startswith(f"{folder}/{name}.png ")
        assert messages[2].endswith("deep.png has more than 8 bits a channel: convert it")
    assert encoder.seen == 10


def test_strict_galleries_stop(folder: Path) -> None:
    (folder / "07.png").write_text("no image")
    with pytest.raises(DamagedImageError, match=r"07\.png is damaged"):
        embed(folder, Pixels(), strict=True)
    embed(folder, Pixels())
    with pytest.raises(DamagedImageError, match=r"07\.png is damaged"):  # as was found before
        embed(folder, Pixels(), strict=True)


def test_many_that_cannot_be_decoded_are_counted(folder: Path) -> None:
    for number in range(SHOWN + 5):
        (folder / f"bad {number:03d}.png").touch()
    counts, *messages = embed(folder, Pixels()).left_out
    assert counts == f"left out: cannot be decoded: {SHOWN + 5}"
    assert len(messages) == SHOWN + 1
    assert messages[-1] == "and 5 more"


def test_a_folder_without_an_image_is_refused_with_what_is_there(folder: Path) -> None:
    for path in folder.iterdir():
        path.write_text("no image")
    with pytest.raises(ValueError, match=r"no image in \S+ can be decoded: \S+00\.png is damaged"):
        embed(folder, Pixels())
    assert not list((folder.parent / "cache").glob("*.npy"))
    for path in list(folder.iterdir()):
        path.rename(path.with_suffix(".heic"))
    with pytest.raises(ValueError, match=r"no images in \S+; left out: with .*\(\.heic\): 12"):
        embed(folder, Pixels())


@pytest.mark.parametrize("kind", ["gif", "tif", "jfif", "jpe", "avif", "webp", "bmp", "PNG"])
def test_formats_that_pillow_opens_are_images(kind: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.new("L", (8, 8), 200).save(tmp_path / "in" / f"a.{kind}")
    assert greys(embed(tmp_path / "in", Pixels())) == pytest.approx([200], abs=1)


def test_names_of_any_bytes_are_embedded(folder: Path) -> None:
    for name in (b"caf\xe9.png", b"\xff\xfe.png", b"esc\x1b[31m.png", "画像.png".encode()):
        shutil.copy(folder / "01.png", folder / os.fsdecode(name))
    (folder / os.fsdecode(b"broken\xe9.png")).touch()
    embedded = embed(folder, Pixels())
    assert len(embedded.files) == 16
    assert embedded.left_out[1].startswith(f"{folder}/broken\\xe9.png is damaged")


def test_an_image_overwritten_with_its_old_size_and_time_is_embedded_anew(folder: Path) -> None:
    embed(folder, Pixels())
    path = folder / "03.png"
    before = path.stat()
    other = Image.new("L", (8, 8), 31)  # which compresses to the same size
    other.save(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert greys(embed(folder, Pixels()))[3] == 31


def test_other_models_have_other_embeddings(folder: Path) -> None:
    encoders = {"A": Pixels(), "B": Pixels()}
    nn.init.constant_(encoders["B"].weight, 2)
    for model, encoder in encoders.items():
        embedded = embed(folder, encoder, model=model)
        assert embedded.embeddings[:12][:, 0].tolist() == [
            grey * (1 + (model == "B")) for grey in GREYS
        ]


@pytest.mark.parametrize("size", [(60, 40), (40, 60), (33, 33)])
def test_any_picture_becomes_its_middle_in_the_size_of_the_set(size: tuple[int, int]) -> None:
    pixels = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    side = min(size)
    top, left = (size[1] - side) // 2, (size[0] - side) // 2
    pixels[top : top + side, left : left + side] = 200
    picture = Image.fromarray(pixels)
    grey = Digits(split_seed=0).decode(picture)
    colour = CelebA("", 20, "keep", cache=True, attributes=None).decode(picture)
    assert grey.shape == (1, 8, 8)
    assert colour.shape == (3, 20, 20)
    # Scaling mixes a little of what is outside into the outermost pixels.
    assert grey[:, 1:-1, 1:-1].min() == colour[:, 2:-2, 2:-2].min() == 200
    assert grey.min() > 100


def test_aligned_faces_lose_their_top_rows() -> None:
    generator = np.random.default_rng(0)
    face = Image.fromarray(generator.integers(0, 256, (218, 178, 3), dtype=np.uint8))
    expected = v2.Compose([v2.Resize(40), v2.PILToTensor()])(face.crop((0, 40, 178, 218)))
    assert np.array_equal(
        CelebA("", 40, "keep", cache=True, attributes=None).decode(face), expected.numpy()
    )


def test_files_that_change_places_are_other_files(tmp_path: Path) -> None:
    paths = [tmp_path / folder / "1.png" for folder in "ab"]
    for path in paths:
        path.parent.mkdir()
        path.write_bytes(path.parent.name.encode())
        os.utime(path, (0, 0))
    before = fingerprint(paths, {})
    assert fingerprint(paths, {}) == before
    assert fingerprint(paths[::-1], {}) != before
