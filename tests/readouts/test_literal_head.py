from collections.abc import Callable
from itertools import product

import pytest
import torch
from batches import random_embeddings

from src.losses.boxes import BoxLoss
from src.losses.literal_head import LiteralHead
from src.losses.ole import OLELoss
from src.losses.soft_subspaces import SoftSubspaceLoss
from src.readouts.head import HeadReadout
from src.readouts.literal_head import LiteralHeadReadout
from src.readouts.readout import check_pairing
from src.subspaces.propositions import Proposition

LITERALS = ("a", "b", "c")
HEADS: dict[str, Callable[[], LiteralHead]] = {
    "boxes": lambda: BoxLoss(3, 4, 0.5),
    "soft_subspaces": lambda: SoftSubspaceLoss(3, 4, 4, 0.2),
}


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("text", ["a & ~b", "(a | b) & ~c", "~a & ~b & ~c", "a ^ b"])
def test_propositions_have_the_sum_over_all_assignments_of_literals(name: str, text: str) -> None:
    torch.manual_seed(0)
    loss = HEADS[name]().double()
    readout, embeddings = LiteralHeadReadout(LITERALS, loss), 0.3 * random_embeddings(6, 4)
    p = loss.logits(embeddings).detach().sigmoid()
    rows = torch.tensor(list(product((False, True), repeat=3)))
    shares = torch.where(rows, p.unsqueeze(1), 1 - p.unsqueeze(1)).prod(dim=2)  # (N, 8)
    query = Proposition(text.replace("a ^ b", "(a & ~b) | (b & ~a)"), LITERALS)
    expected = shares[:, query.holds(rows)].sum(dim=1)
    actual = readout.score(embeddings, [query], "probability").detach()[:, 0]
    torch.testing.assert_close(actual, expected)
    assert 0.01 < float(p.mean()) < 0.99


def test_one_literal_without_another_has_what_both_leave_of_it() -> None:
    torch.manual_seed(0)
    readout, embeddings = LiteralHeadReadout(LITERALS, BoxLoss(3, 4, 0.5)), random_embeddings(6, 4)
    queries = [Proposition(text, LITERALS) for text in ("a", "a & b", "a & ~b")]
    one, both, rest = readout.score(embeddings, queries, "probability").detach().T
    torch.testing.assert_close(rest, one - both)


@pytest.mark.parametrize("name", HEADS)
def test_losses_of_literals_go_with_it_alone(name: str) -> None:
    loss = HEADS[name]()
    check_pairing(loss, LiteralHeadReadout)
    with pytest.raises(ValueError, match=f"{type(loss).__name__} goes with readout=literal_head"):
        check_pairing(loss, HeadReadout)
    with pytest.raises(ValueError, match="goes with LiteralHead, not OLELoss"):
        check_pairing(OLELoss(), LiteralHeadReadout)
