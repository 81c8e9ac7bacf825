import pytest
import torch

from src.subspaces.minterms import all_minterms, distinct_minterms, find_minterms


@pytest.mark.parametrize("num_literals", [1, 3, 31, 32, 40, 100])
def test_minterms_are_found_as_a_dictionary_finds_them(num_literals: int) -> None:
    generator = torch.Generator().manual_seed(num_literals)
    some = torch.rand(60, num_literals, generator=generator) < 0.5
    labels = some[torch.randint(60, (500,), generator=generator)]
    expected = sorted({tuple(row) for row in labels.tolist()})
    assert distinct_minterms(labels).tolist() == [list(row) for row in expected]
    table = torch.tensor(expected)[torch.randperm(len(expected), generator=generator)][1:]
    if not len(table):
        return
    places = {tuple(row): place for place, row in enumerate(table.tolist())}
    found = find_minterms(labels, table)
    assert found.tolist() == [places.get(tuple(row), -1) for row in labels.tolist()]
    assert (found < 0).any()


def test_all_minterms_are_in_lexicographic_order() -> None:
    assert all_minterms(0).shape == (1, 0)
    assert torch.equal(all_minterms(6), distinct_minterms(all_minterms(6).flip(0)))
    assert len(all_minterms(6)) == 64


@pytest.mark.parametrize("literal", [0, 20, 39])
def test_a_row_that_differs_in_one_literal_is_not_found(literal: int) -> None:
    table = torch.zeros(1, 40).bool()
    row = table.clone()
    row[0, literal] = True
    assert find_minterms(torch.cat([row, table]), table).tolist() == [-1, 0]
