"""Linear discriminants of literals, in closed form from moments of the training embeddings."""

from collections.abc import Sequence

import torch
from torch import Tensor

from src.losses.discriminants import solve_discriminants
from src.readouts.literals import LiteralReadout, literal_contrasts
from src.readouts.moments import Moments, check_shrinkage, with_constant
from src.subspaces.propositions import Proposition


class LiteralDiscriminants(LiteralReadout):
    """A discriminant of two Gaussians for each literal, by `solve_discriminants`.

    Time and memory do not depend on the number of minterms.

    Args:
        literals: (C,), names.
        embedding_dim: D.
        shrinkage: s, between 0 and 1; None for the oracle's estimate of each literal, which the
            same moments give.

    Raises:
        ValueError: If the shrinkage is outside [0, 1].
    """

    name = "literal_discriminants"
    label_codings = ("literals", "complements", "minterms")
    searched = "as they are"

    weights: Tensor  # (C, D)
    biases: Tensor  # (C,), NaN until fitted

    def __init__(
        self, literals: Sequence[str], embedding_dim: int, shrinkage: float | None
    ) -> None:
        check_shrinkage(shrinkage)
        super().__init__(literals)
        self.shrinkage = shrinkage
        num_literals = len(literals)
        self._moments = Moments(1 + num_literals, embedding_dim)
        self.register_buffer("weights", torch.zeros(num_literals, embedding_dim).double())
        self.register_buffer("biases", torch.full((num_literals,), torch.nan).double())

    def reset(self) -> None:
        """Forget what was accumulated. The fitted discriminants stay."""
        self._moments.reset()

    @torch.no_grad()
    def update(self, embeddings: Tensor, labels: Tensor) -> None:
        """Add a batch of embeddings (N, D) with labels (N, C)."""
        self._moments.update(with_constant(labels), embeddings)

    @torch.no_grad()
    def fit(self) -> None:
        """Solve for the discriminants, over all processes, and reset.

        A literal that all training images have, or none, is certain.
        """
        weights, biases = solve_discriminants(*self._moments.reduce(), self.shrinkage)
        self.weights.copy_(weights)
        self.biases.copy_(biases)
        self.reset()

    def literal_logits(self, embeddings: Tensor) -> Tensor:
        """Log odds of literals for embeddings (N, D): (N, C).

        Raises:
            RuntimeError: If nothing was fitted.
        """
        self.check_fitted(~self.biases.isnan())
        return embeddings.double() @ self.weights.T + self.biases

    def search_vectors(self, proposition: Proposition) -> Tensor:
        self.check_fitted(~self.biases.isnan())
        return literal_contrasts(proposition, self.weights)
