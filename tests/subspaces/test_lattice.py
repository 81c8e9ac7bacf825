"""Laws of the lattice, on random subspaces in general and in common position."""

from functools import reduce
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import propositions
from torch import Tensor

from src.subspaces.lattice import (
    boolean_part,
    boolean_share,
    complement,
    entailment,
    entails,
    join,
    meet,
    proposition_projector,
)
from src.subspaces.projectors import span_projectors
from src.subspaces.propositions import Proposition

LITERALS = ("a", "b", "c")
MINTERMS = torch.tensor(list(product((False, True), repeat=3)))
DIM = 8


def orthonormal(dim: int, rank: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(dim, rank, generator=generator, dtype=torch.float64))[0]


def random_subspace(rank: int, seed: int) -> Tensor:
    basis = orthonormal(DIM, rank, seed)
    return basis @ basis.T


def coordinate_subspace(chosen: int, seed: int) -> Tensor:
    """Spanned by some axes of a random frame; those of one seed all commute."""
    frame = orthonormal(DIM, DIM, seed)
    bits = torch.tensor([bool(chosen >> axis & 1) for axis in range(DIM)])
    return frame[:, bits] @ frame[:, bits].T


IDENTITY = torch.eye(DIM, dtype=torch.float64)
anywhere = st.builds(random_subspace, st.integers(0, DIM), st.integers(0, 10**6))
sharing = st.builds(coordinate_subspace, st.integers(0, 2**DIM - 1), st.sampled_from([0, 1]))
subspaces = anywhere | sharing


def negate(projector: Tensor) -> Tensor:
    return complement(projector, IDENTITY)


def close(first: Tensor, second: Tensor) -> bool:
    return torch.allclose(first, second, atol=1e-7)


@given(subspaces)
def test_meet_and_join_are_idempotent_and_complements_complete(p: Tensor) -> None:
    assert close(meet(p, p), p)
    assert close(join(p, p), p)
    assert close(negate(negate(p)), p)
    assert close(meet(p, negate(p)), torch.zeros_like(p))
    assert close(join(p, negate(p)), IDENTITY)


@given(subspaces, subspaces)
def test_meet_and_join_commute_absorb_and_obey_de_morgan(p: Tensor, q: Tensor) -> None:
    assert close(meet(p, q), meet(q, p))
    assert close(join(p, q), join(q, p))
    assert close(meet(p, join(p, q)), p)
    assert close(join(p, meet(p, q)), p)
    assert close(negate(meet(p, q)), join(negate(p), negate(q)))
    assert close(negate(join(p, q)), meet(negate(p), negate(q)))


@given(subspaces, subspaces)
def test_dimensions_are_those_of_linear_algebra(p: Tensor, q: Tensor) -> None:
    def rank(matrix: Tensor) -> int:
        return int(torch.linalg.matrix_rank(matrix, atol=1e-7))

    together = rank(torch.cat([p, q]))
    assert round(float(join(p, q).trace())) == together
    assert round(float(meet(p, q).trace())) == rank(p) + rank(q) - together
    for result in (meet(p, q), join(p, q)):
        assert close(result @ result, result)
        assert close(result, result.T)


@given(subspaces, subspaces)
def test_orthomodularity(p: Tensor, q: Tensor) -> None:
    larger = join(p, q)
    assert close(join(p, meet(larger, negate(p))), larger)


@given(subspaces, subspaces)
def test_distributivity_holds_exactly_where_projectors_commute(p: Tensor, q: Tensor) -> None:
    commute = close(p @ q, q @ p)
    split = join(meet(q, p), meet(q, negate(p)))  # q & (p | ~p), distributed
    assert close(split, q) == commute
    assert (boolean_share(torch.stack([p, q]), IDENTITY) > 1 - 1e-9) == commute


@given(*[st.builds(coordinate_subspace, st.integers(0, 2**DIM - 1), st.just(0))] * 3)
def test_commuting_subspaces_are_a_boolean_lattice(p: Tensor, q: Tensor, r: Tensor) -> None:
    assert close(meet(p, join(q, r)), join(meet(p, q), meet(p, r)))
    assert close(join(p, meet(q, r)), meet(join(p, q), join(p, r)))
    assert close(meet(p, q), p @ q)
    assert close(join(p, q), p + q - p @ q)
    assert close(boolean_part(torch.stack([p, q, r]), IDENTITY), IDENTITY)


