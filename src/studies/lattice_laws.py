"""Laws of Boolean algebra, held against the lattice of the subspaces of literals."""

from collections.abc import Sequence
from itertools import permutations

import torch
from torch import Tensor

from src.subspaces.lattice import entails, join, meet, proposition_projector
from src.subspaces.propositions import Proposition


def distributivity_gap(literals: Tensor) -> float:
    """Largest ||P meet (Q join R) - (P meet Q) join (P meet R)||_F over triples of projectors.

    Args:
        literals: (P, D, D).
    """
    triples = torch.tensor([p for p in permutations(range(len(literals)), 3) if p[1] < p[2]])
    first, second, third = literals[triples.T]
    gap = meet(first, join(second, third)) - join(meet(first, second), meet(first, third))
    return float(torch.linalg.matrix_norm(gap).max())


def entailment_agreement(
    propositions: Sequence[Proposition], literals: Tensor, unit: Tensor, minterms: Tensor
) -> float:
    """Share of ordered pairs of propositions on which entailment of subspaces and truth agree.

    Args:
        propositions: Over C literals.
        literals: (C, D, D), projectors.
        unit: (D, D), the span of all minterms.
        minterms: (M, C), bool: one proposition truly entails another where it does for each.
    """
    spaces = torch.stack([proposition_projector(query, literals, unit) for query in propositions])
    truth = torch.stack([query.holds(minterms) for query in propositions])
    implied = (~truth.unsqueeze(1) | truth).all(dim=2)
    return float((entails(spaces.unsqueeze(1), spaces) == implied).double().mean())
