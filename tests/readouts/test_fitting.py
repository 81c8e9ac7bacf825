"""All readouts that are fitted: what they refuse."""

from collections.abc import Callable

import pytest
import torch

from src.losses.batch import NonFiniteEmbeddingsError
from src.readouts.captions import CaptionReadout
from src.readouts.discriminant import DiscriminantReadout
from src.readouts.kernel import KernelReadout
from src.readouts.literal_discriminants import LiteralDiscriminants
from src.readouts.readout import Readout
from src.readouts.subspaces import MintermSubspaces
from src.subspaces.propositions import Proposition

LITERALS = ("a", "b")
MINTERMS = torch.tensor([[0, 1], [1, 0], [1, 1]]).bool()
DIM = 4
FITTED: dict[str, Callable[[], Readout]] = {
    "subspaces": lambda: MintermSubspaces(MINTERMS, DIM),
    "kernel": lambda: KernelReadout(MINTERMS, DIM),
    "discriminant": lambda: DiscriminantReadout(MINTERMS, DIM, "additive", None),
    "discriminant, free": lambda: DiscriminantReadout(MINTERMS, DIM, "free", None),
    "literal_discriminants": lambda: LiteralDiscriminants(LITERALS, DIM, None),
    "captions": lambda: CaptionReadout(MINTERMS, LITERALS, DIM, DIM, 0.1, 0.3),
}
OF_A_TABLE = ["subspaces", "kernel", "discriminant, free"]  # of the minterms of training alone
EMBEDDINGS = torch.randn(9, DIM, generator=torch.Generator().manual_seed(0))
LABELS = MINTERMS.repeat(3, 1)


@pytest.mark.parametrize("name", FITTED)
def test_no_answer_comes_before_a_fit(name: str) -> None:
    readout = FITTED[name]()
    query = [Proposition("a & ~b", LITERALS)]
    readout.update(EMBEDDINGS, LABELS)
    for kind in readout.score_kinds:
        with pytest.raises(RuntimeError, match=f"{readout.name} readout is not fitted"):
            readout.score(EMBEDDINGS, query, kind)
    with pytest.raises(RuntimeError, match="not fitted"):
        readout.predict(EMBEDDINGS)
    with pytest.raises(RuntimeError, match="not fitted"):
        readout.calibrate(EMBEDDINGS, LABELS)
    readout.fit()
    for kind in readout.score_kinds:
        assert torch.isfinite(readout.score(EMBEDDINGS, query, kind)).all()
    loaded = FITTED[name]()
    loaded.load_state_dict(readout.state_dict())
    assert torch.equal(loaded.predict(EMBEDDINGS), readout.predict(EMBEDDINGS))


@pytest.mark.parametrize("name", OF_A_TABLE)
def test_minterms_that_training_does_not_have_are_refused(name: str) -> None:
    labels = LABELS.clone()
    labels[4] = False
    with pytest.raises(ValueError, match=r"training set does not have: \[0, 0\]"):
        FITTED[name]().update(EMBEDDINGS, labels)


@pytest.mark.parametrize("name", FITTED)
@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_embeddings_that_are_not_finite_are_refused(name: str, wrong: float) -> None:
    readout = FITTED[name]()
    embeddings = EMBEDDINGS.clone()
    embeddings[4, 1] = wrong
    readout.update(embeddings, LABELS)
    with pytest.raises(NonFiniteEmbeddingsError, match="fit a readout on are NaN or infinite"):
        readout.fit()


def test_kernel_distances_are_those_of_positions_far_from_0() -> None:
    logits = []
    for shift in (0, 1e8):
        readout = KernelReadout(MINTERMS, DIM)
        positions = EMBEDDINGS.double().repeat(4, 1)
        positions[:, :-1] += shift
        readout.update(positions, LABELS.repeat(4, 1))
        readout.fit()
        logits.append(readout.minterm_logits(positions))
    torch.testing.assert_close(logits[1], logits[0], rtol=0, atol=1e-6)
