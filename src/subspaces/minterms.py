"""Minterms: full conjunctions, one value for every literal, the distinct rows of labels."""

from collections.abc import Sequence

import torch
from torch import Tensor


def distinct_minterms(labels: Tensor) -> Tensor:
    """The distinct rows of labels (N, C): (M, C), bool, in lexicographic order."""
    return labels.bool().unique(dim=0)


def find_minterms(labels: Tensor, minterms: Tensor) -> Tensor:
    """Row of each label vector in a table of minterms.

    Args:
        labels: (N, C), nonzero where a literal is true.
        minterms: (M, C), distinct rows.

    Returns:
        (N,), int64, -1 where the table does not have that minterm.
    """
    signs = 2 * labels.bool().float() - 1
    table = 2 * minterms.float() - 1
    # The product of two sign vectors of length C is C only where they agree everywhere.
    agreement, index = (signs @ table.T).max(dim=1)
    return torch.where(agreement == labels.shape[1], index, -1)


def minterm_name(minterm: Tensor, literals: Sequence[str]) -> str:
    """The literals that are true in a minterm (C,), joined; `none` where there is none."""
    present = [name for name, value in zip(literals, minterm.tolist(), strict=True) if value]
    return " & ".join(present) or "none"
