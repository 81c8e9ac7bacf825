"""Drawn faces in CelebA's own file layout: a stand-in that runs anywhere, and is not CelebA."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from filelock import FileLock
from PIL import Image, ImageDraw
from rich.progress import track

from src.data.atomic import replacing
from src.data.celeba import ATTRIBUTES, IMAGES, NAMES, PARTITION, CelebA, Unlabelled
from src.data.images import LabelledImages

HAIR = {
    "Black_Hair": "#1c1a19",
    "Blond_Hair": "#d8b45a",
    "Brown_Hair": "#6b4426",
    "Gray_Hair": "#a9a9a6",
}
WIDTH, HEIGHT = 178, 218
DRAWING = 2  # raised when faces come out differently, so that older ones are not read

Colour = str | tuple[int, ...]


class Faces(CelebA):
    """Drawn faces, made on first use; everything else is CelebA's loader.

    Args:
        number: Number of faces to draw, 80 / 10 / 10 percent in the three partitions.
        split_seed: Seed of all that is drawn.
        root, image_size, unlabelled, cache, attributes: As in `CelebA`.
    """

    def __init__(
        self,
        number: int,
        split_seed: int,
        root: str,
        image_size: int,
        unlabelled: Unlabelled,
        cache: bool,
        attributes: list[str] | None,
    ) -> None:
        super().__init__(root, image_size, unlabelled, cache, attributes)
        self.number = number
        self.split_seed = split_seed

    @property
    def folder_name(self) -> str:
        return f"faces-v{DRAWING}-{self.number}-{self.split_seed}"

    def draw(self) -> None:
        """Draw the faces, unless they are there already."""
        folder = self.root / self.folder_name
        if folder.exists():  # whole, and perhaps for reading alone
            return
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not folder.exists():
                write_faces(folder, self.number, self.split_seed)

    def load(self) -> Mapping[str, LabelledImages]:
        self.draw()
        return super().load()

    def checksums(self) -> Mapping[Path, str]:
        return {}


def write_faces(folder: Path, number: int, seed: int) -> None:
    """Draw faces into a new folder in CelebA's layout, whole or not at all."""
    rows, parts = [str(number), " ".join(NAMES)], []
    with replacing(folder) as partial:
        (partial / IMAGES).mkdir(parents=True)
        for index in track(range(number), f"drawing {number:,} faces", transient=True):
            generator = np.random.default_rng([seed, index])
            attributes = draw_attributes(generator)
            name = f"{index + 1:06d}.jpg"
            draw_face(attributes, generator).save(partial / IMAGES / name, quality=90)
            signs = ("  1" if column in attributes else " -1" for column in NAMES)
            rows.append(name + "".join(signs))
            split = max(0, index % 10 - 7)  # eight of ten train, then val, then test
            parts.append(f"{name} {split}")
        (partial / ATTRIBUTES).write_text("\n".join(rows) + "\n")
        (partial / PARTITION).write_text("\n".join(parts) + "\n")


def draw_attributes(generator: np.random.Generator) -> set[str]:
    """Attributes of a face, as correlated and uneven as those of CelebA, but less rare; those
    without a chance here are no face's.
    """

    def happens(probability: float) -> bool:
        return bool(generator.random() < probability)

    male = happens(0.5)
    chances = {
        "Male": float(male),
        "Bald": 0.2 if male else 0.02,
        "Eyeglasses": 0.25 if male else 0.12,
        "Wearing_Necktie": 0.25 if male else 0.02,
        "Wearing_Hat": 0.12,
        "Smiling": 0.5,
        "Pale_Skin": 0.2,
        "Wearing_Lipstick": 0.02 if male else 0.6,
        "Mustache": 0.12 if male else 0.0,
        "Wearing_Earrings": 0.02 if male else 0.3,
    }
    attributes = {name for name, chance in chances.items() if happens(chance)}
    if "Wearing_Hat" in attributes:  # nobody can tell what is under it
        attributes.discard("Bald")
    if "Bald" not in attributes:
        attributes.add(str(generator.choice(list(HAIR))))
    if "Mustache" not in attributes:
        attributes.add("No_Beard")
    return attributes


