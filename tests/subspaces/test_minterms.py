import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

from src.subspaces.minterms import MintermSubspaces, distinct_minterms, find_minterms
from src.subspaces.propositions import Proposition

GOLDEN = json.loads(
    (Path(__file__).parent.parent / "golden" / "authors_reference.json").read_text()
)["inference_case"]
LITERALS = ("a", "b", "c")


def golden(name: str) -> Tensor:
    return torch.tensor(GOLDEN[name])


def fitted(embeddings: Tensor, labels: Tensor, batch_size: int = 1000) -> MintermSubspaces:
    subspaces = MintermSubspaces(distinct_minterms(labels), embeddings.shape[1])
    for start in range(0, len(labels), batch_size):
        batch = slice(start, start + batch_size)
        subspaces.update(embeddings[batch], labels[batch])
    subspaces.fit()
    return subspaces


def random_case(seed: int, dim: int = 6) -> tuple[MintermSubspaces, Tensor]:
    """Subspaces fitted on random embeddings, and other random embeddings to ask about."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.rand(80, len(LITERALS), generator=generator) < 0.5
    embeddings = torch.randn(80, dim, generator=generator)
    return fitted(embeddings, labels), torch.randn(20, dim, generator=generator)


@pytest.fixture(scope="module")
def authors() -> MintermSubspaces:
    return fitted(golden("memory_embeddings"), golden("memory_labels"))


def test_authors_minterms_and_projectors(authors: MintermSubspaces) -> None:
    assert torch.equal(authors.minterms.int(), golden("minterms").int())
    projectors = torch.einsum("md,me->mde", authors.directions, authors.directions)
    torch.testing.assert_close(projectors.float(), golden("minterm_projectors"), atol=1e-5, rtol=0)


def test_authors_predictions_and_probabilities(authors: MintermSubspaces) -> None:
    queries = golden("query_embeddings")
    assert torch.equal(authors.predict(queries).int(), golden("predicted_minterm").int())
    torch.testing.assert_close(
        authors.literal_probabilities(queries).float(),
        golden("literal_probabilities"),
        atol=1e-5,
        rtol=0,
    )


@pytest.mark.parametrize("query", GOLDEN["queries"])
def test_authors_query_scores(query: dict, authors: MintermSubspaces) -> None:
    names = [LITERALS[i] for i in query["positive_literals"]]
    names += ["~" + LITERALS[i] for i in query["negative_literals"]]
    mask = Proposition(" & ".join(names), LITERALS).holds(authors.minterms).unsqueeze(0)
    scores = authors.scores(golden("query_embeddings"), mask, "sum")[:, 0]
    torch.testing.assert_close(scores.float(), torch.tensor(query["scores"]), atol=1e-5, rtol=0)


def test_direction_is_the_top_singular_vector_of_the_normalized_embeddings() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.rand(90, 2, generator=generator) < 0.5
    embeddings = torch.randn(90, 5, generator=generator)
    subspaces = fitted(embeddings, labels, batch_size=7)
    for minterm, direction, count in zip(
        subspaces.minterms, subspaces.directions, subspaces.counts, strict=True
    ):
        members = normalize(embeddings[(labels == minterm).all(dim=1)].double(), dim=1)
        top = torch.linalg.svd(members).Vh[0]
        torch.testing.assert_close(torch.outer(direction, direction), torch.outer(top, top))
        assert count == len(members)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(seed=st.integers(0, 10**6), p=st.sampled_from(["a", "a & ~b", "b | c", "~(a | c)"]))
def test_probabilities_obey_the_laws_of_logic(seed: int, p: str) -> None:
    subspaces, embeddings = random_case(seed)
    q = "~b | (a & c)"

    def probability(text: str) -> Tensor:
        mask = Proposition(text, LITERALS).holds(subspaces.minterms)
        return subspaces.proposition_probabilities(embeddings, mask.unsqueeze(0))[:, 0]

    one = torch.ones(len(embeddings), dtype=torch.float64)
    torch.testing.assert_close(probability(p) + probability(f"~({p})"), one)
    for left, right in [
        (f"~(({p}) & ({q}))", f"~({p}) | ~({q})"),
        (f"~(({p}) | ({q}))", f"~({p}) & ~({q})"),
        (f"~~({p})", p),
        (f"({p}) | (({p}) & ({q}))", p),
        (f"({p}) & (({p}) | ({q}))", p),
    ]:
        torch.testing.assert_close(probability(left), probability(right))
    union = probability(f"({p}) | ({q})") + probability(f"({p}) & ({q})")
    torch.testing.assert_close(union, probability(p) + probability(q))


def test_zero_embedding_says_nothing() -> None:
    subspaces, _ = random_case(0)
    probabilities = subspaces.minterm_probabilities(torch.zeros(1, 6))
    expected = torch.full((1, 8), 1 / 8, dtype=torch.float64)
    torch.testing.assert_close(probabilities, expected)


def test_minterm_without_images_gets_no_probability() -> None:
    labels = torch.tensor([[True, False], [False, True], [True, True]])
    subspaces = MintermSubspaces(distinct_minterms(labels), 4)
    subspaces.update(torch.randn(2, 4), labels[:2])
    subspaces.fit()
    empty = int(find_minterms(labels[2:], subspaces.minterms))
    probabilities = subspaces.minterm_probabilities(
        torch.cat([torch.randn(5, 4), torch.zeros(1, 4)])
    )
    assert (probabilities[:, empty] == 0).all()
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(6, dtype=torch.float64))


def test_scores_agree_on_orthogonal_directions_and_differ_on_others() -> None:
    subspaces, embeddings = random_case(1, dim=9)
    masks = torch.rand(12, 8, generator=torch.Generator().manual_seed(0)) < 0.6
    subspaces.directions.copy_(torch.eye(8, 9))
    torch.testing.assert_close(
        subspaces.scores(embeddings, masks, "sum"), subspaces.scores(embeddings, masks, "projector")
    )
    subspaces.directions.copy_(normalize(torch.ones(8, 9) + 0.1 * torch.eye(8, 9), dim=1))
    ones = torch.ones(1, 9)
    assert subspaces.scores(ones, masks, "sum").max() > 1.5
    projected = subspaces.scores(torch.cat([ones, embeddings]), masks, "projector")
    assert projected.min() >= 0
    assert projected.max() <= 1 + 1e-12


def test_projector_score_is_the_squared_length_of_the_projection() -> None:
    subspaces, embeddings = random_case(2)
    mask = torch.tensor([True, False, True, True, False, False, False, False])
    basis = torch.linalg.qr(subspaces.directions[mask].T).Q
    expected = (normalize(embeddings.double(), dim=1) @ basis).square().sum(dim=1)
    torch.testing.assert_close(
        subspaces.scores(embeddings, mask.unsqueeze(0), "projector")[:, 0], expected
    )


def test_state_dict_carries_what_a_query_needs() -> None:
    subspaces, embeddings = random_case(3)
    copy = MintermSubspaces(torch.zeros_like(subspaces.minterms), 6)
    copy.load_state_dict(subspaces.state_dict())
    assert torch.equal(
        copy.minterm_probabilities(embeddings), subspaces.minterm_probabilities(embeddings)
    )


def test_misuse_is_refused() -> None:
    subspaces = MintermSubspaces(torch.eye(3).bool(), 4)
    with pytest.raises(RuntimeError, match="not fitted"):
        subspaces.minterm_probabilities(torch.randn(2, 4))
    with pytest.raises(ValueError, match=r"\[1, 1, 0\]"):
        subspaces.update(torch.randn(1, 4), torch.tensor([[1, 1, 0]]))
    with pytest.raises(ValueError, match="sum, projector"):
        random_case(0)[0].scores(torch.randn(2, 6), torch.ones(1, 8), "max")  # type: ignore[arg-type]


def test_minterms_are_found_as_a_dictionary_finds_them() -> None:
    labels = torch.rand(200, 4, generator=torch.Generator().manual_seed(0)) < 0.4
    minterms = distinct_minterms(labels)[::2]
    position = {tuple(row): index for index, row in enumerate(minterms.tolist())}
    expected = [position.get(tuple(row), -1) for row in labels.tolist()]
    assert find_minterms(labels, minterms).tolist() == expected
    assert -1 in expected
