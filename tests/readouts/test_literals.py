from itertools import product

import pytest
import torch
from torch import Tensor

from src.readouts.minterms import MintermReadout
from src.readouts.sigmoid import SigmoidReadout
from src.readouts.softmax import SoftmaxReadout
from src.subspaces.propositions import Proposition

LITERALS = ("a", "b", "c")


def random_logits(number: int, literals: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return 3 * torch.randn(number, literals, generator=generator).double()


@pytest.mark.parametrize("k", [1, 3, 8, 20])
def test_top_minterms_are_those_of_the_calibrated_table_of_all(k: int) -> None:
    rows = torch.tensor(list(product((False, True), repeat=5)))
    readout = SigmoidReadout(tuple("abcde"))
    readout.temperature.fill_(2)
    readout.literal_biases.copy_(torch.tensor([1.0, -1.0, 0.5, 0.0, 0.0]))
    for logits in random_logits(20, 5):
        calibrated = logits / 2 + readout.literal_biases
        p = torch.where(rows, calibrated.sigmoid(), (-calibrated).sigmoid()).prod(dim=1)
        expected = p.sort(descending=True)
        values, minterms = readout.top_minterms(logits, k)
        torch.testing.assert_close(values, expected.values[:k])
        assert torch.equal(minterms, rows[expected.indices[:k]])
        assert torch.equal(minterms[0], readout.predict(logits[None], calibrated=True)[0])


def test_top_minterms_are_all_of_few() -> None:
    values, minterms = SigmoidReadout(LITERALS).top_minterms(random_logits(1)[0], 100)
    assert len(minterms.unique(dim=0)) == len(values) == 8
    assert float(values.sum()) == pytest.approx(1)


def test_only_contradictions_cannot_hold() -> None:
    readout = SigmoidReadout(LITERALS)
    assert readout.can_hold(Proposition("a & b & ~c", LITERALS))
    assert not readout.can_hold(Proposition("a & (b | c) & ~a", LITERALS))


def test_tables_of_too_many_minterms_are_refused_with_the_mend() -> None:
    minterms = torch.rand(5000, 40, generator=torch.Generator().manual_seed(0)) < 0.5
    with pytest.raises(ValueError, match=r"5,000 minterms .* readout=literal_discriminants"):
        SoftmaxReadout(minterms)
    assert isinstance(SoftmaxReadout(minterms[:4096]), MintermReadout)
