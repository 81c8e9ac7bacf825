"""Growth of the peak memory of a step with sizes."""

from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context

import torch

from src.benchmarks.growth import COLUMNS, Growth, draw_rows, growth_row
from src.benchmarks.images import RandomImages
from src.benchmarks.loss import ALPHA, BETA, loss_step
from src.benchmarks.step import build_encoder
from src.benchmarks.timing import peak_memory
from src.losses.nuclear import NuclearNormLoss
from src.reports.tables import Row

__all__ = ["COLUMNS", "draw_rows"]  # the report takes them from here
TITLE = "Peak memory"
CONDITIONS = (
    "What a step takes beyond what the process held before its first one, a small one: on the CPU "
    "the largest resident set of a process of its own, on CUDA that of the allocator. Training "
    "step: ConvNet, 28 x 28, D = 128. Loss: forward and backward, over N with C = 10 and D = 64, "
    "over D with N = 512 and C = 10."
)
Step = Callable[[], object]
STEP_N = Growth("training step", "images N", 1, "weights and workspaces do not depend on N")
LOSS_N = Growth("loss", "images N", 1, "matrices of C + D do not depend on N")
LOSS_D = Growth("loss", "dimensions D", 2, "the batch itself, N x D, still counts")


def measure(
    device: str, batch_sizes: Sequence[int], images: Sequence[int], dims: Sequence[int]
) -> Iterator[Row]:
    """One row for every cost.

    Args:
        device: `cpu` or `cuda`.
        batch_sizes: N of a training step, ascending, as are all.
        images: N of the loss.
        dims: D of the loss.
    """
    context = get_context("spawn")  # peak memory is that of a process
    for growth, make, sizes in (
        (STEP_N, training_step, batch_sizes),
        (LOSS_N, loss_over_images, images),
        (LOSS_D, loss_over_dims, dims),
    ):
        with context.Pool(1) as pool:
            peaks = pool.apply(peaks_of, (make, sizes, device))
        yield growth_row(growth, sizes, peaks, "MB")


def peaks_of(make: Callable[[int, str], Step], sizes: Sequence[int], device: str) -> list[float]:
    """Peak memory for ascending sizes beyond that of a small step, in MB."""
    make(16, device)()
    before = peak(device)
    peaks = []
    for size in sizes:
        make(size, device)()
        peaks.append(peak(device) - before)
    return peaks


def peak(device: str) -> float:
    """The most memory so far, in MB."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return peak_memory()


def training_step(batch_size: int, device: str) -> Step:
    """Forward and backward of the encoder and the loss."""
    batch = RandomImages(batch_size).splits["train"][torch.arange(batch_size)]
    images, labels = batch.images, batch.labels
    encoder, loss = build_encoder(device), NuclearNormLoss(ALPHA, BETA)
    return lambda: loss(encoder(images.to(device).float() / 255), labels.to(device)).backward()


def loss_over_images(num_images: int, device: str) -> Step:
    """Forward and backward of the loss."""
    return loss_step((num_images, 10, 64), device)


def loss_over_dims(dim: int, device: str) -> Step:
    """Forward and backward of the loss."""
    return loss_step((512, 10, dim), device)
