"""Orthogonal projectors onto spans of minterm directions, and how they relate.

The subspace of a proposition q is span{u_m : m in M(q)}, over the minterms that satisfy it. Sums of
u_m u_m^T are projectors only where the directions are orthogonal; these here always are.
"""

from math import nan

import torch
from torch import Tensor
from torch.nn.functional import normalize

# An eigenvalue of a sum of u_m u_m^T below this belongs to directions less than about 1e-5 rad
# apart: they come from float32 embeddings and are one direction to that precision.
NULL_EIGENVALUE = 1e-10


def span_projectors(directions: Tensor, masks: Tensor) -> Tensor:
    """Orthogonal projector onto the span of each masked set of directions.

    Args:
        directions: (M, D), unit rows; zero rows span nothing.
        masks: (Q, M), nonzero where a direction belongs to the set.

    Returns:
        (Q, D, D), in the type of the directions. An empty set gives zero.
    """
    exact = directions.double()
    sums = torch.einsum("qm,md,me->qde", masks.bool().double(), exact, exact)
    eigenvalues, eigenvectors = torch.linalg.eigh(sums)
    basis = eigenvectors * (eigenvalues > NULL_EIGENVALUE).unsqueeze(-2)
    return (basis @ basis.mT).to(directions.dtype)


def literal_projectors(directions: Tensor, minterms: Tensor) -> Tensor:
    """Projectors onto the subspaces of all literals, plain and negated.

    Args:
        directions: (M, D), unit rows.
        minterms: (M, C), bool.

    Returns:
        (2 C, D, D): C literals as they are, then their C negations.
    """
    masks = minterms.bool().T
    return span_projectors(directions, torch.cat([masks, ~masks]))


def coherence(directions: Tensor) -> Tensor:
    """Squared cosines |u_i . u_j|^2 between unit directions (M, D): (M, M)."""
    return (directions @ directions.T) ** 2


def max_coherence(directions: Tensor) -> float:
    """Largest |u_i . u_j|^2 over i != j: 0 where minterms are orthogonal, 1 where two coincide."""
    return float(coherence(directions).fill_diagonal_(0).max())


def semantic_coherence(directions: Tensor, minterms: Tensor) -> float:
    """Correlation of the overlap of subspaces with that of labels.

    Args:
        directions: (M, D), unit rows.
        minterms: (M, C).

    Returns:
        Correlation, over the pairs i != j, of |u_i . u_j|^2 with the squared cosine of the labels
        of minterms i and j; NaN if either of the two is the same for all pairs, as with two
        minterms or one.
    """
    if len(minterms) < 3:
        return nan
    pairs = torch.ones(len(minterms), len(minterms), dtype=torch.bool).triu(1)
    shared = coherence(normalize(minterms.double().cpu(), dim=1))[pairs]
    overlaps = coherence(directions.double().cpu())[pairs]
    return float(torch.corrcoef(torch.stack([shared, overlaps]))[0, 1])


def max_commutator(projectors: Tensor) -> float:
    """Largest Frobenius norm ||P_i P_j - P_j P_i||_F over pairs of projectors (P, D, D).

    Subspaces generate a Boolean lattice exactly when all their projectors commute: 0.
    """
    largest = projectors.new_zeros(())
    for projector in projectors:
        products = projector @ projectors
        # (P_i P_j)^T = P_j P_i
        largest = torch.maximum(largest, torch.linalg.matrix_norm(products - products.mT).max())
    return float(largest)
