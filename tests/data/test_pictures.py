"""Pictures of every kind, as galleries and data sets decode them."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageOps

from src.data.celeba import CelebA
from src.data.cxr14 import ChestXray14
from src.data.digits import Digits
from src.data.files import ImageFiles
from src.data.images import ImageSet
from src.data.pictures import DamagedImageError

SIZE = 40
SETS: dict[str, ImageSet] = {
    "grey": Digits(split_seed=0),
    "colour": CelebA("", SIZE, "keep", cache=True, attributes=None),
    "X-rays": ChestXray14("", SIZE, validation=0.1, split_seed=0, cache=True),
}


def decode(path: Path, images: ImageSet) -> np.ndarray:
    """Pixels of a file (channels, height, width), as the set stores them."""
    return ImageFiles([path], images.stored_shape, images.decode)[torch.tensor([0])][0].numpy()


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG file."""
    check = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)


def png(depth: int, colour: int, row: bytes, *chunks: bytes) -> bytes:
    """A PNG file of 40 equal rows of 40 pixels, with chunks before these."""
    header = struct.pack(">IIBBBBB", SIZE, SIZE, depth, colour, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress((b"\0" + row) * SIZE))
    parts = (chunk(b"IHDR", header), *chunks, pixels, chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


# Each picture is black in its left half and, in its right half, black or grey and transparent.
BLACK_LEFT = np.zeros((SIZE, SIZE, 4), dtype=np.uint8)
BLACK_LEFT[:, : SIZE // 2, 3] = 255
HALF = SIZE // 2


def save_as(mode: str) -> Callable[[Path], None]:
    return lambda path: Image.fromarray(BLACK_LEFT).convert(mode).save(path)


def save_palette(transparency: int | bytes) -> Callable[[Path], None]:
    """A palette of black, black and red, whose second entry is transparent."""

    def save(path: Path) -> None:
        image = Image.new("P", (SIZE, SIZE))
        image.putpalette([0, 0, 0, 0, 0, 0, 255, 0, 0])
        image.paste(1, (HALF, 0, SIZE, SIZE))
        image.save(path, transparency=transparency)

    return save


def save_png(depth: int, colour: int, row: bytes, *chunks: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(png(depth, colour, row, *chunks))


TRANSPARENT: dict[str, tuple[str, Callable[[Path], object]]] = {
    "RGBA": ("a.png", save_as("RGBA")),
    "RGBA in a TIFF": ("a.tif", save_as("RGBA")),
    "RGBA in a WebP": ("a.webp", lambda p: Image.fromarray(BLACK_LEFT).save(p, lossless=True)),
    "LA": ("a.png", save_as("LA")),
    "palette, one entry": ("a.png", save_palette(1)),
    "palette, an alpha each": ("a.png", save_palette(bytes([255, 0, 128]))),
    "GIF": ("a.gif", save_palette(1)),
    "PA": ("a.tif", save_as("PA")),
    "16 bits, RGBA": ("a.png", save_png(16, 6, (bytes(6) + b"\xff\xff") * HALF + bytes(8 * HALF))),
    "16 bits, LA": ("a.png", save_png(16, 4, b"\0\0\xff\xff" * HALF + bytes(4 * HALF))),
    "16 bits, a colour": (
        "a.png",
        save_png(16, 2, bytes(6) * HALF + b"\x80\1" * 3 * HALF, chunk(b"tRNS", b"\x80\1" * 3)),
    ),
    "8 bits, a colour": (
        "a.png",
        save_png(8, 2, bytes(3) * HALF + b"\1\2\3" * HALF, chunk(b"tRNS", b"\0\1\0\2\0\3")),
    ),
    "8 bits, a grey": ("a.png", save_png(8, 0, bytes(20) + b"\7" * 20, chunk(b"tRNS", b"\0\7"))),
    "4 bits, a grey": ("a.png", save_png(4, 0, bytes(10) + b"\x55" * 10, chunk(b"tRNS", b"\0\5"))),
    "2 bits, a grey": ("a.png", save_png(2, 0, bytes(5) + b"\x55" * 5, chunk(b"tRNS", b"\0\1"))),
}


@pytest.mark.parametrize("images", SETS.values(), ids=SETS)
@pytest.mark.parametrize(("name", "save"), TRANSPARENT.values(), ids=TRANSPARENT)
def test_transparent_parts_are_white(
    name: str, save: Callable[[Path], object], images: ImageSet, tmp_path: Path
) -> None:
    save(tmp_path / name)
    pixels = decode(tmp_path / name, images)
    middle = pixels.shape[2] // 2
    # Scaling mixes a little of one half into the other.
    assert pixels[:, :, : middle - 1].max() == 0
    assert pixels[:, :, middle + 1 :].min() == 255


def test_half_transparent_parts_are_mixed_with_white(tmp_path: Path) -> None:
    Image.new("RGBA", (SIZE, SIZE), (200, 0, 0, 102)).save(tmp_path / "red.png")
    pixels = decode(tmp_path / "red.png", SETS["colour"])
    mixed = torch.tensor([200 * 0.4 + 255 * 0.6, 255 * 0.6, 255 * 0.6]).round()
    assert np.array_equal(pixels, mixed.view(3, 1, 1).expand(3, SIZE, SIZE).numpy())


# A picture whose upper half is white once it is turned
SIDEWAYS = np.zeros((SIZE, SIZE), dtype=np.uint8)
SIDEWAYS[:, :HALF] = 255
TURN_RIGHT = 6


def exif(*fields: tuple[int, int, int, bytes]) -> bytes:
    """EXIF of fields (tag, type, count, value), which none checks."""
    entries = b"".join(struct.pack("<HHI", *field[:3]) + field[3] for field in sorted(fields))
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(fields)) + entries + bytes(68)


ORIENTATION = (0x0112, 3, 1, bytes([TURN_RIGHT, 0, 0, 0]))
READABLE = {
    "alone": exif(ORIENTATION),
    "a width of text": exif(ORIENTATION, (0x0101, 2, 2, b"40\0\0")),
    "a resolution of bytes": exif(ORIENTATION, (0x011A, 7, 4, b"abcd")),
    "a host of floats": exif(ORIENTATION, (0x013C, 11, 1, b"\0\0\x80\x3f")),
    "a description of fractions by zero": exif(ORIENTATION, (0x010E, 5, 1, b"\x40\0\0\0")),
    "an unknown type": exif(ORIENTATION, (0x010F, 99, 1, b"\0\0\0\0")),
    "several orientations": exif((0x0112, 3, 2, b"\6\0\6\0")),
    "folders beyond the end": exif(ORIENTATION, (0x8769, 4, 1, b"\xff\xff\xff\xff")),
}
UNREADABLE = {
    "noise": b"Exif\0\0" + b"noise" * 9,
    "nothing": b"Exif\0\0",
    "an orientation of text": exif((0x0112, 2, 4, b"six\0")),
    "an orientation out of range": exif((0x0112, 3, 1, b"\x63\0\0\0")),
    "values beyond the end": exif(ORIENTATION, (0x010F, 2, 50_000, b"\xff\xff\0\0")),
}


@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
@pytest.mark.parametrize(
    ("stored", "turned"),
    [*((value, True) for value in READABLE.values()), *((b, False) for b in UNREADABLE.values())],
    ids=[*READABLE, *UNREADABLE],
)
def test_odd_exif_keeps_no_picture_from_use(
    stored: bytes, turned: bool, kind: str, tmp_path: Path
) -> None:
    path = tmp_path / f"a.{kind}"
    Image.fromarray(SIDEWAYS).convert("RGB").save(path, exif=stored)
    pixels = decode(path, SETS["colour"])[0].astype(int)
    first, last = (pixels[:5, 8:-8], pixels[-5:, 8:-8]) if turned else (pixels.T[:5], pixels.T[-5:])
    assert first.min() > 230
    assert last.max() < 25


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpg", "png", "tif"])
def test_pictures_are_turned_once_as_pillow_does(
    orientation: int, kind: str, tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    fields = Image.Exif()
    fields[ExifTags.Base.Orientation] = orientation
    Image.fromarray(noise).resize((SIZE, SIZE)).save(tmp_path / f"a.{kind}", exif=fields)
    with Image.open(tmp_path / f"a.{kind}") as image:
        expected = np.asarray(ImageOps.exif_transpose(image)).transpose(2, 0, 1)
    assert np.array_equal(decode(tmp_path / f"a.{kind}", SETS["colour"]), expected)


ROW = bytes(range(SIZE))
GOOD = png(8, 0, ROW)
UNDECODABLE = {
    "text": b"no picture",
    "nothing": b"",
    "cut off": GOOD[:80],
    "size too short": b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", b"\0" * 8) + GOOD[33:],
    "transparent colour too short": png(8, 2, ROW * 3, chunk(b"tRNS", b"\0")),
    "gamma too short": png(8, 0, ROW, chunk(b"gAMA", b"\0")),
    "chromaticity too short": png(8, 0, ROW, chunk(b"cHRM", b"\0")),
    "resolution too short": png(8, 0, ROW, chunk(b"pHYs", b"\0")),
    "text too long": png(8, 0, ROW, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2_000_000)))),
    "animation too short": png(8, 0, ROW, chunk(b"acTL", b"\0")),
    "more than 8 bits": png(16, 0, ROW * 2),
    "wider than memory": GOOD[:8]
    + chunk(b"IHDR", struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 0, 0, 0, 0))
    + GOOD[33:],
}


@pytest.mark.parametrize("content", UNDECODABLE.values(), ids=UNDECODABLE)
def test_what_cannot_be_decoded_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DamagedImageError, match=r"a\.png (is|has|cannot) "):
        decode(tmp_path / "a.png", SETS["grey"])


def test_a_picture_of_too_many_pixels_is_too_large_not_damaged(tmp_path: Path) -> None:
    Image.new("1", (20_000, 10_000)).save(tmp_path / "a.png")
    with pytest.raises(DamagedImageError, match=r"a\.png is too large .*: scale it down") as caught:
        decode(tmp_path / "a.png", SETS["grey"])
    assert "damaged" not in str(caught.value)


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(DamagedImageError, match=r"a\.png cannot be read: No such file"):
        decode(tmp_path / "a.png", SETS["grey"])
