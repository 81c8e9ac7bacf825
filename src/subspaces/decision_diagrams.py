"""Exact probabilities of propositions over independent literals, without a table of minterms.

With a probability p_c for every literal c, the probability of a proposition q is its weighted model
count, the sum over the assignments m of its literals that satisfy it:

    p(q) = sum_{m |= q} prod_{c in m} p_c prod_{c not in m} (1 - p_c)

A reduced ordered binary decision diagram [0] of q asks for one literal at every node and goes on to
another node for either value, until it ends in `true` or `false`. Along it the sum is one step for
every node,

    p(node) = p_c p(node if c is true) + (1 - p_c) p(node if c is false)

in place of 2^k for k literals. A diagram asks for literals as they first occur in the proposition,
so that one in which each occurs once has one node for each of them. Others can need as many as 2^k,
and are refused in time.

Reference:
    [0] Bryant, *Graph-Based Algorithms for Boolean Function Manipulation*, IEEE Transactions on
        Computers, 1986
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from src.subspaces.propositions import Proposition, PropositionError

FALSE, TRUE = 0, 1  # the nodes at which diagrams end
REMEMBERED = 8  # sets of propositions whose diagrams are
MAX_NODES = 2**17  # that one proposition may add: about a second and 100 MB
CELLS = 2**23  # probabilities of nodes that are held at once, 64 MB


class Node(NamedTuple):
    """A literal, and the nodes that its two values lead to."""

    column: int
    low: int  # if it is false
    high: int  # if it is true


def model_count(propositions: Sequence[Proposition], true: Tensor, false: Tensor) -> Tensor:
    """Probabilities of propositions over independent literals.

    Args:
        propositions: (Q,), over C literals.
        true: (N, C), probabilities that literals are true.
        false: (N, C), that they are false; given apart, since 1 - p has no digits left for p
            close to 1.

    Returns:
        (N, Q).

    Raises:
        PropositionError: If the diagram of one would be too large.
    """
    diagrams = _diagrams(tuple(propositions))
    images = max(1, CELLS // len(diagrams.nodes))
    parts = zip(true.split(images), false.split(images), strict=True)
    # Queries as rows in memory, since each is ranked by itself
    return torch.cat([diagrams.count(*part) for part in parts], dim=1).T


def is_satisfiable(proposition: Proposition) -> bool:
    """Whether any assignment of its literals makes a proposition true.

    Raises:
        PropositionError: If its diagram would be too large.
    """
    return _diagrams((proposition,)).roots != [FALSE]


class DecisionDiagrams:
    """Diagrams of propositions, which share the nodes that are the same.

    Args:
        propositions: (Q,).

    Raises:
        PropositionError: If one of them takes more than 131,072 nodes.

    Attributes:
        nodes: (n,), every one after those that it leads to; the first two are `FALSE`, `TRUE`.
        roots: (Q,), the nodes that stand for the propositions.
    """

    def __init__(self, propositions: Sequence[Proposition]) -> None:
        self.nodes = [Node(-1, FALSE, FALSE), Node(-1, TRUE, TRUE)]
        self._places: dict[Node, int] = {}
        self.roots = [self._add(proposition) for proposition in propositions]
        self._levels = self._sort_into_levels()

    def count(self, true: Tensor, false: Tensor) -> Tensor:
        """Probabilities of the propositions, for those of literals (N, C) as in `model_count`:
        (Q, N).
        """
        true, false = true.T.contiguous(), false.T.contiguous()
        values = true.new_zeros(len(self.nodes), true.shape[1])
        values[TRUE] = 1
        for level in self._levels:
            places, columns, low, high = level.to(true.device)
            values[places] = true[columns] * values[high] + false[columns] * values[low]
        return values[self.roots]

    def _add(self, proposition: Proposition) -> int:
        """The node of a proposition."""
        order: dict[int, int] = {}  # of columns
        known: dict[tuple[int, int, int], int] = {}
        limit = len(self.nodes) + MAX_NODES

        def literal(column: int) -> int:
            order.setdefault(column, len(order))
            return self._place(Node(column, FALSE, TRUE))

        def choose(test: int, high: int, low: int) -> int:
            """The node of (test & high) | (~test & low)."""
            if test in (FALSE, TRUE):
                return high if test == TRUE else low
            if len(self.nodes) > limit:
                raise PropositionError(
                    f"its literals are too entangled: more than {MAX_NODES:,} cases to tell apart; "
                    "name fewer literals, or those that belong together beside each other"
                )
            asked = (test, high, low)
            if asked not in known:
                columns = [self.nodes[node].column for node in asked if node > TRUE]
                first = min(columns, key=order.__getitem__)
                branches = zip(*(self._branches(node, first) for node in asked), strict=True)
                if_false, if_true = (choose(*branch) for branch in branches)
                known[asked] = self._place(Node(first, if_false, if_true))
            return known[asked]

        return proposition.evaluate(
            literal=literal,
            constant=int,
            complement=lambda node: choose(node, FALSE, TRUE),
            meet=lambda first, second: choose(first, second, FALSE),
            join=lambda first, second: choose(first, TRUE, second),
        )

    def _branches(self, place: int, column: int) -> tuple[int, int]:
        """The nodes that a node leads to for either value of a column at or before its own."""
        node = self.nodes[place]
        return (node.low, node.high) if node.column == column else (place, place)

    def _place(self, node: Node) -> int:
        """The place of a node among all, where its two values make a difference."""
        if node.low == node.high:
            return node.low
        if node not in self._places:
            self._places[node] = len(self.nodes)
            self.nodes.append(node)
        return self._places[node]

    def _sort_into_levels(self) -> list[Tensor]:
        """Nodes whose probabilities can be had at the same time: places, columns and the places
        that they lead to, (4, n) for each level.
        """
        depths = [0, 0]
        for node in self.nodes[2:]:
            depths.append(1 + max(depths[node.low], depths[node.high]))
        levels: dict[int, list[tuple[int, ...]]] = {}
        for place, node in enumerate(self.nodes[2:], start=2):
            levels.setdefault(depths[place], []).append((place, *node))
        return [torch.tensor(levels[depth]).T for depth in sorted(levels)]


@lru_cache(maxsize=REMEMBERED)
def _diagrams(propositions: tuple[Proposition, ...]) -> DecisionDiagrams:
    return DecisionDiagrams(propositions)
