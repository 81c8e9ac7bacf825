from collections.abc import Sequence
from itertools import product
from math import acos, cos, log, pi, sin

import pytest
import torch
from torch import Tensor, nn

from src.encoders.encoder import DualEncoder
from src.losses.contrastive import ContrastiveLoss
from src.losses.ole import OLELoss
from src.readouts.kernel import KernelReadout
from src.readouts.prompts import FRAMES
from src.readouts.readout import Readout, check_pairing
from src.readouts.sigmoid import SigmoidReadout
from src.readouts.softmax import SoftmaxReadout
from src.readouts.subspaces import MintermSubspaces
from src.readouts.text import TextReadout
from src.subspaces.propositions import Proposition

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
    readout = SigmoidReadout(LITERALS)
    p = torch.sigmoid(logits)
    torch.testing.assert_close(readout.literal_probabilities(logits), p)
    queries = [Proposition(text, LITERALS) for text in ("a & ~b", "a | c")]
    conjunction, disjunction = readout.proposition_probabilities(logits, queries).T
    torch.testing.assert_close(conjunction, p[:, 0] * (1 - p[:, 1]))
    torch.testing.assert_close(disjunction, p[:, 0] + p[:, 2] - p[:, 0] * p[:, 2])
    assert torch.equal(readout.predict(logits), logits > 0)


def test_inclusion_exclusion_is_the_probability_where_no_literal_occurs_twice() -> None:
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)).double()
    readout = SigmoidReadout(LITERALS)
    queries = [Proposition(text, LITERALS) for text in ("a | (b & ~c)", "~(a & b) | c", "TRUE")]
    exact = readout.score(logits, queries, "probability")
    torch.testing.assert_close(readout.score(logits, queries, "inclusion_exclusion"), exact)
    p = torch.sigmoid(logits[:, 0])
    twice = [Proposition("a & a", LITERALS)]
    torch.testing.assert_close(readout.score(logits, twice, "inclusion_exclusion")[:, 0], p * p)
    torch.testing.assert_close(readout.score(logits, twice, "probability")[:, 0], p)


class Directions(DualEncoder):
    """Knows a few sentences: each has a direction of its own, in the order of appearance."""

    log_scale = log(2.0)

    def __init__(self, dim: int) -> None:
        super().__init__(dim, radius=None, batch_norm=False)
        self.seen: dict[str, int] = {}

    def check_texts(self, texts: Sequence[str]) -> None:
        pass

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        numbers = [self.seen.setdefault(sentence, len(self.seen)) for sentence in texts]
        return torch.eye(self.embedding_dim)[numbers]


@pytest.mark.parametrize(("share", "said"), [(0.0, 0), (1.0, 200)])
def test_captions_mention_as_much_of_what_is_not_there_as_asked(share: float, said: int) -> None:
    text = Directions(10000)
    minterms = torch.tensor(list(product((0, 1), repeat=3)))
    readout = TextReadout(minterms, LITERALS, text, ContrastiveLoss(), share, cap_cosine=0.9)
    readout.encode_labels(torch.tensor([[1, 0, 0]] * 100), minterms, "captions")
    assert sum(sentence.count("not ") for sentence in text.seen) == len(text.seen) * said / 100
    with pytest.raises(ValueError, match="absent_mentioned must be between 0 and 1"):
        TextReadout(minterms, LITERALS, text, ContrastiveLoss(), 1.5, cap_cosine=0.9)
    for cosine in (-0.1, 1.0):
        with pytest.raises(ValueError, match="cap_cosine must be at least 0 and below 1"):
            TextReadout(minterms, LITERALS, text, ContrastiveLoss(), share, cap_cosine=cosine)


