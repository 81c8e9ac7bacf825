"""Minterms: full conjunctions, one value for every literal, the distinct rows of labels."""

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor
from torch.nn.functional import one_hot

# The most minterms that a table is kept of, with a probability or a subspace for each
MAX_MINTERMS = 4096
WORD = 31  # literals that are read at once, as the bits of a number


def distinct_minterms(labels: Tensor) -> Tensor:
    """The distinct rows of labels (N, C): (M, C), bool, in lexicographic order."""
    rows = labels.bool()
    ranks = _rank(rows, rows)
    return rows[ranks.argsort()[ranks.unique()]]


def all_minterms(num_literals: int) -> Tensor:
    """Every assignment of C literals: (2^C, C), bool, in lexicographic order."""
    return torch.tensor(list(product((False, True), repeat=num_literals)), dtype=torch.bool)


def find_minterms(labels: Tensor, minterms: Tensor) -> Tensor:
    """Row of each label vector in a table of minterms.

    Args:
        labels: (N, C), nonzero where a literal is true.
        minterms: (M, C), distinct rows.

    Returns:
        (N,), int64, -1 where the table does not have that minterm.
    """
    table = minterms.bool()
    order = _rank(table, table).argsort()
    ranks = _rank(labels.bool(), table)
    return torch.where(ranks < 0, -1, order[ranks])


def encode_labels(labels: Tensor, minterms: Tensor, label_coding: str) -> Tensor:
    """Code labels as a loss sees them.

    Args:
        labels: (N, C).
        minterms: (M, C), of the training split.
        label_coding: `literals`: the labels themselves, (N, C); `complements`: literals and their
            negations, (N, 2 C), whose products Y^T Y count the literals on which two images agree;
            `minterms`: indicators, (N, M), all 0 for labels that are none of the minterms.
    """
    if label_coding == "literals":
        return labels
    if label_coding == "complements":
        present = labels.bool()
        return torch.cat([present, ~present], dim=1)
    return one_hot(find_minterms(labels, minterms) + 1, len(minterms) + 1)[:, 1:]


def minterm_name(minterm: Tensor, literals: Sequence[str]) -> str:
    """The literals that are true in a minterm (C,), joined; `none` where there is none."""
    present = [name for name, value in zip(literals, minterm.tolist(), strict=True) if value]
    return " & ".join(present) or "none"


def _rank(rows: Tensor, table: Tensor) -> Tensor:
    """The number of rows of a table (M, C) that come before each of the rows (N, C) in
    lexicographic order: (N,), or -1 where the table does not have that row.

    Literals are read a word at a time: the rank by those before and the bits of the word make one
    number, which has its place among the numbers of the table.
    """
    ranks = rows.new_zeros(len(rows), dtype=torch.int64)
    of_table = table.new_zeros(len(table), dtype=torch.int64)
    found = torch.ones_like(ranks, dtype=torch.bool)
    for start in range(0, rows.shape[1], WORD):
        ranks, of_table = (
            (before << WORD) | _number(part[:, start : start + WORD])
            for before, part in ((ranks, rows), (of_table, table))
        )
        values = of_table.sort().values
        of_table = torch.searchsorted(values, of_table)
        place = torch.searchsorted(values, ranks).clamp(max=len(values) - 1)
        found &= values[place] == ranks
        ranks = place
    return torch.where(found, ranks, -1)


def _number(bits: Tensor) -> Tensor:
    """The number of which each row of bits (N, b) is the binary digits, the first one highest."""
    places = torch.arange(bits.shape[1], device=bits.device).flip(0)
    return (bits.long() << places).sum(dim=1)
