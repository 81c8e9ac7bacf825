"""An index by which galleries of millions are searched without a look at every image.

A proposition q is the disjunction of the minterms that satisfy it, with a negation or without. An
image that answers it is of one of these minterms m, and so has a large inner product with a vector
of m: with its direction u_m or -u_m, where scores add up squares (u_m . x)^2; with the weights of
its logit, held against those of the nearest minterms that do not satisfy q, where scores are
probabilities of linear logits (`src.readouts.contrasts`). The images that are first by one of these
inner products are candidates, and the scores of the model itself rank them. No vector for `not` is
needed. An image that no single minterm puts forward, but many do a little, can be missed: how often
is measured by `python -m src.benchmark parts=[galleries]`, and is not promised.

Inner products are those of an inverted file [0] of FAISS [1]: embeddings in cells around the means
of k-means, a byte for each number of an embedding, and for every vector a share of the cells looked
through, whose means have the largest inner products with it.

References:
    [0] Jegou, Douze, Schmid, *Product Quantization for Nearest Neighbor Search*, IEEE TPAMI, 2011
    [1] Douze et al., *The Faiss Library*, 2024, https://arxiv.org/abs/2401.08281
"""

from collections.abc import Callable, Iterator
from math import ceil, isqrt

import faiss
import numpy as np
import torch
from rich.progress import track
from torch import Tensor
from torch.nn.functional import normalize

from src.data.stored import StoredRows, write_once
from src.metrics.retrieval import CHUNK, best_matches

MAX_VECTORS = 64  # of a query: with more it takes less time to look at all images
SAMPLE = 64  # embeddings for each cell that means are fitted to
FEWEST = 39  # which FAISS asks for
LEAST_SHARE = 0.125  # of cells that are looked through
SPARE = 2  # images in these cells, for each candidate, where that is more


class Index:
    """Embeddings, and an inverted file of them, made when it is first needed.

    Args:
        embeddings: (N, D); the inverted file of stored ones is kept beside them.
        unit: Whether vectors are compared with embeddings at length 1, or as they are.
        candidates: The number of images that each vector puts forward.
    """

    def __init__(self, embeddings: Tensor | StoredRows, unit: bool, candidates: int) -> None:
        self.embeddings = embeddings
        self.unit = unit
        self.candidates = candidates
        self._inverted: faiss.Index | None = None

    def best_matches(
        self, vectors: Tensor, score: Callable[[Tensor], Tensor], k: int
    ) -> tuple[Tensor, Tensor]:
        """The k best candidates for a query.

        All images are looked at where the vectors are more than 64, or put forward as many
        candidates as there are images.

        Args:
            vectors: (n, D), of the query.
            score: Maps m embeddings (m, D) to scores (m, 1).
            k: Number of best items, at least 1.

        Returns:
            Scores and positions, both (k, 1) or less, best first; ties keep the order of images.

        Raises:
            OSError: If the inverted file cannot be written.
        """
        number = len(self.embeddings)
        if len(vectors) > MAX_VECTORS or len(vectors) * self.candidates >= number:
            return best_matches(self.embeddings, score, k)
        positions = self.find(vectors, self.candidates)
        scores, best = best_matches(self.embeddings[positions], score, k)
        return scores, positions[best]

    def find(self, vectors: Tensor, candidates: int) -> Tensor:
        """The images that are first by one of the inner products.

        Args:
            vectors: (n, D).
            candidates: The number of images for each vector, at most N.

        Returns:
            Their positions, ascending, int64; all where as many are asked for.
        """
        inverted = self.build()
        share = min(1.0, max(LEAST_SHARE, SPARE * candidates / len(self.embeddings)))
        probing = faiss.SearchParametersIVF()  # of this search alone: threads ask at the same time
        probing.nprobe = ceil(share * faiss.extract_index_ivf(inverted).nlist)
        _, found = inverted.search(vectors.float().numpy(), candidates, params=probing)
        positions = np.unique(found)
        return torch.from_numpy(positions[positions >= 0])  # -1 where cells hold fewer

    def build(self) -> faiss.Index:
        """Read the inverted file, or make it and keep it where embeddings are stored."""
        if self._inverted is None:
            faiss.omp_set_num_threads(torch.get_num_threads())
            if isinstance(self.embeddings, Tensor):
                self._inverted = self._make()
            else:
                form = "unit" if self.unit else "raw"
                target = self.embeddings.path.with_name(f"{form}-index-{self.embeddings.path.name}")
                write_once(target, self._parts(), "set index=exact, or another cache_dir=FOLDER")
                self._inverted = faiss.deserialize_index(np.load(target))
        return self._inverted

    def _parts(self) -> Iterator[np.ndarray]:
        yield faiss.serialize_index(self._make())

    def _make(self) -> faiss.Index:
        number, dim = len(self.embeddings), self.embeddings.shape[1]
        cells = max(1, min(isqrt(number), number // FEWEST))
        inverted = faiss.index_factory(dim, f"IVF{cells},SQ8", faiss.METRIC_INNER_PRODUCT)
        generator = torch.Generator().manual_seed(0)
        drawn = torch.randperm(number, generator=generator)[: SAMPLE * cells].sort().values
        inverted.train(self._rows(drawn))
        starts = range(0, number, CHUNK)
        for start in track(starts, f"indexing {number:,} images", transient=True):
            inverted.add(self._rows(slice(start, start + CHUNK)))
        return inverted

    def _rows(self, rows: Tensor | slice) -> np.ndarray:
        embeddings = self.embeddings[rows].float()
        return (normalize(embeddings, dim=1) if self.unit else embeddings).numpy()
