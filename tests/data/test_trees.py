from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from src.config.groups import CONF_DIR
from src.data.cifar import Cifar100
from src.data.corruption import draw_unknown
from src.data.digits import DigitClasses
from src.data.mnist import FashionMnist
from src.data.trees import entailments, facets, with_ancestors

DIGITS = DigitClasses(split_seed=0)
TREE = {"odd": ["one", "three"], "even": ["fours", "zero"], "fours": ["four", "eight"]}
HIERARCHY = OmegaConf.load(CONF_DIR.parent / "experiments" / "hierarchy.yaml")


def below(node: str, tree: dict[str, list[str]]) -> set[str]:
    """All descendants, by walking down."""
    children = tree.get(node, [])
    return set(children).union(*(below(child, tree) for child in children))


def test_a_node_is_true_where_a_literal_below_it_is() -> None:
    image_set = with_ancestors(DIGITS, TREE)
    assert image_set.literals == (*DIGITS.literals, "odd", "even", "fours")
    for name, split in DIGITS.splits.items():
        labels = image_set.splits[name].labels
        assert torch.equal(labels[:, :10], split.labels)
        for row, leaf in zip(labels.tolist(), split.labels.int().argmax(dim=1), strict=True):
            digit = DIGITS.literals[leaf]
            assert row[10:] == [digit in below(node, TREE) for node in TREE]


def test_a_node_is_unknown_where_no_literal_below_it_is_true_and_some_is_unknown() -> None:
    digits = DigitClasses(split_seed=0)
    unknown = draw_unknown(DIGITS.splits["train"].labels, 0.2, 0)
    train = DIGITS.splits["train"].without(unknown)
    digits.splits = {"train": train}
    found = with_ancestors(digits, TREE).splits["train"]
    assert found.unknown is not None
    assert torch.equal(found.unknown[:, :10], unknown)
    leaves = zip(train.labels.tolist(), unknown.tolist(), strict=True)
    for row, (values, gaps) in enumerate(leaves):
        for column, node in enumerate(TREE, start=10):
            places = [DIGITS.literals.index(leaf) for leaf in below(node, TREE) - TREE.keys()]
            holds = any(values[place] for place in places)
            assert found.labels[row, column] == holds
            undecided = not holds and any(gaps[place] for place in places)
            assert found.unknown[row, column] == undecided


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.data())
def test_entailments_are_all_ancestors(data: st.DataObject) -> None:
    names = [f"n{place}" for place in range(8)]
    tree: dict[str, list[str]] = {}
    for place, name in enumerate(names[1:], start=1):
        parents = st.sets(st.sampled_from(names[:place]), max_size=2)
        for parent in sorted(data.draw(parents)):
            tree.setdefault(parent, []).append(name)
    order = data.draw(st.permutations(names))
    found = entailments(order, tree)
    for row, first in enumerate(order):
        for column, second in enumerate(order):
            assert found[row, column] == (first in below(second, tree))


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"odd": ["one", "eleven"]}, "eleven, below odd in the tree, is no literal and no node"),
        ({"one": ["two"]}, "the node one of the tree has the name of a literal"),
        ({"a": ["b", "one"], "b": ["a"]}, "the node a of the tree is below itself"),
    ],
)
def test_trees_that_are_none_are_refused(tree: dict[str, list[str]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        with_ancestors(DIGITS, tree)


def test_facets_are_those_with_several_tags() -> None:
    tags = ["role::program", "interface::x11", "role::shared-lib", "devel::lang:perl", "game"]
    assert facets(tags) == {"role": ["role::program", "role::shared-lib"]}


def test_superclasses_of_cifar100_hold_each_class_once() -> None:
    children = [child for node in HIERARCHY.superclasses.values() for child in node]
    assert sorted(children) == sorted(Cifar100.literals)
    assert {len(node) for node in HIERARCHY.superclasses.values()} == {5}
    assert len(HIERARCHY.superclasses) == 20


def test_garments_are_in_the_tree_but_for_bags() -> None:
    tree: Any = OmegaConf.to_container(HIERARCHY.study.data.fashion_mnist.tree)
    found = set.union(*(below(node, tree) for node in tree)) - tree.keys()
    assert set(FashionMnist.literals) - found == {"Bag"}
