"""An index of galleries against the exact scan: what it finds, and how long either takes."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from src.benchmarks.timing import processing
from src.data.stored import StoredRows, write_once
from src.metrics.retrieval import CHUNK, best_matches
from src.readouts.discriminant import DiscriminantReadout
from src.readouts.literal_discriminants import LiteralDiscriminants
from src.readouts.readout import Readout
from src.readouts.subspaces import MintermSubspaces
from src.reports.tables import Row
from src.search.index import Index
from src.subspaces.minterms import all_minterms, distinct_minterms, find_minterms
from src.subspaces.propositions import Proposition

LITERALS = ("Bald", "Eyeglasses", "Wearing_Necktie", "Wearing_Hat", "Male")
FREQUENCIES = (0.02, 0.065, 0.07, 0.05, 0.42)  # about those of CelebA
DIM, TRAINING, SPREAD, TOP_K = 32, 50_000, 0.25, 10
KINDS = {
    "plain": ("Male", "Wearing_Hat & Male", "Bald & Eyeglasses & Male"),
    "negated": ("~Male", "~Wearing_Hat & ~Male", "~(Bald | Eyeglasses | Wearing_Hat)"),
    "mixed": ("Male & ~Bald", "Wearing_Hat & ~Eyeglasses", "Eyeglasses & ~Male & ~Bald"),
    "either": ("Bald | Wearing_Hat", "~Male | Wearing_Necktie", "Bald & ~Male | ~Bald & Male"),
}
QUERIES = [text for texts in KINDS.values() for text in texts]
ROUNDING = 1e-12
TITLE = "Galleries by an index"
COLUMNS = {
    "images": "images",
    "score": "readout, score",
    "candidates": "candidates a vector",
    "vectors": "vectors a query",
    "plain": f"recall@{TOP_K}, plain conjunctions",
    "negated": "of negations alone",
    "mixed": "of both",
    "either": "of disjunctions",
    "precision": f"P@{TOP_K} by the index",
    "exact_precision": f"P@{TOP_K} by the scan",
    "exact_s": "scan of all, CPU s",
    "speedup": "time of the scan / by the index",
    "build": "time to make the index / of a scan",
    "index_mb": "index, MB",
}
CONDITIONS = (
    f"Drawn labels about as frequent as CelebA's; unit embeddings of {DIM} dimensions in a file "
    f"that was read before, around orthogonal minterms with noise of deviation {SPREAD} in each; "
    f"readouts are fitted to {TRAINING:,} others. Three queries of each kind, one at a time; "
    f"means, and of times and their ratios medians. Recall is the share of the {TOP_K} found whose "
    f"score is no less than that of the {TOP_K}th of all images. Times are of the CPU, all threads "
    "together; by the index, of all that a search does: vectors, candidates, their embeddings, "
    "scores and ranking. Where all vectors together put forward as many candidates as there are "
    "images, it is a scan."
)


def measure(device: str, images: Sequence[int], candidates: Sequence[int]) -> Iterator[Row]:
    """A row for every gallery, score and number of candidates.

    Args:
        device: Galleries are searched on the CPU, whichever it is.
        images: Number of images in each gallery.
        candidates: Numbers of images that each vector of a query puts forward.
    """
    del device
    scores = fit_readouts()
    for number in images:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "embeddings.npy"
            labels = write_gallery(path, number)
            gallery = StoredRows(path)
            # Embeddings have length 1: one index is that of either form
            _, build_s = processing(Index(gallery, unit=True, candidates=TOP_K).build)
            (stored,) = path.parent.glob("*-index-*.npy")
            for name, readout, kind in scores:
                searches = [Search(gallery, labels, readout, kind, text) for text in QUERIES]
                exact_s = median(search.exact_s for search in searches)
                for shortlist in candidates:
                    index = Index(gallery, unit=True, candidates=shortlist)
                    index.build()
                    found = [search.by_index(index) for search in searches]
                    yield {
                        "images": f"{number:,}",
                        "score": name,
                        "candidates": f"{shortlist:,}",
                        "vectors": mean(search.vectors for search in searches),
                        **{
                            kind_of_query: mean(
                                result.recall
                                for text, result in zip(QUERIES, found, strict=True)
                                if text in texts
                            )
                            for kind_of_query, texts in KINDS.items()
                        },
                        "precision": mean(result.precision for result in found),
                        "exact_precision": mean(search.precision for search in searches),
                        "exact_s": exact_s,
                        "speedup": median(
                            search.exact_s / result.seconds
                            for search, result in zip(searches, found, strict=True)
                        ),
                        "build": build_s / exact_s,
                        "index_mb": stored.stat().st_size / 2**20,
                    }


class Found(NamedTuple):
    """The images that an index finds."""

    recall: float
    precision: float
    seconds: float


class Search:
    """A query, answered by a scan of all images, and again by an index.

    Args:
        gallery: (N, D).
        labels: (N, C).
        readout: The readout that answers.
        kind: The score that it ranks by.
        text: The query.
    """

    def __init__(
        self, gallery: StoredRows, labels: Tensor, readout: Readout, kind: str, text: str
    ) -> None:
        self.query = Proposition(text, LITERALS)
        self.labels = labels
        self.readout = readout
        self.score = partial(readout.score, propositions=[self.query], kind=kind)
        self.vectors = len(readout.search_vectors(self.query))
        scan = partial(best_matches, gallery, self.score, TOP_K)
        (scores, positions), self.exact_s = processing(scan)
        self.least = scores[-1]
        self.precision = self._precision(positions)

    def by_index(self, index: Index) -> Found:
        """Search by an index that is made."""

        def search() -> tuple[Tensor, Tensor]:
            vectors = self.readout.search_vectors(self.query)
            return index.best_matches(vectors, self.score, TOP_K)

        (scores, positions), seconds = processing(search)
        # Products of another number of rows may differ in their last digits
        enough = scores >= self.least - ROUNDING * self.least.abs()
        return Found(float(enough.sum()) / TOP_K, self._precision(positions), seconds)

    def _precision(self, positions: Tensor) -> float:
        return float(self.query.holds(self.labels[positions[:, 0]]).sum()) / TOP_K


def fit_readouts() -> list[tuple[str, Readout, str]]:
    """Readouts of the same training embeddings, with what they are called and their scores."""
    labels, embeddings = draw(TRAINING, torch.Generator().manual_seed(1))
    minterms = distinct_minterms(labels)
    subspaces = MintermSubspaces(minterms, DIM)
    discriminant = DiscriminantReadout(minterms, DIM, "additive", shrinkage=None)
    literals = LiteralDiscriminants(LITERALS, DIM, shrinkage=None)
    for readout in (subspaces, discriminant, literals):
        readout.update(embeddings, labels)
        readout.fit()
    return [
        ("subspaces, sum", subspaces, "sum"),
        ("discriminant, calibrated", discriminant, "calibrated"),
        ("literal_discriminants, calibrated", literals, "calibrated"),
    ]


def draw(number: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Labels (N, C), and unit embeddings (N, D) around orthogonal minterms."""
    labels = torch.rand(number, len(LITERALS), generator=generator) < torch.tensor(FREQUENCIES)
    minterms = find_minterms(labels, all_minterms(len(LITERALS)))
    noise = SPREAD * torch.randn(number, DIM, generator=generator)
    return labels, normalize(one_hot(minterms, DIM) + noise, dim=1)


def write_gallery(path: Path, number: int) -> Tensor:
    """Write the embeddings of a gallery, and return its labels, (N, C)."""
    generator = torch.Generator().manual_seed(0)
    labels = []

    def parts() -> Iterator[np.ndarray]:
        for start in range(0, number, CHUNK):
            of_part, embeddings = draw(min(CHUNK, number - start), generator)
            labels.append(of_part)
            yield embeddings.numpy()

    write_once(path, parts(), "set TMPDIR")
    return torch.cat(labels)
