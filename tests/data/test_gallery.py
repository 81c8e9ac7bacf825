import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from src.data.celeba import CelebA
from src.data.digits import Digits
from src.data.files import ImageFiles, fingerprint
from src.data.gallery import find_images
from src.data.pictures import DamagedImageError


def test_images_are_found_below_a_folder_in_order(tmp_path: Path) -> None:
    for name in ("b/2.JPG", "a.png", "b/1.webp", "note.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    names = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)]
    assert names == ["a.png", "b/1.webp", "b/2.JPG"]


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no images in"):
        find_images(tmp_path)
    with pytest.raises(ValueError, match="there is no folder"):
        find_images(tmp_path / "nowhere")


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


def test_files_that_no_picture_can_be_read_from_are_named(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 20), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "broken.png")
    content = (tmp_path / "broken.png").read_bytes()
    (tmp_path / "broken.png").write_bytes(content[:37] + b"\xff" * 8 + content[45:])
    Image.fromarray(noise.astype(np.uint16) * 200).save(tmp_path / "deep.png")
    for name, message in (("broken", "is damaged"), ("deep", "more than 8 bits")):
        digits = Digits(split_seed=0)
        files = ImageFiles([tmp_path / f"{name}.png"], digits.stored_shape, digits.decode)
        with pytest.raises(DamagedImageError, match=rf"{name}\.png .*{message}"):
            files[torch.tensor([0])]


def test_files_that_change_places_are_other_files(tmp_path: Path) -> None:
    paths = [tmp_path / folder / "1.png" for folder in "ab"]
    for path in paths:
        path.parent.mkdir()
        path.write_bytes(path.parent.name.encode())
        os.utime(path, (0, 0))
    before = fingerprint(paths, {})
    assert fingerprint(paths, {}) == before
    assert fingerprint(paths[::-1], {}) != before
