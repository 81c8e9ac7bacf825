"""The lattice of subspaces: meet, join, complement, entailment, and its distance from Boolean.

A subspace is given by its orthogonal projector. Subspaces of a space with projector `unit` form an
orthomodular lattice, the logic of Birkhoff and von Neumann [0]. It is Boolean, that is,
distributive, exactly on subspaces whose projectors commute: there the meet is P Q and the join is
P + Q - P Q.

All functions take and give float64 and broadcast over leading dimensions. Numerically, directions
at an angle below `MAX_ANGLE` are one.

[0] Birkhoff, von Neumann, *The Logic of Quantum Mechanics*, Annals of Mathematics 37 (1936).
[1] Beran, *Orthomodular Lattices* (1985), for the commutator of several elements.
"""

from collections.abc import Sequence
from functools import reduce
from itertools import product
from math import cos

import torch
from torch import Tensor

from src.subspaces.propositions import Proposition

MAX_ANGLE = 1e-5  # radians


def meet(first: Tensor, second: Tensor) -> Tensor:
    """Projector onto the intersection, the conjunction of two propositions.

    P + Q has the eigenvalues 1 + cos(a) and 1 - cos(a) for every principal angle a, and so 2 on
    the intersection alone.

    Args:
        first, second: (..., D, D), orthogonal projectors.

    Returns:
        (..., D, D).
    """
    return _spectral_projector(first + second, 1 + cos(MAX_ANGLE))


def join(first: Tensor, second: Tensor) -> Tensor:
    """Projector onto the sum of two subspaces, the disjunction of two propositions.

    Args:
        first, second: (..., D, D), orthogonal projectors.

    Returns:
        (..., D, D).
    """
    return _spectral_projector(first + second, 1 - cos(MAX_ANGLE))


def complement(projector: Tensor, unit: Tensor) -> Tensor:
    """Projector onto the orthogonal complement within the space of `unit`, the negation.

    Args:
        projector: (..., D, D), the projector of a subspace of that space.
        unit: (D, D), the span of all minterms; the identity for the whole space.

    Returns:
        (..., D, D).
    """
    return unit - projector


def entailment(first: Tensor, second: Tensor) -> Tensor:
    """Share of the first subspace that lies in the second: tr(P Q) / tr(P).

    It is the mean squared cosine over directions of the first: 1 exactly where the first is
    included, 0 where the two are orthogonal, and 1 for the zero subspace, which entails anything.

    Args:
        first, second: (..., D, D), orthogonal projectors.

    Returns:
        (...), in [0, 1].
    """
    overlap = (first * second).sum(dim=(-2, -1))  # tr(P Q), both symmetric
    dimension = first.diagonal(dim1=-2, dim2=-1).sum(dim=-1)
    return torch.where(dimension > 0.5, overlap / dimension.clamp(min=1), 1.0).clamp(0, 1)


def entails(first: Tensor, second: Tensor) -> Tensor:
    """Whether the first subspace is included in the second: no direction of it leaves by more
    than `MAX_ANGLE`, ||P - Q P||_2 <= sin(MAX_ANGLE).

    Args:
        first, second: (..., D, D), orthogonal projectors.

    Returns:
        (...), bool.
    """
    return torch.linalg.matrix_norm(first - second @ first, 2) <= MAX_ANGLE


def proposition_projector(proposition: Proposition, literals: Tensor, unit: Tensor) -> Tensor:
    """The subspace of a proposition by lattice operations on the subspaces of its literals.

    On a Boolean lattice this is the span of the minterms that satisfy it, as
    `src.subspaces.projectors.span_projectors` gives. Elsewhere it depends on how the proposition is
    written, and the two differ.

    Args:
        proposition: A proposition over C literals.
        literals: (C, D, D), projectors of the literals.
        unit: (D, D), the span of all minterms.

    Returns:
        (D, D).
    """
    return proposition.evaluate(
        literal=lambda column: literals[column],
        constant=lambda value: unit if value else torch.zeros_like(unit),
        complement=lambda operand: complement(operand, unit),
        meet=meet,
        join=join,
    )


def boolean_part(literals: Tensor, unit: Tensor) -> Tensor:
    """Projector onto the part of the space on which literals are Boolean, their commutator [1].

    That is the join over all 2^C sign patterns of the meets of literals, each plain or
    complemented: all that can be split into their minterms. It is `unit` exactly where the literals
    commute, and its share of the dimensions, `boolean_share`, says how far they are from it.

    Args:
        literals: (C, D, D), at most 12 projectors.
        unit: (D, D).

    Returns:
        (D, D).

    Raises:
        ValueError: If there are more than 12 literals.
    """
    if len(literals) > 12:
        raise ValueError(f"the lattice of {len(literals)} literals has too many atoms: at most 12")
    signed: Sequence[Sequence[Tensor]] = [
        (literal, complement(literal, unit)) for literal in literals
    ]
    atoms = [reduce(meet, pattern, unit) for pattern in product(*signed)]
    # Atoms of one family are orthogonal, so that their join is their sum.
    return torch.stack(atoms).sum(dim=0)


def boolean_share(literals: Tensor, unit: Tensor) -> float:
    """Share of the dimensions of `unit` on which literals are Boolean: 1 exactly if they commute.

    Args:
        literals: (C, D, D), at most 12 projectors.
        unit: (D, D), not zero.
    """
    return float(boolean_part(literals, unit).trace() / unit.trace())


def _spectral_projector(matrix: Tensor, threshold: float) -> Tensor:
    """Projector onto the eigenvectors of a symmetric matrix with eigenvalues above a threshold."""
    eigenvalues, eigenvectors = torch.linalg.eigh(matrix.double())
    basis = eigenvectors * (eigenvalues > threshold).unsqueeze(-2)
    return basis @ basis.mT
