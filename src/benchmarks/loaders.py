"""Batches per second of the cached path against torchvision's data sets with a DataLoader."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from torch.utils.data import DataLoader, Dataset
from torchvision import datasets
from torchvision.transforms import v2

from src.benchmarks.images import RandomImages
from src.benchmarks.timing import now
from src.data.celeba import TOP_ROWS
from src.data.faces import Faces
from src.data.images import ImageSet
from src.data.mnist import FILES, FashionMnist
from src.data.normalize import Normalize
from src.modules.image_data import ImageDataModule
from src.reports.tables import Row

BATCH_SIZE, WORKERS, IMAGE_SIZE = 128, 2, 40
TITLE = "Batches per second"
COLUMNS = {
    "set": "images",
    "torchvision": "torchvision with a DataLoader, batches/s",
    "cached": "ours, batches/s",
    "speedup": "our rate / torchvision's",
    "decode_s": "to load or decode all images once, s",
}
CONDITIONS = (
    f"Training batches of {BATCH_SIZE}, shuffled, with the same transforms, ready on the device; "
    f"torchvision's through {WORKERS} worker processes, ours in the training process. "
    "Median over epochs after a first one."
)


def measure(device: str, epochs: int, images: int, faces: int) -> Iterator[Row]:
    """One row for noise in FashionMNIST's files, one for JPEG faces.

    Args:
        device: `cpu` or `cuda`.
        epochs: Number of epochs measured for each loader, after one that is not.
        images: Number of images in FashionMNIST's files.
        faces: Number of faces to draw.
    """
    with TemporaryDirectory() as folder:
        write_files(Path(folder) / "FashionMNIST" / "raw", images)
        garments = FashionMnist(folder, "test", 0, split_seed=0)  # all that torchvision's has
        transform = v2.Compose([*to_float(), v2.Normalize(garments.mean, garments.std)])
        reference = datasets.FashionMNIST(folder, train=True, transform=transform)
        yield compare(
            f"{images:,} as FashionMNIST, 28 x 28, in memory", garments, reference, device, epochs
        )

    with TemporaryDirectory() as folder:
        drawn = Faces(faces, 0, folder, IMAGE_SIZE, "keep", cache=True, attributes=None)
        drawn.draw()
        crop = v2.Lambda(lambda image: image.crop((0, TOP_ROWS, *image.size)))
        steps = [crop, v2.Resize(IMAGE_SIZE), v2.RandomHorizontalFlip(), *to_float()]
        files = datasets.ImageFolder(str(Path(folder) / drawn.folder_name), v2.Compose(steps))
        yield compare(f"{faces:,} JPEG faces, 178 x 218", drawn, files, device, epochs)


def write_files(folder: Path, images: int) -> None:
    """Noise of ten classes in the published layout of FashionMNIST."""
    folder.mkdir(parents=True)
    splits = RandomImages(images).splits
    for name, files in FILES.items():
        split = splits[name]
        classes = split.labels.int().argmax(dim=1).to(torch.uint8)
        for file, values in zip(files, (split.images.squeeze(1), classes), strict=True):
            sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
            header = bytes([0, 0, 8, values.ndim]) + sizes
            (folder / file).write_bytes(header + values.numpy().tobytes())


def to_float() -> list[v2.Transform]:
    """Transforms from a PIL image to a tensor in [0, 1]."""
    return [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]


def compare(name: str, image_set: ImageSet, reference: Dataset, device: str, epochs: int) -> Row:
    """Time both loaders on the same images."""
    start = now(device)
    data = ImageDataModule(
        image_set,
        batch_size=BATCH_SIZE,
        minterms_per_batch=None,
        repeat_images=False,
        fit_images=None,
        flipped=0.0,
        masked=0.0,
        unseen=0.0,
        workers=0,
        on_device=False,
        seed=0,
    )
    loader = data.train_dataloader()
    decode_s = now(device) - start
    normalize = Normalize(image_set.mean, image_set.std).to(device)
    augment = image_set.augmentation().to(device)
    theirs = DataLoader(
        reference,
        batch_size=BATCH_SIZE,
        shuffle=True,
        drop_last=True,
        num_workers=WORKERS,
        persistent_workers=True,
        pin_memory=device == "cuda",
    )

    def cached() -> Iterable[torch.Tensor]:
        for batch in loader:
            yield normalize(augment(batch.images.to(device).float()))

    def per_image() -> Iterable[torch.Tensor]:
        for images, _ in theirs:
            yield images.to(device, non_blocking=True)

    rates = {
        "torchvision": batches_per_second(per_image, device, epochs),
        "cached": batches_per_second(cached, device, epochs),
    }
    speedup = rates["cached"] / rates["torchvision"]
    return {"set": name, **rates, "speedup": speedup, "decode_s": decode_s}


def batches_per_second(
    batches: Callable[[], Iterable[torch.Tensor]], device: str, epochs: int
) -> float:
    """Median rate over epochs, after one that is not counted."""
    rates = []
    for _ in range(1 + epochs):
        start = now(device)
        count = sum(1 for _ in batches())
        rates.append(count / (now(device) - start))
    return median(rates[1:])
