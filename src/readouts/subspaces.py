"""One direction per minterm, and the probabilities and scores that follow from them.

A minterm m is a full conjunction: one value for every literal, one distinct row of labels. Its
direction u_m is the top singular vector of its unit-normalised training embeddings, that is, the
top eigenvector of their second moment, which is a sum over samples and so is exact over batches and
processes. For a normalised embedding x,

    p(m | x) = (u_m . x)^2 / sum_m' (u_m' . x)^2,      p(q | x) = sum of p(m | x) over M(q),

with M(q) the minterms that satisfy the proposition q.

Reference:
    [0] Moreira et al., Learning Visual-Semantic Subspace Representations, AISTATS 2025,
        https://arxiv.org/abs/2405.16213
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch import distributed as dist
from torch.nn.functional import normalize

from src.readouts.minterms import MintermReadout
from src.readouts.moments import check_sums
from src.readouts.readout import PROBABILITIES
from src.subspaces.projectors import span_projectors
from src.subspaces.propositions import Proposition

SHORTEST = 1e-12  # length of an embedding: a zero one has no direction


class MintermSubspaces(MintermReadout):
    """Directions of minterms: accumulated over batches, fitted, and queried.

    The fitted directions are buffers, so that a checkpoint of any module that holds this one can
    answer propositions.

    Args:
        minterms: (M, C), the distinct label rows of the training set.
        embedding_dim: D.

    Example:
        >>> subspaces = MintermSubspaces(distinct_minterms(labels), embedding_dim=64)
        >>> for images, labels in batches:
        ...     subspaces.update(encoder(images), labels)
        >>> subspaces.fit()
        >>> query = Proposition("even & ~prime", literals)
        >>> mask = query.holds(subspaces.minterms).unsqueeze(0)
        >>> scores = subspaces.scores(embeddings, mask, "projector")
    """

    name = "subspaces"
    label_codings = ("minterms", "literals", "complements")
    score_kinds = ("sum", "projector", *PROBABILITIES)
    searched = "at length 1"

    counts: Tensor  # (M,), training images of each minterm
    directions: Tensor  # (M, D), unit rows, zero for a minterm without images
    _moments: Tensor  # (M, D, D), accumulated so far
    _moment_counts: Tensor  # (M,)

    def __init__(self, minterms: Tensor, embedding_dim: int) -> None:
        super().__init__(minterms)
        num_minterms = len(minterms)
        self.register_buffer("counts", torch.zeros(num_minterms, dtype=torch.int64))
        directions = torch.zeros(num_minterms, embedding_dim, dtype=torch.float64)
        self.register_buffer("directions", directions)
        moments = torch.zeros(num_minterms, embedding_dim, embedding_dim, dtype=torch.float64)
        self.register_buffer("_moments", moments, persistent=False)
        self.register_buffer("_moment_counts", torch.zeros_like(self.counts), persistent=False)

    def check_width(self, embedding_dim: int, minterms: Tensor, label_coding: str) -> None:
        codes = self.encode_labels(minterms, minterms, label_coding)
        needed = int(torch.linalg.matrix_rank(codes.double()))
        if embedding_dim < needed:
            raise ValueError(
                f"embedding_dim {embedding_dim} is too small: {label_coding} as labels span "
                f"{needed} directions; set encoder.embedding_dim={needed} or more"
            )

    def reset(self) -> None:
        """Forget what was accumulated. The fitted directions stay."""
        self._moments.zero_()
        self._moment_counts.zero_()

    @torch.no_grad()
    def update(self, embeddings: Tensor, labels: Tensor) -> None:
        """Add a batch of embeddings (N, D) with labels (N, C) to the second moments.

        Raises:
            ValueError: If a label row is none of the minterms.
        """
        index = self.find(labels)
        unit = normalize(embeddings.double(), dim=1)
        for minterm in index.unique():
            members = unit[index == minterm]
            self._moments[minterm] += members.T @ members
        self._moment_counts += torch.bincount(index, minlength=len(self.minterms))

    @torch.no_grad()
    def fit(self) -> None:
        """Set every direction to the top eigenvector of its accumulated moment, and reset.

        With `torch.distributed` initialised the moments of all processes are summed first.

        Raises:
            NonFiniteEmbeddingsError: If embeddings of any process held NaN or infinity.
        """
        if dist.is_initialized():
            dist.all_reduce(self._moments)
            dist.all_reduce(self._moment_counts)
        check_sums(self._moments)
        top = torch.linalg.eigh(self._moments).eigenvectors[..., -1]
        self.directions.copy_(top * (self._moment_counts > 0).unsqueeze(-1))
        self.counts.copy_(self._moment_counts)
        self.reset()

    def minterm_logits(self, embeddings: Tensor) -> Tensor:
        """log (u_m . x)^2 for embeddings (N, D): (N, M).

        A zero embedding says nothing: it gives the same to every fitted minterm.

        Raises:
            RuntimeError: If nothing was fitted.
        """
        logits = self._energies(embeddings, self.directions).log()
        silent = logits.isneginf().all(dim=1, keepdim=True)
        return torch.where(silent & (self.counts > 0), 0.0, logits)

    def search_vectors(self, proposition: Proposition) -> Tensor:
        """u_m and -u_m of the minterms that satisfy a proposition: every score adds up (u_m . x)^2.

        Raises:
            RuntimeError: If nothing was fitted.
        """
        self.check_fitted(self.counts)
        directions = self.directions[self.masks([proposition])[0]]
        return torch.cat([directions, -directions])

    def score(self, embeddings: Tensor, propositions: Sequence[Proposition], kind: str) -> Tensor:
        if kind in PROBABILITIES:
            return super().score(embeddings, propositions, kind)
        return self.scores(embeddings, self.masks(propositions), kind)

    def scores(self, embeddings: Tensor, masks: Tensor, kind: str) -> Tensor:
        """Retrieval scores of propositions, higher for better matches.

        `sum` is sum_{m in M(q)} (u_m . x)^2, as the authors score: it exceeds 1 where directions
        overlap, and counts what they share more than once. `projector` is the squared length of x
        projected onto span{u_m : m in M(q)}, always in [0, 1]. The two agree where the directions
        are orthogonal.

        Args:
            embeddings: (N, D).
            masks: (Q, M), the minterms that satisfy each proposition.
            kind: `sum` or `projector`.

        Returns:
            (N, Q), in float64.

        Raises:
            ValueError: If `kind` is neither.
            RuntimeError: If nothing was fitted.
        """
        if kind == "sum":
            needed = masks.bool().any(dim=0)
            energies = self._energies(embeddings, self.directions[needed])
            # Queries as rows in memory, since each is ranked by itself
            return (masks[:, needed].double() @ energies.T).T
        if kind == "projector":
            self.check_fitted(self.counts)
            # All spans lie in that of the directions, and of few minterms many propositions are
            # true of the same ones.
            frame = torch.linalg.qr(self.directions.T).Q  # (D, min(M, D))
            distinct, index = masks.bool().unique(dim=0, return_inverse=True)
            projectors = span_projectors(self.directions @ frame, distinct)
            parts = normalize(embeddings.double(), dim=1) @ frame
            scores = [((parts @ projector) * parts).sum(dim=1) for projector in projectors]
            return torch.stack(scores)[index].T
        raise ValueError(f"score must be sum or projector, not {kind!r}")

    def _energies(self, embeddings: Tensor, directions: Tensor) -> Tensor:
        """(u_m . x)^2 for n directions, (N, n)."""
        self.check_fitted(self.counts)
        exact = embeddings.to(torch.float64, copy=True)  # squared in place: memory is what it costs
        energies = (exact @ directions.T).square_()
        squared_lengths = exact.square_() @ exact.new_ones(exact.shape[1], 1)
        return energies.div_(squared_lengths.clamp_(min=SHORTEST**2))
