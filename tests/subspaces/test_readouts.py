from itertools import product

import pytest
import torch

from src.subspaces.propositions import Proposition
from src.subspaces.readouts import SigmoidReadout, SoftmaxReadout

LITERALS = ("a", "b", "c")


def test_softmax_gives_minterms_the_probabilities_of_their_logits() -> None:
    minterms = torch.tensor([[0, 0, 1], [1, 0, 0], [1, 1, 0], [1, 1, 1]])
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    readout = SoftmaxReadout(minterms)
    probabilities = readout.minterm_probabilities(logits)
    torch.testing.assert_close(probabilities, torch.softmax(logits.double(), 1))
    expected = probabilities[:, 1:].sum(dim=1)
    torch.testing.assert_close(readout.literal_probabilities(logits)[:, 0], expected)
    assert torch.equal(readout.predict(logits), minterms.bool()[logits.argmax(dim=1)])


def test_sigmoid_multiplies_the_probabilities_of_independent_literals() -> None:
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)).double()
    readout = SigmoidReadout(3)
    p = torch.sigmoid(logits)
    torch.testing.assert_close(readout.literal_probabilities(logits), p)
    mask = Proposition("a & ~b", LITERALS).holds(readout.minterms).unsqueeze(0)
    conjunction = readout.proposition_probabilities(logits, mask)[:, 0]
    torch.testing.assert_close(conjunction, p[:, 0] * (1 - p[:, 1]))
    mask = Proposition("a | c", LITERALS).holds(readout.minterms).unsqueeze(0)
    disjunction = readout.proposition_probabilities(logits, mask)[:, 0]
    torch.testing.assert_close(disjunction, p[:, 0] + p[:, 2] - p[:, 0] * p[:, 2])
    assert torch.equal(readout.predict(logits), logits > 0)


def test_sigmoid_knows_all_assignments() -> None:
    rows = {tuple(row) for row in SigmoidReadout(4).minterms.tolist()}
    assert rows == set(product((False, True), repeat=4))
    with pytest.raises(ValueError, match="at most 12"):
        SigmoidReadout(13)


def test_inclusion_exclusion_is_the_probability_where_no_literal_occurs_twice() -> None:
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)).double()
    readout = SigmoidReadout(3)
    queries = [Proposition(text, LITERALS) for text in ("a | (b & ~c)", "~(a & b) | c", "true")]
    exact = readout.score(logits, queries, "probability")
    torch.testing.assert_close(readout.score(logits, queries, "inclusion_exclusion"), exact)
    p = torch.sigmoid(logits[:, 0])
    twice = [Proposition("a & a", LITERALS)]
    torch.testing.assert_close(readout.score(logits, twice, "inclusion_exclusion")[:, 0], p * p)
    torch.testing.assert_close(readout.score(logits, twice, "probability")[:, 0], p)
