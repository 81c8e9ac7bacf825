"""Minterm directions against the authors' numbers, singular vectors and Boolean laws."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import in_processes
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch import distributed as dist
from torch.nn.functional import normalize

from src.readouts.subspaces import MintermSubspaces
from src.subspaces.minterms import distinct_minterms, find_minterms
from src.subspaces.propositions import Proposition

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/authors_reference.json").read_text())[
    "inference_case"
]
LITERALS = ["a", "b", "c"]
ALL_MINTERMS = torch.cartesian_prod(*[torch.tensor([0, 1])] * 3)


def golden_tensor(name: str) -> Tensor:
    return torch.tensor(GOLDEN[name])


def random_batch(num: int, dim: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Embeddings near one direction per minterm, and labels over three literals."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(2, (num, 3), generator=generator)
    centres = torch.randn(8, dim, dtype=torch.float64, generator=generator)
    noise = torch.randn(num, dim, dtype=torch.float64, generator=generator)
    return centres[labels @ torch.tensor([4, 2, 1])] + 0.3 * noise, labels


def fitted(embeddings: Tensor, labels: Tensor) -> MintermSubspaces:
    subspaces = MintermSubspaces(distinct_minterms(labels), embeddings.shape[1])
    subspaces.update(embeddings, labels)
    subspaces.fit()
    return subspaces


def with_directions(directions: Tensor, minterms: Tensor) -> MintermSubspaces:
    """Subspaces that have these directions, as if fitted on one image each."""
    subspaces = MintermSubspaces(minterms, directions.shape[1])
    subspaces.update(directions, minterms)
    subspaces.fit()
    return subspaces


def outer_products(directions: Tensor) -> Tensor:
    return directions.unsqueeze(2) * directions.unsqueeze(1)


# The authors' numbers


@pytest.fixture(scope="module", params=[torch.float32, torch.float64], ids=str)
def golden_subspaces(request: pytest.FixtureRequest) -> MintermSubspaces:
    embeddings = golden_tensor("memory_embeddings").to(request.param)
    return fitted(embeddings, golden_tensor("memory_labels"))


def golden_order(subspaces: MintermSubspaces) -> list[int]:
    """Rows of the subspaces' minterms in the order of the golden ones."""
    known = subspaces.minterms.int().tolist()
    return [known.index(minterm) for minterm in GOLDEN["minterms"]]


def test_minterms_are_the_authors(golden_subspaces: MintermSubspaces) -> None:
    assert sorted(golden_order(golden_subspaces)) == list(range(len(golden_subspaces.minterms)))
    rows = [tuple(row) for row in GOLDEN["memory_labels"]]
    expected = [rows.count(tuple(row)) for row in golden_subspaces.minterms.int().tolist()]
    assert golden_subspaces.counts.tolist() == expected


def test_minterm_projectors_equal_the_authors(golden_subspaces: MintermSubspaces) -> None:
    directions = golden_subspaces.directions[golden_order(golden_subspaces)]
    expected = golden_tensor("minterm_projectors").double()
    torch.testing.assert_close(outer_products(directions), expected, rtol=0, atol=1e-5)


def test_predictions_equal_the_authors(golden_subspaces: MintermSubspaces) -> None:
    predicted = golden_subspaces.predict(golden_tensor("query_embeddings"))
    assert predicted.int().tolist() == GOLDEN["predicted_minterm"]


def test_literal_probabilities_equal_the_authors(golden_subspaces: MintermSubspaces) -> None:
    actual = golden_subspaces.literal_probabilities(golden_tensor("query_embeddings"))
    expected = golden_tensor("literal_probabilities").double()
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("query", GOLDEN["queries"], ids=lambda query: str(query["positives"]))
def test_query_scores_equal_the_authors(
    golden_subspaces: MintermSubspaces, query: dict[str, Any]
) -> None:
    plain = [LITERALS[column] for column in query["positive_literals"]]
    negated = [f"~{LITERALS[column]}" for column in query["negative_literals"]]
    proposition = Proposition(" & ".join(plain + negated), LITERALS)
    masks = proposition.holds(golden_subspaces.minterms).unsqueeze(0)
    actual = golden_subspaces.scores(golden_tensor("query_embeddings"), masks, "sum")[:, 0]
    expected = torch.tensor(query["scores"], dtype=torch.float64)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)


