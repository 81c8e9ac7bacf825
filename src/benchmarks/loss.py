"""Time and accuracy of the loss against its `svdvals` form."""

from collections.abc import Callable, Iterator, Sequence
from statistics import median

import torch
from torch import Tensor
from torch.utils.benchmark import Timer

from src.losses.nuclear import nuclear_norm_loss
from src.reports.tables import Row

ALPHA, BETA = 0.99, 0.05
ROUNDS = 5  # in which the forms take turns
TITLE = "Time and accuracy of the loss"
COLUMNS = {
    "size": "N, C, D",
    "authors_ms": "svdvals as the authors, ms",
    "svdvals_ms": "svdvals with samples as rows, ms",
    "gram_ms": "ours, ms",
    "speedup_authors": "authors' time / our time",
    "speedup_svdvals": "time of rows / our time",
    "svdvals_error": "gradient error svdvals",
    "gram_error": "gradient error ours",
}
CONDITIONS = (
    "N images, C label columns, D dimensions; random embeddings, forward and backward, median of "
    "rounds in which forms take turns; error relative to float64 differentiation."
)

Loss = Callable[[Tensor, Tensor], Tensor]
Size = Sequence[int]  # images in a batch, label columns, embedding dimensions


def authors_loss(embeddings: Tensor, labels: Tensor) -> Tensor:
    """The loss with Z as in the paper, (C + D) x N, and float32 singular values."""
    joint = torch.linalg.svdvals(torch.cat([labels.T.to(embeddings), embeddings.T]))
    return _combine(joint, torch.linalg.svdvals(embeddings))


def svdvals_loss(embeddings: Tensor, labels: Tensor) -> Tensor:
    """The same with samples as rows throughout, which `svdvals` is faster on."""
    joint = torch.linalg.svdvals(torch.cat([labels.to(embeddings), embeddings], dim=1))
    return _combine(joint, torch.linalg.svdvals(embeddings))


def _combine(joint: Tensor, values: Tensor) -> Tensor:
    return joint.sum() - ALPHA * values.sum() + BETA * values[0] ** 2


def gram_loss(embeddings: Tensor, labels: Tensor) -> Tensor:
    """The loss of this project."""
    return nuclear_norm_loss(embeddings, labels, ALPHA, BETA)


def random_batch(size: Size, device: str) -> tuple[Tensor, Tensor]:
    """Embeddings (N, D) and labels (N, C) of a seeded draw."""
    num_images, num_labels, dim = size
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(num_images, dim, generator=generator).to(device)
    return embeddings, (torch.rand(num_images, num_labels, generator=generator) < 0.3).to(device)


LOSSES = {"authors": authors_loss, "svdvals": svdvals_loss, "gram": gram_loss}


def gradient(loss: Loss, embeddings: Tensor, labels: Tensor) -> Tensor:
    """Gradient of a loss in the embeddings, (N, D)."""
    leaf = embeddings.detach().requires_grad_()
    return torch.autograd.grad(loss(leaf, labels), leaf)[0]


def loss_step(size: Size, device: str) -> Callable[[], Tensor]:
    """Forward and backward of the loss of this project on a random batch."""
    embeddings, labels = random_batch(size, device)
    return lambda: gradient(gram_loss, embeddings, labels)


def measure_size(size: Size, device: str, seconds: float) -> Row:
    """Median time of forward and backward, and relative gradient error, of every form."""
    embeddings, labels = random_batch(size, device)
    exact = gradient(svdvals_loss, embeddings.double(), labels)

    row: Row = {"size": ", ".join(map(str, size))}
    timers = {}
    for name, loss in LOSSES.items():
        error = gradient(loss, embeddings, labels).double() - exact
        row[f"{name}_error"] = float(error.norm() / exact.norm())
        timers[name] = Timer(
            "gradient(loss, embeddings, labels)",
            globals={
                "gradient": gradient,
                "loss": loss,
                "embeddings": embeddings,
                "labels": labels,
            },
            num_threads=torch.get_num_threads(),
        )
    rounds = [
        {
            name: timer.blocked_autorange(min_run_time=seconds / ROUNDS).median
            for name, timer in timers.items()
        }
        for _ in range(ROUNDS)
    ]
    for name in timers:
        row[f"{name}_ms"] = 1e3 * median(times[name] for times in rounds)
    for name in ("authors", "svdvals"):
        row[f"speedup_{name}"] = float(row[f"{name}_ms"]) / float(row["gram_ms"])
    return row


def measure(device: str, seconds: float, sizes: Sequence[Size]) -> Iterator[Row]:
    """One row for every size.

    Args:
        device: `cpu` or `cuda`.
        seconds: Seconds of measurement for each form.
        sizes: Images in a batch, label columns and embedding dimensions of each row.
    """
    for size in sizes:
        yield measure_size(size, device, seconds)
