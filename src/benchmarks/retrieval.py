"""Rankings: all queries of the paper against its authors' procedure, and galleries of any size."""

from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor
from torch.nn.functional import normalize

from src.benchmarks.timing import peak_memory, timed
from src.data.stored import StoredRows, write_once
from src.metrics.retrieval import CHUNK, best_matches, evaluate_retrieval
from src.readouts.subspaces import MintermSubspaces
from src.reports.tables import Row
from src.subspaces.minterms import distinct_minterms, find_minterms
from src.subspaces.propositions import Proposition, conjunctions

LITERALS = ("Bald", "Eyeglasses", "Wearing_Necktie", "Wearing_Hat", "Male")
FREQUENCIES = (0.02, 0.065, 0.07, 0.05, 0.42)  # about those of CelebA
DIM, TOP_K, SPREAD = 25, 10, 0.25
QUERY = "Wearing_Hat & ~Eyeglasses"
TITLE = "Rankings"
COLUMNS = {
    "what": "queries and images",
    "authors_s": "as the authors, s",
    "ours_s": "ours, s",
    "speedup": "authors' time / our time",
    "difference": "largest difference",
    "peak_mb": "peak memory, MB",
}
CONDITIONS = (
    f"Drawn labels about as frequent as CelebA's, embeddings of {DIM} dimensions around orthogonal "
    "minterms. As the authors: one projector, one sort and scikit-learn's AP a query, in float64. "
    "Times are medians; galleries are in files that were read once before."
)


def measure(device: str, images: int, galleries: list[int]) -> Iterator[Row]:
    """One row for all queries on a test split, one for each gallery.

    Args:
        device: `cpu` or `cuda`, for the test split; galleries are searched on the CPU.
        images: Number of images in the test split.
        galleries: Number of images in each gallery.
    """
    labels, embeddings, subspaces = draw(images)
    queries = conjunctions(LITERALS, len(LITERALS))
    relevance = torch.stack([query.holds(labels) for query in queries]).T
    masks, directions = subspaces.masks(queries), subspaces.directions.clone()
    moved, answers = embeddings.to(device), relevance.to(device)
    on_device = subspaces.to(device)

    def ours() -> Tensor:
        results = evaluate_retrieval(on_device.score(moved, queries, "sum"), answers, TOP_K)
        asked = results.positives >= TOP_K
        return torch.stack([results.average_precision, results.precision_at_k])[:, asked]

    def authors() -> Tensor:
        return as_the_authors(embeddings.double(), directions, masks, relevance)

    expected, times = timed(authors, "cpu", repeats=3)
    theirs = median(times)
    actual, times = timed(ours, device, repeats=5)
    seconds = median(times)
    yield {
        "what": f"{len(queries)} queries, {images:,} images",
        "authors_s": theirs,
        "ours_s": seconds,
        "speedup": theirs / seconds,
        "difference": float((actual.cpu() - expected).abs().max()),
        "peak_mb": "",
    }
    for number in galleries:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "embeddings.npy"
            write_once(path, gallery_parts(number), "set TMPDIR")
            context = get_context("spawn")  # peak memory is that of a process
            with context.Pool(1) as pool:
                elapsed, peak = pool.apply(search, (path,))
        yield {
            "what": f"one query, {number:,} images",
            "authors_s": "",
            "ours_s": elapsed,
            "speedup": "",
            "difference": "",
            "peak_mb": peak,
        }


def draw(images: int) -> tuple[Tensor, Tensor, MintermSubspaces]:
    """Labels (N, C), unit embeddings (N, D) around orthogonal minterms, and their subspaces."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.rand(images, len(LITERALS), generator=generator) < torch.tensor(FREQUENCIES)
    minterms = distinct_minterms(labels)[:DIM]
    kept = find_minterms(labels, minterms)
    labels = minterms[kept.clamp(min=0)]
    subspaces = MintermSubspaces(minterms, DIM)
    frame = torch.linalg.qr(torch.randn(DIM, DIM, generator=generator, dtype=torch.float64))[0]
    subspaces.directions.copy_(frame[: len(minterms)])
    subspaces.counts.fill_(1)
    noise = SPREAD * torch.randn(images, DIM, generator=generator)
    embeddings = subspaces.directions[kept.clamp(min=0)].float() + noise
    return labels, normalize(embeddings, dim=1), subspaces


def as_the_authors(
    embeddings: Tensor, directions: Tensor, masks: Tensor, relevance: Tensor
) -> Tensor:
    """AP and precision@10, (2, Q), one query after the other, without those of few positives."""
    results = []
    for mask, relevant in zip(masks, relevance.T.numpy(), strict=True):
        if relevant.sum() < TOP_K:
            continue
        chosen = directions[mask]
        scores = ((embeddings @ (chosen.T @ chosen)) * embeddings).sum(dim=1).numpy()
        best = np.argsort(-scores)[:TOP_K]
        results.append((average_precision_score(relevant, scores), relevant[best].mean()))
    return torch.tensor(results).T


def gallery_parts(number: int) -> Iterator[np.ndarray]:
    """Unit embeddings of a gallery, a piece at a time."""
    generator = torch.Generator().manual_seed(0)
    for start in range(0, number, CHUNK):
        piece = torch.randn(min(CHUNK, number - start), DIM, generator=generator)
        yield normalize(piece, dim=1).numpy()


def search(path: Path) -> tuple[float, float]:
    """Median seconds of a query, and the peak memory of this process in MB."""
    subspaces = draw(20_000)[2]
    query = [Proposition(QUERY, LITERALS)]
    embeddings = StoredRows(path)

    def rank() -> Tensor:
        return best_matches(embeddings, lambda piece: subspaces.score(piece, query, "sum"), TOP_K)[
            1
        ]

    rank()
    elapsed = median(timed(rank, "cpu", repeats=5)[1])
    return elapsed, peak_memory()