# Fitting


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_directions_are_top_singular_vectors_of_normalised_classes(dtype: torch.dtype) -> None:
    embeddings, labels = random_batch(200, 6)
    embeddings = embeddings.to(dtype)
    subspaces = fitted(embeddings, labels)
    for minterm, direction in zip(subspaces.minterms, subspaces.directions, strict=True):
        members = embeddings[(labels == minterm.int()).all(dim=1)].double()
        members = members / members.norm(dim=1, keepdim=True)
        top = torch.linalg.svd(members, full_matrices=False).Vh[0]
        assert abs(top @ direction).item() == pytest.approx(1, abs=1e-12)
        assert direction.norm().item() == pytest.approx(1, abs=1e-12)


def test_lengths_of_embeddings_make_no_difference() -> None:
    embeddings, labels = random_batch(100, 5)
    lengths = 10 ** torch.linspace(-3, 3, 100, dtype=torch.float64).unsqueeze(1)
    actual = outer_products(fitted(embeddings * lengths, labels).directions)
    torch.testing.assert_close(actual, outer_products(fitted(embeddings, labels).directions))


@pytest.mark.parametrize("batch_size", [1, 7, 99, 100])
def test_accumulating_batches_is_fitting_them_at_once(batch_size: int) -> None:
    embeddings, labels = random_batch(100, 5)
    whole = fitted(embeddings, labels)
    subspaces = MintermSubspaces(whole.minterms, 5)
    for batch in zip(embeddings.split(batch_size), labels.split(batch_size), strict=True):
        subspaces.update(*batch)
    subspaces.fit()
    assert torch.equal(subspaces.counts, whole.counts)
    torch.testing.assert_close(
        outer_products(subspaces.directions), outer_products(whole.directions)
    )


def test_each_fit_starts_afresh() -> None:
    first, second = random_batch(100, 5, seed=1), random_batch(100, 5, seed=2)
    subspaces = fitted(*first)
    subspaces.update(*second)
    subspaces.fit()
    assert torch.equal(subspaces.directions, fitted(*second).directions)
    assert torch.equal(subspaces.counts, fitted(*second).counts)


def test_reset_forgets_what_was_accumulated_and_keeps_the_directions() -> None:
    first, second = random_batch(100, 5, seed=1), random_batch(100, 5, seed=2)
    subspaces = fitted(*first)
    before = subspaces.directions.clone()
    subspaces.update(*first)
    subspaces.reset()
    assert torch.equal(subspaces.directions, before)
    subspaces.update(*second)
    subspaces.fit()
    assert torch.equal(subspaces.directions, fitted(*second).directions)


def test_minterms_without_images_have_no_direction_and_no_probability() -> None:
    embeddings, labels = random_batch(60, 5)
    seen = labels[:, 0] == 1
    subspaces = MintermSubspaces(ALL_MINTERMS, 5)
    subspaces.update(embeddings[seen], labels[seen])
    subspaces.fit()
    absent = ~subspaces.minterms[:, 0]
    assert not subspaces.directions[absent].any()
    assert not subspaces.counts[absent].any()
    assert not subspaces.minterm_probabilities(embeddings)[:, absent].any()
    zero = torch.zeros(1, 5)
    assert not subspaces.minterm_probabilities(zero)[:, absent].any()


# Queries


def test_minterm_probabilities_follow_their_formula() -> None:
    embeddings, labels = random_batch(50, 5)
    subspaces = fitted(embeddings, labels)
    probabilities = subspaces.minterm_probabilities(embeddings)
    for row, embedding in zip(probabilities, embeddings, strict=True):
        energies = [float(direction @ embedding) ** 2 for direction in subspaces.directions]
        assert row.tolist() == pytest.approx([energy / sum(energies) for energy in energies])


def test_embeddings_on_orthonormal_directions_are_certain() -> None:
    subspaces = with_directions(torch.eye(8, dtype=torch.float64), ALL_MINTERMS)
    embeddings = -3 * torch.eye(8)
    assert torch.equal(subspaces.minterm_probabilities(embeddings), torch.eye(8).double())
    assert torch.equal(subspaces.predict(embeddings), ALL_MINTERMS.bool())
    assert torch.equal(subspaces.literal_probabilities(embeddings), ALL_MINTERMS.double())


def test_zero_embeddings_are_uniform_over_minterms() -> None:
    subspaces = fitted(*random_batch(100, 5))
    probabilities = subspaces.minterm_probabilities(torch.zeros(2, 5))
    torch.testing.assert_close(
        probabilities, torch.full((2, 8), 1 / 8, dtype=torch.float64), rtol=0, atol=1e-7
    )


