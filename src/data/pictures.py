"""Pictures in files of any kind that Pillow opens, as they are meant to be seen."""

import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageFile

GROUND = "white"  # behind transparent parts, as pages show most pictures

# Pillow's warnings name no file; what keeps a picture from use is an error.
warnings.filterwarnings("ignore", module=r"PIL\.")

Turn = Image.Transpose
TURNS = {
    2: Turn.FLIP_LEFT_RIGHT,
    3: Turn.ROTATE_180,
    4: Turn.FLIP_TOP_BOTTOM,
    5: Turn.TRANSPOSE,
    6: Turn.ROTATE_270,
    7: Turn.TRANSVERSE,
    8: Turn.ROTATE_90,
}  # by EXIF orientation

# Pillow scales the pixels of these PNGs to 8 bits, but not their colour that means transparent.
TO_8_BITS: dict[object, Callable[[int], int]] = {
    "L;2": lambda value: value * 85,
    "L;4": lambda value: value * 17,
    "RGB;16B": lambda value: value >> 8,
}


class DamagedImageError(ValueError):
    """An image file cannot be decoded.

    Args:
        message: The file and the reason.
        reason: The reason alone.
    """

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


@cache
def picture_endings() -> frozenset[str]:
    """The endings of names that Pillow has registered for formats that it can open."""
    endings = Image.registered_extensions()  # loads all formats first
    # .mpo is opened as .jpg is, and not listed by itself.
    return frozenset(ending for ending, name in endings.items() if name in {*Image.OPEN, "MPO"})


def read_picture(
    file: Path | BinaryIO, decode: Callable[[Image.Image], np.ndarray], name: str
) -> np.ndarray:
    """Decode a picture: its first frame, turned as its EXIF orientation says, without transparency.

    Transparent parts show `GROUND`. EXIF that cannot be read leaves the picture as it is stored.

    Args:
        file: The file.
        decode: Maps the opened picture to pixels.
        name: What it is called in messages.

    Raises:
        DamagedImageError: If that cannot be done, whatever the reason. The message says why.
    """
    try:
        with Image.open(file) as image:
            if image.mode.startswith(("I", "F")):
                raise DamagedImageError("has more than 8 bits a channel: convert it")
            _scale_transparent_colour(image)
            image.load()
            return decode(_on_ground(_upright(image)))
    except Exception as error:  # decoders raise anything
        reason = _reason(error)
        raise DamagedImageError(f"{name} {reason}", reason) from error


def _reason(error: Exception) -> str:
    if isinstance(error, DamagedImageError):
        return str(error)
    if isinstance(error, Image.DecompressionBombError):
        return f"is too large ({error}): scale it down"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read: {error.strerror}"
    return f"is damaged ({str(error) or type(error).__name__}): fetch it again"


def _scale_transparent_colour(image: ImageFile.ImageFile) -> None:
    colour = image.info.get("transparency")
    if image.format != "PNG" or colour is None:
        return
    scale = TO_8_BITS.get(image.tile[0].args)
    if scale is not None:
        parts = map(scale, colour if isinstance(colour, tuple) else [colour])
        image.info["transparency"] = tuple(parts) if isinstance(colour, tuple) else next(parts)


def _upright(image: Image.Image) -> Image.Image:
    """Turn a picture by its EXIF alone; `ImageOps.exif_transpose` writes all other fields anew,
    which fails for odd ones.
    """
    try:
        turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # of readers of EXIF, which raise anything
        return image
    return image if turn is None else image.transpose(turn)


def _on_ground(image: Image.Image) -> Image.Image:
    """Lay a picture on a ground of one colour, if parts of it are transparent."""
    if not image.has_transparency_data:
        return image
    ground = Image.new("RGBA", image.size, GROUND)
    return Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")
