"""Time of ranking against binary noise-contrastive estimation as batches grow."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from src.benchmarks.growth import slope
from src.benchmarks.timing import busy
from src.losses.binary_nce import BinaryNCELoss
from src.losses.ranking_nce import RankingNCELoss
from src.losses.relation import same_group
from src.reports.tables import Row

DIM = 64
TITLE = "Ranking against binary noise-contrastive estimation"
COLUMNS = {
    "size": "views N",
    "ranking_ms": "ranking, ms",
    "dense_ms": "binary, ms",
    "sparse_ms": "binary with a list of pairs, ms",
    "dense_ratio": "ranking / binary",
    "sparse_ratio": "ranking / binary with a list",
}
CONDITIONS = (
    f"Two views of N / 2 images, random embeddings of {DIM} dimensions, forward and backward; "
    "least CPU time of rounds in which losses take turns. Binary has one negative for each "
    "positive pair, and reads through all N x N truth values of the relation that training gives "
    "it; a list of related pairs, which is a sparse relation, spares it that. Slopes are those of "
    "least-squares lines through logarithms: 2 is quadratic, 1 linear, less while what does not "
    "grow counts."
)


def measure(device: str, sizes: Sequence[int], rounds: int) -> Iterator[Row]:
    """One row for every size, and their slopes.

    Args:
        device: `cpu` or `cuda`.
        sizes: N, even.
        rounds: Number of times that each loss is measured, after one that is not.
    """
    rows = []
    for size in sizes:
        rows.append(measure_size(size, device, rounds))
        yield rows[-1]
    slopes = {name: slope(sizes, [row[name] for row in rows]) for name in COLUMNS if "ms" in name}
    yield {"size": "slope", **slopes}


def measure_size(size: int, device: str, rounds: int) -> Row:
    """Least times of forward and backward, and their ratios."""
    related = same_group(torch.arange(size // 2).repeat(2)).to(device)
    binary = BinaryNCELoss(temperature=None, negatives=1).to(device)
    steps = {
        "ranking": loss_step(RankingNCELoss(temperature=None), related, device),
        "dense": loss_step(binary, related, device),
        "sparse": loss_step(binary, related.to_sparse(), device),
    }
    for step in steps.values():
        step()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            start = busy(device)
            step()
            seconds[name].append(busy(device) - start)
    row: Row = {"size": size}
    for name in steps:
        row[f"{name}_ms"] = 1e3 * min(seconds[name])
    for name in ("dense", "sparse"):
        row[f"{name}_ratio"] = row["ranking_ms"] / row[f"{name}_ms"]
    return row


def loss_step(loss: nn.Module, relation: Tensor, device: str) -> Callable[[], Tensor]:
    """Forward and backward of a loss on random embeddings with this relation (N, N)."""
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(len(relation), DIM, generator=generator).to(device).requires_grad_()
    return lambda: torch.autograd.grad(loss(embeddings, relation), embeddings)[0]