PROPOSITIONS = st.recursive(
    st.sampled_from([*LITERALS, "TRUE", "FALSE"]),
    lambda inner: st.one_of(
        inner.map(lambda text: f"~({text})"),
        st.tuples(inner, st.sampled_from("&|"), inner).map(lambda parts: f"({' '.join(parts)})"),
    ),
    max_leaves=8,
)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(
    first=PROPOSITIONS,
    second=PROPOSITIONS,
    dim=st.integers(1, 9),
    num_minterms=st.integers(1, 8),
    seed=st.integers(0, 2**32),
)
def test_probabilities_obey_the_laws_of_boolean_algebra(
    first: str, second: str, dim: int, num_minterms: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    minterms = ALL_MINTERMS[torch.randperm(8, generator=generator)[:num_minterms]]
    directions = torch.randn(num_minterms, dim, dtype=torch.float64, generator=generator)
    subspaces = with_directions(directions, minterms)
    embeddings = torch.randn(7, dim, dtype=torch.float64, generator=generator)

    def probability(text: str) -> Tensor:
        query = Proposition(text, LITERALS)
        return subspaces.proposition_probabilities(embeddings, [query])[:, 0]

    ones = torch.ones(7, dtype=torch.float64)
    p, q = f"({first})", f"({second})"
    torch.testing.assert_close(probability("TRUE"), ones)
    torch.testing.assert_close(probability("FALSE"), 0 * ones)
    torch.testing.assert_close(probability(p) + probability(f"~{p}"), ones)
    torch.testing.assert_close(probability(f"~~{p}"), probability(p))
    torch.testing.assert_close(probability(f"~({p} & {q})"), probability(f"~{p} | ~{q}"))
    torch.testing.assert_close(probability(f"~({p} | {q})"), probability(f"~{p} & ~{q}"))
    torch.testing.assert_close(probability(f"{p} | {p} & {q}"), probability(p))
    torch.testing.assert_close(probability(f"{p} & ({p} | {q})"), probability(p))
    torch.testing.assert_close(
        probability(f"{p} | {q}") + probability(f"{p} & {q}"), probability(p) + probability(q)
    )


def all_masks(num_minterms: int) -> Tensor:
    return torch.cartesian_prod(*[torch.tensor([False, True])] * num_minterms)


@pytest.mark.parametrize("dim", [2, 5, 8, 12])
def test_projector_scores_lie_between_zero_and_one(dim: int) -> None:
    embeddings, labels = random_batch(100, dim)
    scores = fitted(embeddings, labels).scores(embeddings, all_masks(8), "projector")
    assert scores.shape == (100, 256)
    assert scores.min() >= -1e-12
    assert scores.max() <= 1 + 1e-12


def test_projector_scores_are_squared_lengths_of_projections() -> None:
    embeddings, labels = random_batch(60, 6)
    subspaces = fitted(embeddings, labels)
    masks = all_masks(8)[1:]
    scores = subspaces.scores(embeddings, masks, "projector")
    unit = normalize(embeddings, dim=1)
    for mask, actual in zip(masks[::17], scores.T[::17], strict=True):
        basis = subspaces.directions[mask].T
        fit = basis @ torch.linalg.pinv(basis) @ unit.T
        torch.testing.assert_close(actual, (fit**2).sum(dim=0))


def test_scores_agree_for_orthonormal_directions() -> None:
    generator = torch.Generator().manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(9, 9, dtype=torch.float64, generator=generator)).Q
    subspaces = with_directions(rotation[:8], ALL_MINTERMS)
    embeddings = torch.randn(20, 9, generator=generator)
    torch.testing.assert_close(
        subspaces.scores(embeddings, all_masks(8), "projector"),
        subspaces.scores(embeddings, all_masks(8), "sum"),
    )


def test_sum_scores_exceed_one_where_directions_overlap() -> None:
    directions = torch.tensor([[1.0, 0.1], [1.0, -0.1], [0.0, 1.0]])
    subspaces = with_directions(directions, ALL_MINTERMS[:3])
    embeddings, masks = torch.tensor([[2.0, 0.0]]), torch.tensor([[True, True, False]])
    assert subspaces.scores(embeddings, masks, "sum").item() == pytest.approx(2 / 1.01)
    assert subspaces.scores(embeddings, masks, "projector").item() == pytest.approx(1)


# State


def test_state_dict_brings_a_fresh_module_to_the_same_answers() -> None:
    embeddings, labels = random_batch(100, 5)
    subspaces = fitted(embeddings, labels)
    subspaces.update(embeddings[:10], labels[:10])  # under way, not part of the state
    fresh = MintermSubspaces(torch.zeros(8, 3), 5)
    fresh.load_state_dict(subspaces.state_dict())
    assert set(fresh.state_dict()) == {
        "minterms",
        "counts",
        "directions",
        "temperature",
        "literal_biases",
    }
    masks = all_masks(8)
    assert torch.equal(fresh.predict(embeddings), subspaces.predict(embeddings))
    for kind in ("sum", "projector"):
        assert torch.equal(
            fresh.scores(embeddings, masks, kind), subspaces.scores(embeddings, masks, kind)
        )


