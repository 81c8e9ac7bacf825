import pytest
import torch
from torch import Tensor

from src.readouts.prompts import FRAMES, Parts, captions, prompt, split_negation, vocabulary
from src.subspaces.propositions import Proposition, conjunctions

LITERALS = ("Wearing_Hat", "Bald", "Male")
FRAME = "a picture of something that is "


@pytest.mark.parametrize(
    ("text", "said", "without_negation"),
    [
        ("Bald", "bald", "bald"),
        ("~Wearing_Hat", "not wearing hat", "wearing hat"),
        ("Male & ~Bald", "male and not bald", "male and bald"),
        ("Male | Bald", "male or bald", "male or bald"),
        (
            "Male & (Bald | Wearing_Hat)",
            "both male and bald or wearing hat",
            "both male and bald or wearing hat",
        ),
        (
            "(Male & ~Bald) | (~Male & Bald)",
            "either male and not bald or not male and bald",
            "either male and bald or male and bald",
        ),
        ("~(Male & Bald)", "not the case that male and bald", "male and bald"),
        ("TRUE", "anything", "anything"),
    ],
)
def test_propositions_are_said_with_and_without_negation(
    text: str, said: str, without_negation: str
) -> None:
    query = Proposition(text, LITERALS)
    assert prompt(query, LITERALS) == FRAME + said
    assert prompt(query, LITERALS, negation=False) == FRAME + without_negation
    assert prompt(query, LITERALS, frame="no {}!") == f"no {said}!"


@pytest.mark.parametrize(
    ("text", "affirmed", "denied"),
    [
        ("Bald", "bald", None),
        ("~Bald", None, "bald"),
        ("Male & ~Bald", "male", "bald"),
        ("~Bald & Male & ~Wearing_Hat", "male", "bald or wearing hat"),
        ("~Bald | ~Male", None, "bald and male"),
        ("~(Bald | Male)", None, "bald or male"),
        ("~~(Bald | Male)", "bald or male", None),
        ("(Male | Bald) & ~(Bald & Male)", "male or bald", "bald and male"),
        ("~TRUE & Bald", "bald", "anything"),
    ],
)
def test_what_is_affirmed_is_told_from_what_is_denied(
    text: str, affirmed: str | None, denied: str | None
) -> None:
    assert split_negation(Proposition(text, LITERALS), LITERALS) == Parts(affirmed, denied)


@pytest.mark.parametrize("text", ["Male | ~Bald", "~(Male & ~Bald)", "(Male & ~Bald) | Bald"])
def test_what_no_two_parts_can_say_has_none(text: str) -> None:
    assert split_negation(Proposition(text, LITERALS), LITERALS) is None


def test_captions_name_what_is_there_in_any_order() -> None:
    labels = torch.tensor([[1, 0, 1]] * 200 + [[0, 0, 0]])
    *many, none = captions(labels, LITERALS, absent=0.0)
    orders = ("wearing hat and male", "male and wearing hat")
    assert set(many) == {frame.format(said) for frame in FRAMES for said in orders}
    assert none in {frame.format("anything") for frame in FRAMES}


@pytest.mark.parametrize("indices", [None, torch.arange(4000)])
def test_captions_seldom_name_what_is_not_there(indices: Tensor | None) -> None:
    torch.manual_seed(0)
    labels = torch.tensor([[1, 0, 0]]).expand(4000, -1)
    said = captions(labels, LITERALS, 0.25, indices)

    def share(*parts: str) -> float:
        return sum(all(part in caption for part in parts) for caption in said) / len(said)

    assert share("not bald") == pytest.approx(0.25, abs=0.03)
    assert share("not bald", "not male") == pytest.approx(1 / 16, abs=0.02)
    assert share("not wearing hat") == 0
    assert share("an image of") == pytest.approx(1 / 4, abs=0.03)
    assert share("an image of", "not bald") == pytest.approx(1 / 16, abs=0.02)


def test_captions_of_positions_are_the_same_each_time() -> None:
    labels = torch.randint(0, 2, (200, 3))
    said = captions(labels, LITERALS, 0.5, torch.arange(200))
    order = torch.randperm(200)
    again = captions(labels[order], LITERALS, 0.5, order)
    assert again == [said[position] for position in order.tolist()]


def test_vocabulary_has_every_word_that_is_said() -> None:
    words = set(vocabulary(LITERALS))
    texts = captions(torch.randint(0, 2, (200, 3)), LITERALS, absent=0.5)
    queries = [*conjunctions(LITERALS, 3), Proposition("~((Bald | Male) & TRUE)", LITERALS)]
    texts += [prompt(query, LITERALS, frame=frame) for query in queries for frame in FRAMES]
    assert {word for text in texts for word in text.split()} <= words