def draw_face(attributes: set[str], generator: np.random.Generator) -> Image.Image:
    """Draw one face, 178 x 218, with these attributes and everything else at random."""
    background = tuple(int(value) for value in generator.integers(60, 230, 3))
    image = Image.new("RGB", (WIDTH, HEIGHT), background)
    draw = ImageDraw.Draw(image)
    x, y = 89 + int(generator.integers(-7, 8)), 128 + int(generator.integers(-6, 7))
    male = "Male" in attributes
    half_width, half_height = (
        36 + int(generator.integers(-3, 4)),
        48 + int(generator.integers(-3, 4)),
    )
    tone = (
        generator.uniform(0.85, 1.0) if "Pale_Skin" in attributes else generator.uniform(0.5, 0.8)
    )
    skin = tuple(int(tone * value) for value in (255, 214, 190))
    dark = tuple(int(0.75 * value) for value in skin)
    hair = next((colour for name, colour in HAIR.items() if name in attributes), None)

    def ellipse(left: float, top: float, right: float, bottom: float, fill: Colour) -> None:
        draw.ellipse((x + left, y + top, x + right, y + bottom), fill=fill)

    def box(left: float, top: float, right: float, bottom: float, fill: Colour) -> None:
        draw.rectangle((x + left, y + top, x + right, y + bottom), fill=fill)

    if hair and not male:  # long hair behind the face
        draw.rounded_rectangle(
            (x - half_width - 12, y - half_height - 8, x + half_width + 12, y + 62), 30, fill=hair
        )
    clothes = tuple(int(value) for value in generator.integers(30, 200, 3))
    box(-16, 30, 16, 72, dark)
    ellipse(-78, 58, 78, 150, clothes)
    if "Wearing_Necktie" in attributes:
        draw.polygon([(x - 20, y + 58), (x + 20, y + 58), (x, y + 95)], fill="white")
        tie = tuple(int(value) for value in generator.integers((120, 0, 0), (220, 60, 160)))
        draw.polygon(
            [(x - 7, y + 60), (x + 7, y + 60), (x + 10, y + 95), (x - 10, y + 95)], fill=tie
        )

    if hair and male:
        ellipse(-half_width - 8, -half_height - 14, half_width + 8, 16, hair)
    if male:
        draw.rounded_rectangle(
            (x - half_width, y - half_height, x + half_width, y + half_height), 24, fill=skin
        )
    else:
        ellipse(-half_width, -half_height, half_width, half_height, skin)
    if hair:  # hairline
        draw.chord(
            (x - half_width, y - half_height - 4, x + half_width, y - 4), 195, 345, fill=hair
        )

    brow = 4 if male else 2
    for side in (-1, 1):
        ellipse(side * 16 - 6, -10, side * 16 + 6, -2, "white")
        ellipse(side * 16 - 3, -9, side * 16 + 3, -3, "#2b2b33")
        box(side * 16 - 9, -18, side * 16 + 9, -18 + brow, "#3a2a1e")
        if "Wearing_Earrings" in attributes:
            ellipse(side * half_width - 3, 14, side * half_width + 3, 22, "#e8c33c")
    draw.polygon([(x, y - 4), (x - 6, y + 14), (x + 6, y + 14)], fill=dark)
    lips = "#c0203a" if "Wearing_Lipstick" in attributes else "#8f4a42"
    arc = (10, 170) if "Smiling" in attributes else (200, 340)
    draw.arc((x - 16, y + 14, x + 16, y + 36), *arc, fill=lips, width=4)
    if "Mustache" in attributes:
        box(-15, 17, 15, 22, "#3a2a1e")
    if "Eyeglasses" in attributes:
        for side in (-1, 1):
            frame = (x + side * 16 - 13, y - 17, x + side * 16 + 13, y + 5)
            draw.rounded_rectangle(frame, 5, outline="#101010", width=3)
        box(-3, -8, 3, -5, "#101010")
    if "Wearing_Hat" in attributes:
        hat = tuple(int(value) for value in generator.integers(20, 230, 3))
        top = -half_height - 26
        draw.rounded_rectangle((x - 34, y + top, x + 34, y - 24), 10, fill=hat)
        draw.rounded_rectangle((x - 54, y - 34, x + 54, y - 23), 5, fill=hat)

    noise = generator.normal(0, 6, (HEIGHT, WIDTH, 3))
    return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))