def test_embeddings_keep_their_graph_out_of_the_moments() -> None:
    embeddings, labels = random_batch(100, 5)
    subspaces = fitted(embeddings.requires_grad_(), labels)
    assert not subspaces.directions.requires_grad


# Refusals


def test_minterms_that_training_does_not_have_are_refused() -> None:
    subspaces = MintermSubspaces(torch.tensor([[0, 0, 1], [1, 1, 0]]), 4)
    with pytest.raises(ValueError, match=r"training set does not have: \[1, 0, 1\]"):
        subspaces.update(torch.ones(2, 4), torch.tensor([[0, 0, 1], [1, 0, 1]]))


def test_answers_before_a_fit_are_refused() -> None:
    embeddings, labels = random_batch(10, 5)
    subspaces = MintermSubspaces(ALL_MINTERMS, 5)
    subspaces.update(embeddings, labels)
    masks = torch.ones(1, 8)
    with pytest.raises(RuntimeError, match="not fitted"):
        subspaces.minterm_probabilities(embeddings)
    with pytest.raises(RuntimeError, match="not fitted"):
        subspaces.literal_probabilities(embeddings)
    with pytest.raises(RuntimeError, match="not fitted"):
        subspaces.predict(embeddings)
    with pytest.raises(RuntimeError, match="not fitted"):
        subspaces.scores(embeddings, masks, "sum")
    with pytest.raises(RuntimeError, match="not fitted"):
        subspaces.scores(embeddings, masks, "projector")


def test_unknown_kinds_of_score_are_refused() -> None:
    embeddings, labels = random_batch(10, 5)
    kind: Any = "product"
    with pytest.raises(ValueError, match="must be sum or projector, not 'product'"):
        fitted(embeddings, labels).scores(embeddings, torch.ones(1, 8), kind)


# The table of minterms


@settings(derandomize=True, deadline=None, max_examples=100)
@given(
    num_literals=st.integers(1, 8),
    num_known=st.integers(1, 40),
    num=st.integers(0, 40),
    seed=st.integers(0, 2**32),
)
def test_find_minterms_is_a_dictionary_lookup(
    num_literals: int, num_known: int, num: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    known = torch.randint(2, (num_known, num_literals), generator=generator).unique(dim=0)
    known = known[torch.randperm(len(known), generator=generator)]
    labels = torch.randint(2, (num, num_literals), generator=generator)
    rows = {tuple(row): position for position, row in enumerate(known.tolist())}
    expected = [rows.get(tuple(row), -1) for row in labels.tolist()]
    for table in (known, known.bool(), known.float()):
        assert find_minterms(labels, table).tolist() == expected
    assert find_minterms(labels.bool(), known).tolist() == expected


def test_distinct_minterms_are_the_sorted_set_of_rows() -> None:
    _, labels = random_batch(30, 2)
    expected = sorted({tuple(row) for row in labels.bool().tolist()})
    minterms = distinct_minterms(labels)
    assert minterms.dtype == torch.bool
    assert [tuple(row) for row in minterms.tolist()] == expected


# Two processes

SHARES = [slice(0, 17), slice(17, 90)]


def process_worker(rank: int, directory: Path) -> None:
    torch.set_num_threads(1)
    init = (directory / "init").as_uri()
    dist.init_process_group("gloo", init_method=init, rank=rank, world_size=2)
    embeddings, labels = random_batch(90, 5)
    uneven, lonely = (MintermSubspaces(ALL_MINTERMS, 5) for _ in range(2))
    share = SHARES[rank]
    for batch in zip(embeddings[share].split(10), labels[share].split(10), strict=True):
        uneven.update(*batch)
    uneven.fit()
    # All images on one process
    share = slice(90) if rank == 1 else slice(0)
    lonely.update(embeddings[share], labels[share])
    lonely.fit()
    torch.save([uneven.state_dict(), lonely.state_dict()], directory / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_fit_what_one_does(tmp_path: Path) -> None:
    in_processes(process_worker, 2, tmp_path)
    embeddings, labels = random_batch(90, 5)
    alone = fitted(embeddings, labels)
    expected = outer_products(alone.directions)
    share = fitted(embeddings[SHARES[1]], labels[SHARES[1]])
    assert (outer_products(share.directions) - expected).abs().max() > 1e-3
    for rank in range(2):
        for state in torch.load(tmp_path / f"{rank}.pt"):
            assert torch.equal(state["counts"], alone.counts)
            actual = outer_products(state["directions"])
            torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)