def test_two_lines_in_a_plane_are_boolean_nowhere_in_it() -> None:
    first, second = torch.zeros(2, 3, 3, dtype=torch.float64)
    first[0, 0] = 1
    second[:2, :2] = 0.5
    unit = torch.eye(3, dtype=torch.float64)
    assert boolean_share(torch.stack([first, second]), unit) == pytest.approx(1 / 3)
    plane = torch.diag(torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64))
    assert boolean_share(torch.stack([first, second]), plane) == 0


@given(subspaces, subspaces)
def test_inclusion_as_a_test_and_as_a_number(p: Tensor, q: Tensor) -> None:
    assert entails(meet(p, q), p)
    assert entails(p, join(p, q))
    assert entailment(p, join(p, q)) == pytest.approx(1)
    assert entailment(p, negate(p)) == pytest.approx(float(p.trace() < 0.5), abs=1e-9)
    assert bool(entails(p, q)) == close(meet(p, q), p)
    assert bool(entails(p, q)) == (float(entailment(p, q)) > 1 - 1e-9)


def test_entailment_of_lines_is_the_squared_cosine() -> None:
    angle = torch.tensor([0.1, 0.7, 1.2], dtype=torch.float64)
    lines = torch.stack([angle.cos(), angle.sin()], dim=1)
    axis = torch.diag(torch.tensor([1.0, 0.0], dtype=torch.float64))
    projectors = lines.unsqueeze(2) @ lines.unsqueeze(1)
    torch.testing.assert_close(entailment(projectors, axis), angle.cos() ** 2)


def ideal(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Orthonormal minterm directions, the projectors of literals, and the span of all."""
    directions = orthonormal(12, len(MINTERMS), seed).T
    unit = directions.T @ directions
    return directions, span_projectors(directions, MINTERMS.T), unit


PROPOSITIONS = propositions(LITERALS)


@settings(max_examples=50)
@given(PROPOSITIONS, PROPOSITIONS, st.integers(0, 100))
def test_an_ideal_embedding_answers_as_the_truth_table_does(
    first: str, second: str, seed: int
) -> None:
    directions, literals, unit = ideal(seed)
    queries = [Proposition(text, LITERALS) for text in (first, second)]
    masks = torch.stack([query.holds(MINTERMS) for query in queries])
    p, q = (proposition_projector(query, literals, unit) for query in queries)
    assert close(torch.stack([p, q]), span_projectors(directions, masks))
    implied = bool((~masks[0] | masks[1]).all())
    assert bool(entails(p, q)) == implied
    shares = (masks[0] & masks[1]).sum() / masks[0].sum().clamp(min=1)
    expected = float(shares) if masks[0].any() else 1.0
    assert float(entailment(p, q)) == pytest.approx(expected)


def test_constants_are_the_whole_span_and_nothing() -> None:
    _, literals, unit = ideal(0)
    assert close(proposition_projector(Proposition("TRUE", LITERALS), literals, unit), unit)
    nothing = proposition_projector(Proposition("FALSE", LITERALS), literals, unit)
    assert float(nothing.abs().max()) == 0


def test_written_differently_a_proposition_differs_where_the_lattice_is_not_boolean() -> None:
    literals = torch.stack([random_subspace(3, seed) for seed in range(3)])
    one, other = (
        proposition_projector(Proposition(text, LITERALS), literals, IDENTITY)
        for text in ("a & (b | c)", "(a & b) | (a & c)")
    )
    assert not close(one, other)
    assert boolean_share(literals, IDENTITY) < 1


def test_operations_broadcast() -> None:
    family = torch.stack([random_subspace(rank, rank) for rank in range(1, 5)])
    for operation in (meet, join):
        expected = torch.stack([operation(member, family[0]) for member in family])
        assert close(operation(family, family[0]), expected)


def test_more_literals_than_can_be_split_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 12"):
        boolean_part(IDENTITY.expand(13, -1, -1), IDENTITY)


def test_atoms_of_a_boolean_family_are_its_minterms() -> None:
    directions, literals, unit = ideal(3)
    for row, direction in zip(MINTERMS, directions, strict=True):
        signed = [
            literal if value else complement(literal, unit)
            for literal, value in zip(literals, row, strict=True)
        ]
        assert close(reduce(meet, signed, unit), torch.outer(direction, direction))