def test_text_scores_compare_images_with_prompts() -> None:
    text = Directions(40)
    minterms = torch.tensor(list(product((0, 1), repeat=3)))
    readout = TextReadout(
        minterms, LITERALS, text, ContrastiveLoss().double(), absent_mentioned=0.1, cap_cosine=0.1
    )
    embeddings = torch.rand(5, 40, generator=torch.Generator().manual_seed(0))
    unit = torch.nn.functional.normalize(embeddings.double(), dim=1)

    def cosine(said: str, frame: str = FRAMES[0]) -> Tensor:
        return unit[:, text.seen[frame.format(said)]]

    def score(query: str, kind: str) -> Tensor:
        return readout.score(embeddings, [Proposition(query, LITERALS)], kind)[:, 0]

    torch.testing.assert_close(score("a & ~b", "prompt"), cosine("a and not b"))
    ensemble = score("a & ~b", "prompt_ensemble")  # of orthogonal texts
    said_in_all = torch.stack([cosine("a and not b", frame) for frame in FRAMES])
    torch.testing.assert_close(ensemble, said_in_all.sum(dim=0) / len(FRAMES) ** 0.5)
    without = score("a & ~b", "prompt_without_negation")
    torch.testing.assert_close(without, cosine("a and b"))
    torch.testing.assert_close(score("a & ~b", "arithmetic"), cosine("a") - cosine("b"))
    torch.testing.assert_close(
        score("a | ~b", "arithmetic"), torch.maximum(cosine("a"), -cosine("b"))
    )
    # Texts are at right angles, and a cap reaches nearly so far: d is midway to the far side of a's
    direction = pi / 4 + acos(0.1)
    for query, near, avoided in [
        ("a & ~b", "a", "b"),
        ("~b", "anything", "b"),
        ("~b & ~c & a", "a", "b or c"),
        ("~(b | c)", "anything", "b or c"),
    ]:
        caps = score(query, "caps")
        expected = sin(direction) * cosine(near) + cos(direction) * cosine(avoided)
        torch.testing.assert_close(caps, expected)
    for query in ("a | c", "a & b", "a | ~b", "TRUE"):
        torch.testing.assert_close(score(query, "caps"), score(query, "prompt"))
    product_score = score("a & ~b", "literal_product")
    p, q = (
        torch.stack([2 * cosine(name), 2 * cosine(f"not {name}")]).softmax(dim=0)[0]
        for name in ("a", "b")
    )
    torch.testing.assert_close(product_score, p * (1 - q))
    probabilities = readout.minterm_probabilities(embeddings)
    said = torch.stack([cosine(name) for name in ("anything", "c", "b")], dim=1)
    expected = (2 * said).exp()
    torch.testing.assert_close(
        probabilities[:, :3] / probabilities[:, :1], expected / expected[:, :1]
    )


@pytest.mark.parametrize(
    ("loss", "readout", "message"),
    [
        (nn.CrossEntropyLoss(), MintermSubspaces, "CrossEntropyLoss goes with readout=soft"),
        (nn.BCEWithLogitsLoss(), SoftmaxReadout, "BCEWithLogitsLoss goes with readout=sigm"),
        (OLELoss(), SigmoidReadout, "readout=sigmoid goes with BCEWithLogitsLoss, not OLELo"),
    ],
)
def test_what_does_not_go_together_is_refused(
    loss: nn.Module, readout: type[Readout], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check_pairing(loss, readout)


@pytest.mark.parametrize(
    ("loss", "readout"),
    [
        (nn.CrossEntropyLoss(), SoftmaxReadout),
        (nn.BCEWithLogitsLoss(), SigmoidReadout),
        (OLELoss(), MintermSubspaces),
    ],
)
def test_what_goes_together_is_not(loss: nn.Module, readout: type[Readout]) -> None:
    check_pairing(loss, readout)


@pytest.mark.parametrize(
    ("readout", "label_coding", "known"),
    [
        (MintermSubspaces(torch.eye(2), 2), "captions", "minterms or literals or complements"),
        (SigmoidReadout(("a", "b")), "minterms", "literals"),
    ],
)
def test_codings_that_a_readout_does_not_know_are_refused(
    readout: Readout, label_coding: str, known: str
) -> None:
    with pytest.raises(ValueError, match=f"label_coding={known}, not {label_coding}"):
        readout.check_coding(label_coding)
    readout.check_coding(readout.label_codings[0])


def test_readouts_of_readouts_keep_their_losses_too() -> None:
    class OwnLoss(nn.Module):
        pass

    class OwnReadout(KernelReadout):
        name = "own"
        trained_by = (OwnLoss,)  # type: ignore[assignment]

    check_pairing(OwnLoss(), OwnReadout)
    with pytest.raises(ValueError, match="OwnLoss goes with readout=own, not subspaces"):
        check_pairing(OwnLoss(), MintermSubspaces)
