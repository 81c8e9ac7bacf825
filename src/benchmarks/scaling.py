"""Growth of the time of the loss, of subspaces and of a step with sizes."""

import os
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from torch import Tensor
from torch import distributed as dist
from torch import multiprocessing as mp
from torch.nn.functional import normalize
from torch.nn.parallel import DistributedDataParallel

from src.benchmarks.growth import COLUMNS, Growth, draw_rows, growth_row
from src.benchmarks.images import RandomImages
from src.benchmarks.loss import ALPHA, BETA, loss_step
from src.benchmarks.retrieval import LITERALS, TOP_K, draw
from src.benchmarks.step import build_encoder
from src.benchmarks.timing import now, timed
from src.losses.nuclear import NuclearNormLoss
from src.metrics.retrieval import evaluate_retrieval
from src.readouts.subspaces import MintermSubspaces
from src.reports.tables import Row
from src.subspaces.propositions import conjunctions

__all__ = ["COLUMNS", "draw_rows"]  # the report takes them from here
TITLE = "How cost grows"
CONDITIONS = (
    "Fastest of the repeats; slopes are those of least-squares lines through logarithms. Loss: "
    "forward and backward, over N with C = 10 and D = 64, over C with N = 512 and D = 32, over D "
    "with N = 512 and C = 10. Fit: top eigenvectors of the minterms' moments, D = 32. Scores: 64 "
    "queries, 512 embeddings of 32 dimensions. Evaluation: scores, average precision and "
    "precision@10, 5,000 embeddings, the 242 queries of retrieval over and over. Processes: a "
    "ConvNet step with the global loss under DistributedDataParallel, one batch shared out, gloo, "
    "one thread each, on the CPU; the median of steps."
)
DECOMPOSITION = "the reduction to tridiagonal form waits for memory while a matrix is small"
LOSS_N = Growth("loss", "images N", 1, "decompositions, which do not depend on N, still count")
LOSS_C = Growth("loss", "label columns C", 3, DECOMPOSITION)
LOSS_D = Growth("loss", "dimensions D", 3, DECOMPOSITION)
FIT_M = Growth("fit of subspaces", "minterms M", 1, "what does not depend on M still counts")
SCORE_M = Growth("scores", "minterms M", 1, "what does not depend on M still counts")
EVALUATE_Q = Growth("evaluation", "queries Q", 1, "what does not depend on Q still counts")
PROCESSES = "processes P"


def measure(
    device: str,
    repeats: int,
    images: Sequence[int],
    labels: Sequence[int],
    dims: Sequence[int],
    minterms: Sequence[int],
    queries: Sequence[int],
    processes: Sequence[int],
    batch_size: int,
) -> Iterator[Row]:
    """One row for every cost.

    Args:
        device: `cpu` or `cuda`; processes are on the CPU.
        repeats: Number of times that each is measured, after one that is not.
        images: N of the loss.
        labels: C of the loss.
        dims: D of the loss.
        minterms: M of the subspaces.
        queries: Q of an evaluation.
        processes: P of a step.
        batch_size: Number of images of that step, over all processes.
    """

    def grow(growth: Growth, sizes: Sequence[int], make: Callable[[int], Callable]) -> Row:
        values = []
        for size in sizes:
            run = make(size)
            run()
            values.append(1e3 * min(timed(run, device, repeats)[1]))
        return growth_row(growth, sizes, values, "ms")

    yield grow(LOSS_N, images, lambda size: loss_step((size, 10, 64), device))
    yield grow(LOSS_C, labels, lambda size: loss_step((512, size, 32), device))
    yield grow(LOSS_D, dims, lambda size: loss_step((512, 10, size), device))
    yield grow(FIT_M, minterms, lambda size: subspace_fit(size, device))
    yield grow(SCORE_M, minterms, lambda size: subspace_scores(size, device))
    yield grow(EVALUATE_Q, queries, lambda size: evaluation(size, device))
    seconds = [1e3 * step_seconds(size, batch_size, repeats) for size in processes]
    cores = os.cpu_count()
    reason = f"{cores} cores are shared, also with the threads of gloo, and every process waits"
    yield growth_row(Growth("step", PROCESSES, -1, reason), processes, seconds, "ms")


def subspace_fit(num_minterms: int, device: str) -> Callable[[], None]:
    """A fit: the top eigenvector of every minterm's moment."""
    subspaces = random_subspaces(num_minterms, device)
    factors = torch.randn(num_minterms, 32, 40, generator=torch.Generator().manual_seed(0))
    moments = (factors @ factors.mT).double().to(device)

    def fit() -> None:
        subspaces._moments.copy_(moments)
        subspaces.fit()

    return fit


def subspace_scores(num_minterms: int, device: str) -> Callable[[], Tensor]:
    """Scores of 64 propositions, each true in about half of the minterms."""
    subspaces = random_subspaces(num_minterms, device)
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(512, 32, generator=generator).to(device)
    masks = (torch.rand(64, num_minterms, generator=generator) < 0.5).to(device)
    return lambda: subspaces.scores(embeddings, masks, "sum")


def random_subspaces(num_minterms: int, device: str) -> MintermSubspaces:
    """Random directions of 32 dimensions for so many minterms of the literals that they take."""
    places = torch.arange((num_minterms - 1).bit_length())
    minterms = (torch.arange(num_minterms).unsqueeze(1) >> places) % 2 == 1
    subspaces = MintermSubspaces(minterms, 32)
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(num_minterms, 32, generator=generator, dtype=torch.float64)
    subspaces.directions.copy_(normalize(directions, dim=1))
    subspaces.counts.fill_(1)
    return subspaces.to(device)


def evaluation(num_queries: int, device: str) -> Callable[[], object]:
    """Scores and metrics of so many queries."""
    labels, embeddings, subspaces = draw(5000)
    queries = list(islice(cycle(conjunctions(LITERALS, len(LITERALS))), num_queries))
    relevance = torch.stack([query.holds(labels) for query in queries]).T.to(device)
    embeddings, subspaces = embeddings.to(device), subspaces.to(device)
    return lambda: evaluate_retrieval(subspaces.score(embeddings, queries, "sum"), relevance, TOP_K)


def step_seconds(processes: int, batch_size: int, steps: int) -> float:
    """Median seconds of a training step that processes share."""
    with TemporaryDirectory() as folder:
        mp.spawn(train_process, (processes, folder, batch_size, steps), processes)
        return float((Path(folder) / "seconds").read_text())


def train_process(rank: int, processes: int, folder: str, batch_size: int, steps: int) -> None:
    """Take the steps of one process; the first process writes down the median."""
    torch.set_num_threads(1)
    meeting = f"file://{folder}/meeting"
    dist.init_process_group("gloo", meeting, timedelta(minutes=5), processes, rank)
    seconds = _time_steps(rank, processes, batch_size, steps)
    dist.destroy_process_group()  # after the encoder is gone, which may wait for it forever
    if rank == 0:
        (Path(folder) / "seconds").write_text(str(median(seconds[1:])))


def _time_steps(rank: int, processes: int, batch_size: int, steps: int) -> list[float]:
    torch.manual_seed(0)
    batch = RandomImages(batch_size).splits["train"][torch.arange(batch_size)]
    images, labels = batch.images, batch.labels
    images, labels = images[rank::processes].float() / 255, labels[rank::processes]
    encoder, loss = DistributedDataParallel(build_encoder("cpu")), NuclearNormLoss(ALPHA, BETA)
    seconds = []
    for _ in range(1 + steps):
        dist.barrier()
        start = now("cpu")
        loss(encoder(images), labels).backward()
        seconds.append(now("cpu") - start)
    return seconds
