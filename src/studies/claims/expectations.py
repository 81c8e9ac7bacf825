"""A table of self-supervised losses: what each sees, and what theory expects of its optima.

A loss is asked only for what it sees: SimCLR sees no lengths of embeddings, VICReg and Barlow Twins
no mean, Barlow Twins no scale of dimensions.

References:
    [1] Balestriero and LeCun, Contrastive and Non-Contrastive Self-Supervised Learning Recover
        Global and Local Spectral Embedding Methods, NeurIPS 2022, https://arxiv.org/abs/2205.11508
    [2] Dai, Representation Learning from Spectral Decomposition View, lecture notes
"""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn.functional import normalize

from src.losses.barlow_twins import BarlowTwinsLoss
from src.losses.byol_spectral import BYOLSpectralLoss
from src.losses.relation import deviations
from src.losses.simclr import SimCLRLoss
from src.losses.spectral_contrastive import SpectralContrastiveLoss, spectral_contrastive_loss
from src.losses.vicreg import VICRegLoss
from src.studies.claims.verdicts import Claim
from src.subspaces.spectral_embedding import (
    normalize_relation,
    spectral_contrastive_optimum,
    vicreg_optimum,
)

SAME_RANK = Claim("(b) rank(Z) = rank(G)", "rank(Z)", "[1]")
HIGHER_RANK = SAME_RANK._replace(text="(b) rank(Z) can exceed rank(G)")
CLOSED_FORM = "(c) the optimum is the closed form"


class Optimal(NamedTuple):
    """A minimiser in closed form."""

    embeddings: Callable[[Tensor, int], Tensor]  # from a relation (N, N) and D to (N, D)
    loss: Callable[[Tensor, Tensor], Tensor] | None  # the loss that it minimises, None for the own
    claim: Claim  # descents reach its loss
    gram_claim: Claim | None = None  # descents reach its Z Z^T, where that is unique


class Expectation(NamedTuple):
    """The parts of embeddings that a loss sees, and what theory expects of its optima."""

    sees_lengths: bool = True  # the norm of each embedding
    sees_mean: bool = True  # the mean over samples
    sees_scales: bool = True  # the deviation of each dimension
    rank: tuple[Claim, str] | None = None  # with the sign that compares rank(Z) to rank(G)
    optimal: Optimal | None = None

    def visible(self, embeddings: Tensor, relation: Tensor) -> tuple[Tensor, Tensor]:
        """Take out of embeddings and of their relation what the loss does not see.

        Args:
            embeddings: (N, D).
            relation: (N, N).

        Returns:
            Embeddings (N, D), rows weighted by the roots of the probabilities of samples; and the
            degree-normalised relation (N, N), whose constant eigenvector comes last for a loss that
            sees no mean.
        """
        normalized, probabilities = normalize_relation(relation)
        constant = probabilities.sqrt()
        if not self.sees_lengths:
            embeddings = normalize(embeddings, dim=1)
        if not self.sees_mean:
            embeddings = deviations(embeddings, probabilities)
            normalized = normalized - 3 * constant.outer(constant)  # eigenvalues are at least -1
        if not self.sees_scales:
            embeddings = embeddings / (probabilities @ embeddings.square()).sqrt()
        return constant.unsqueeze(1) * embeddings, normalized


SPECTRAL_EMBEDDING = Optimal(
    spectral_contrastive_optimum,
    spectral_contrastive_loss,
    Claim(CLOSED_FORM, "difference of losses", "[2] (2.15)"),
    Claim(CLOSED_FORM, "relative error of Z Zᵀ", "[2] (2.15)"),
)
EIGENMAPS = Optimal(vicreg_optimum, None, Claim(CLOSED_FORM, "difference of losses", "[1]"))
EXPECTATIONS: dict[type[nn.Module], Expectation] = {
    SpectralContrastiveLoss: Expectation(optimal=SPECTRAL_EMBEDDING),
    BYOLSpectralLoss: Expectation(optimal=SPECTRAL_EMBEDDING),
    SimCLRLoss: Expectation(sees_lengths=False, rank=(SAME_RANK, "=")),
    VICRegLoss: Expectation(sees_mean=False, rank=(HIGHER_RANK, ">"), optimal=EIGENMAPS),
    BarlowTwinsLoss: Expectation(sees_mean=False, sees_scales=False, rank=(SAME_RANK, "=")),
}
