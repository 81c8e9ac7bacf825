"""Literals in a tree: every node is a literal, and entails its ancestors."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from src.data.images import ImageSet
from src.data.relabelled import RelabelledSet

Tree = Mapping[str, Sequence[str]]  # the children of each inner node
FACET = "::"


def with_ancestors(image_set: ImageSet, tree: Tree) -> RelabelledSet:
    """The set with a literal for each inner node of a tree over its literals.

    A node is true of an image where a literal below it is. Literals outside the tree stay as they
    are.

    Args:
        image_set: The set; its literals come first, in their order.
        tree: The children of each inner node, literals of the set or other inner nodes.

    Raises:
        ValueError: If a child is neither, a node has the name of a literal, or is below itself.
    """
    leaves = {name: column for column, name in enumerate(image_set.literals)}
    known = leaves.keys() | tree.keys()
    for node, children in tree.items():
        if node in leaves:
            raise ValueError(f"the node {node} of the tree has the name of a literal")
        for child in children:
            if child not in known:
                raise ValueError(f"{child}, below {node} in the tree, is no literal and no node")
    names = (*image_set.literals, *tree)
    below = entailments(names, tree)[: len(leaves)]  # (leaves, nodes)
    below |= torch.eye(len(leaves), len(names)).bool()
    return RelabelledSet(image_set, names, lambda labels: (labels.float() @ below.float()) > 0)


def entailments(literals: Sequence[str], tree: Tree) -> Tensor:
    """Whether each literal entails each other: (C, C), [a, b] where b is an ancestor of a.

    Args:
        literals: (C,), all nodes.
        tree: The children of each inner node.

    Raises:
        ValueError: If a node is below itself.
    """
    parents = torch.zeros(len(literals), len(literals), dtype=torch.bool)
    for node, children in tree.items():
        for child in children:
            parents[literals.index(child), literals.index(node)] = True
    reached = parents.clone()
    for middle in range(len(literals)):  # Warshall's algorithm
        reached |= reached[:, middle : middle + 1] & reached[middle : middle + 1]
    if reached.diagonal().any():
        node = literals[int(reached.diagonal().int().argmax())]
        raise ValueError(f"the node {node} of the tree is below itself")
    return reached


def facets(tags: Sequence[str]) -> dict[str, list[str]]:
    """The tree of tags such as interface::x11 below their facets, those that have several."""
    tree: dict[str, list[str]] = {}
    for tag in tags:
        facet, _, value = tag.partition(FACET)
        if value:
            tree.setdefault(facet, []).append(tag)
    return {facet: children for facet, children in tree.items() if len(children) > 1}
