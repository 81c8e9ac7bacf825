"""The propositions that retrieval is evaluated on, the same for every run and method."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import comb

import torch
from torch import Tensor

from src.subspaces.propositions import Proposition, conjunctions
from src.subspaces.random_propositions import harder_propositions, sample_conjunctions

MAX_QUERIES = 5000  # of conjunctions; where there are more, some are drawn
MAX_DEPTH, MAX_PER_DEPTH = 8, 1000  # of random propositions
DRAWN = 100  # conjunctions of each size, positive and as many negated
SEED = 0


@dataclass(frozen=True)
class Queries:
    """Propositions with the depth of each: 1 for conjunctions, 2 and more for random ones."""

    propositions: list[Proposition]  # (Q,)
    depths: list[int]  # (Q,)
    minterms: Tensor  # (M, C), of the training split
    sampled: bool = False  # whether conjunctions are drawn, as there are too many for all

    @cached_property
    def negated(self) -> list[bool]:
        """Whether each query has a negation, (Q,)."""
        return [query.has_negation for query in self.propositions]

    @cached_property
    def groups(self) -> dict[str, Tensor]:
        """Masks over the queries, (Q,), bool: conjunctions, without a name; those that are
        purely `positive` and those that are `negated` in part; those `unseen`, which no minterm of
        the training split satisfies; and the random propositions of each depth.
        """
        depths = torch.tensor(self.depths)
        negated = torch.tensor(self.negated)
        flat = depths == 1
        # One by one: a table of all queries and minterms could be large
        seen = torch.tensor([bool(query.holds(self.minterms).any()) for query in self.propositions])
        groups = {
            "": flat,
            "positive": flat & ~negated,
            "negated": flat & negated,
            "unseen": flat & ~seen,
        }
        return groups | {
            f"depth_{depth}": depths == depth for depth in sorted(set(self.depths))[1:]
        }


def make_queries(
    literals: Sequence[str],
    minterms: Tensor,
    max_literals: int,
    max_depth: int,
    queries_per_depth: int,
) -> Queries:
    """Make all conjunctions of up to `max_literals` literals, and random propositions that are
    harder. Where there are more than 5,000 conjunctions, 100 positive and 100 negated ones of each
    size are drawn.

    Args:
        literals: (C,), names of the label columns.
        minterms: (M, C), of the training split: every random proposition tells some of them apart.
        max_literals: The most literals of a conjunction, at least 1.
        max_depth: Random propositions have the depths 2 to this, at most 8: a proposition grows as
            a power of its depth.
        queries_per_depth: The number of propositions of each depth, at most 1,000.

    Raises:
        ValueError: If a number is out of range.
    """
    if max_literals < 1:
        raise ValueError(f"max_query_literals must be at least 1, not {max_literals}")
    if max_depth > MAX_DEPTH:
        raise ValueError(f"max_query_depth must be at most {MAX_DEPTH}, not {max_depth}")
    if not 0 <= queries_per_depth <= MAX_PER_DEPTH:
        raise ValueError(
            f"queries_per_depth must be from 0 to {MAX_PER_DEPTH:,}, not {queries_per_depth}"
        )
    sizes = range(1, min(len(literals), max_literals) + 1)
    number = sum(comb(len(literals), size) * 2**size for size in sizes)
    sampled = number > MAX_QUERIES
    propositions = (
        sample_conjunctions(literals, sizes, DRAWN, SEED)
        if sampled
        else conjunctions(literals, max_literals)
    )
    depths = [1] * len(propositions)
    for depth in range(2, max_depth + 1):
        harder = harder_propositions(
            literals, minterms, depth, queries_per_depth, SEED, propositions
        )
        propositions += harder
        depths += [depth] * len(harder)
    return Queries(propositions, depths, minterms, sampled)
