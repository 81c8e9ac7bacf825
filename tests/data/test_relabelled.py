import pytest
import torch

from src.data.corruption import draw_unknown
from src.data.digits import Digits
from src.data.relabelled import RelabelledSet, without

DIGITS = Digits(split_seed=0)


@pytest.mark.parametrize("column", range(5))
def test_set_without_a_literal_has_all_else(column: int) -> None:
    hidden = DIGITS.literals[column]
    rest = without(DIGITS, hidden)
    assert rest.literals == tuple(name for name in DIGITS.literals if name != hidden)
    for name, split in DIGITS.splits.items():
        assert torch.equal(rest.splits[name].images, split.images)
        kept = [row[:column] + row[column + 1 :] for row in split.labels.tolist()]
        assert rest.splits[name].labels.tolist() == kept
    assert DIGITS.splits["train"].labels.shape[1] == 5


def test_unknown_labels_go_with_their_literal() -> None:
    forgetful = Digits(split_seed=0)
    unknown = draw_unknown(DIGITS.splits["train"].labels, 0.3, 0)
    forgetful.splits = {**DIGITS.splits, "train": DIGITS.splits["train"].without(unknown)}
    rest = without(forgetful, "prime")
    train = rest.splits["train"]
    assert train.unknown is not None
    assert torch.equal(train.unknown, unknown[:, [0, 2, 3, 4]])
    assert not (train.labels & train.unknown).any()
    assert rest.splits["test"].unknown is None


def test_what_belongs_to_images_stays() -> None:
    rest = without(DIGITS, "even")
    for name in ("item", "image_shape", "stored_shape", "mean", "std"):
        assert getattr(rest, name) == getattr(DIGITS, name)
    assert type(rest.augmentation()) is type(DIGITS.augmentation())
    assert set(rest.example_queries) <= set(rest.literals)


def test_literals_that_are_not_there_or_alone_are_refused() -> None:
    with pytest.raises(ValueError, match="'odd' is none of the literals even, prime"):
        without(DIGITS, "odd")
    alone = RelabelledSet(DIGITS, ["even"], lambda labels: labels[:, :1])
    with pytest.raises(ValueError, match="without even no literal is left"):
        without(alone, "even")
