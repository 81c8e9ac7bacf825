from collections.abc import Sequence
from pathlib import Path

import pytest

from src.data.labels import read_labels, read_split
from src.data.text_files import Row, Table


def table(*cells: Sequence[str]) -> Table:
    rows = (Row(line, list(row)) for line, row in enumerate(cells, 2))
    return Table(Path("t.csv"), ["file", "hat", "male"], rows)


@pytest.mark.parametrize(
    ("true", "false"),
    [
        ("1", "0"),
        ("1", "-1"),
        ("1.0", "0.0"),
        ("+1", "-1.0"),
        ("True", "False"),
        ("TRUE", "false"),
        ("yes", "No"),
        ("Y", "n"),
        ("t", "F"),
    ],
)
def test_truth_is_read_in_every_known_spelling(true: str, false: str) -> None:
    labels = read_labels(table(("a", true, false), ("b", false, true)), 0, [1, 2])
    assert labels.names == ["a", "b"]
    assert labels.values.tolist() == [[True, False], [False, True]]
    assert not labels.unknown.any()


@pytest.mark.parametrize(
    "word", ["2", "0.5", "one", "x", "1,0", "-", "+", "10", "01", "tru e", "?"]
)
def test_any_other_word_is_refused_with_file_line_and_value(word: str) -> None:
    with pytest.raises(
        ValueError, match=r"^t\.csv, line 3: male is '.*', which is no label: write"
    ):
        read_labels(table(("a", "1", "0"), ("b", "0", word)), 0, [1, 2])
    labels = read_labels(table(("a", "1", "0"), ("b", "0", word)), 0, [1])
    assert labels.values.tolist() == [[True], [False]]


@pytest.mark.parametrize("word", ["", "nan", "NaN", "None", "null", "NA"])
def test_missing_labels_are_unknown_and_not_false(word: str) -> None:
    labels = read_labels(table(("a", "1", word), ("b", "0", "0")), 0, [1, 2])
    assert labels.unknown.tolist() == [[False, True], [False, False]]


def test_minus_one_beside_zero_is_refused_as_it_may_be_unknown() -> None:
    with pytest.raises(ValueError, match=r"t\.csv, line 3: hat is -1, while other labels are 0"):
        read_labels(table(("a", "1", "0"), ("b", "-1", "1")), 0, [1, 2])


def test_rows_name_one_image_each_and_each_its_own() -> None:
    with pytest.raises(ValueError, match=r"t\.csv, line 3: no image is named"):
        read_labels(table(("a", "1", "0"), ("", "1", "1")), 0, [1, 2])
    with pytest.raises(ValueError, match=r"a \(t\.csv, line 2, and t\.csv, line 4\); keep each"):
        read_labels(table(("a", "1", "0"), ("b", "1", "1"), ("a", "0", "0")), 0, [1, 2])
    with pytest.raises(ValueError, match=r"t\.csv has no row"):
        read_labels(table(), 0, [1, 2])


@pytest.mark.parametrize(
    ("word", "split"),
    [
        *(("train", "train"), ("Training", "train"), ("0", "train"), ("VALID", "val")),
        *(("validation", "val"), ("dev", "val"), ("1", "val"), ("test", "test"), ("2.0", "test")),
    ],
)
def test_splits_are_read_in_every_known_spelling(word: str, split: str) -> None:
    assert read_split(table(), 2, word) == split


@pytest.mark.parametrize("word", ["", "3", "tests", "-1", "true"])
def test_other_splits_are_refused(word: str) -> None:
    with pytest.raises(ValueError, match=rf"t\.csv, line 2: '{word}' is no split"):
        read_split(table(), 2, word)
