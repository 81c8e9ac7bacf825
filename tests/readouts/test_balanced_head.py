import pytest
import torch
from scipy.special import softmax

from src.losses.linear import LinearCrossEntropyLoss
from src.losses.logit_adjusted import LogitAdjustedLoss
from src.readouts.balanced_head import BalancedHeadReadout
from src.readouts.head import HeadReadout
from src.readouts.readout import check_pairing
from src.subspaces.propositions import Proposition

LITERALS = ("a", "b")
MINTERMS = torch.tensor([[0, 0], [0, 1], [1, 1]]).bool()
COUNTS = torch.tensor([90, 9, 1])


def build(tau: float) -> BalancedHeadReadout:
    torch.manual_seed(0)
    return BalancedHeadReadout(MINTERMS, LogitAdjustedLoss(3, 4, COUNTS, tau))


@pytest.mark.parametrize("tau", [0.5, 1.0])
def test_balanced_scores_are_the_posterior_divided_by_powers_of_shares(tau: float) -> None:
    readout, embeddings = build(tau), torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    posterior = readout.minterm_probabilities(embeddings).detach()
    divided = posterior / (COUNTS / 100) ** tau
    balanced = divided / divided.sum(dim=1, keepdim=True)
    queries = [Proposition(text, LITERALS) for text in ("a", "b & ~a", "b")]
    expected = torch.stack([balanced[:, 2], balanced[:, 1], balanced[:, 1] + balanced[:, 2]], dim=1)
    torch.testing.assert_close(readout.score(embeddings, queries, "balanced"), expected)


def test_probabilities_and_predictions_are_of_the_posterior() -> None:
    readout, embeddings = build(1.0), torch.zeros(1, 4)
    with torch.no_grad():
        readout.logits.__self__.linear.bias.zero_()  # type: ignore[attr-defined]
    shares = softmax([4.499809670330265, 2.1972245773362196, 0.0])  # log 90, log 9, log 1
    torch.testing.assert_close(
        readout.minterm_probabilities(embeddings)[0].detach(), torch.from_numpy(shares)
    )
    assert torch.equal(readout.predict(embeddings), MINTERMS[:1])
    scores = readout.score(embeddings, [Proposition("a", LITERALS)], "balanced")
    assert float(scores.detach()) == pytest.approx(1 / 3)


def test_the_loss_and_its_readout_go_together_alone() -> None:
    loss = LogitAdjustedLoss(3, 4, COUNTS, 1.0)
    check_pairing(loss, BalancedHeadReadout)
    with pytest.raises(ValueError, match="LogitAdjustedLoss goes with readout=balanced_head"):
        check_pairing(loss, HeadReadout)
    with pytest.raises(ValueError, match="goes with LogitAdjustedLoss, not LinearCross"):
        check_pairing(LinearCrossEntropyLoss(3, 4), BalancedHeadReadout)
