"""An index against a look at every image."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import propositions
from torch import Tensor

from src.data.stored import StoredRows
from src.readouts.discriminant import DiscriminantReadout
from src.readouts.kernel import KernelReadout
from src.readouts.literal_discriminants import LiteralDiscriminants
from src.readouts.readout import Readout
from src.readouts.sigmoid import SigmoidReadout
from src.readouts.softmax import SoftmaxReadout
from src.readouts.subspaces import MintermSubspaces
from src.search import answers
from src.search.index import MAX_VECTORS, Index
from src.subspaces.minterms import all_minterms
from src.subspaces.propositions import Proposition

LITERALS = ("a", "b", "c")
MINTERMS = all_minterms(3)
DIM, NUMBER = 8, 4000
READOUTS = ["sum", "projector", "discriminant", "literal_discriminants", "softmax", "sigmoid"]
PROPOSITIONS = propositions(LITERALS, max_leaves=6).filter(
    lambda text: bool(Proposition(text, LITERALS).holds(MINTERMS).any())
)


def drawn(number: int, seed: int) -> tuple[Tensor, Tensor]:
    """Labels (N, C), and embeddings (N, D) around orthogonal minterms."""
    generator = torch.Generator().manual_seed(seed)
    classes = torch.randint(len(MINTERMS), (number,), generator=generator)
    noise = 0.4 * torch.randn(number, DIM, generator=generator)
    return MINTERMS[classes], 3 * (torch.eye(DIM)[classes] + noise)


def make(name: str) -> tuple[Readout, str]:
    """A fitted readout, and a score that it has."""
    readouts: dict[str, Readout] = {
        "discriminant": DiscriminantReadout(MINTERMS, DIM, "additive", None),
        "literal_discriminants": LiteralDiscriminants(LITERALS, DIM, None),
        "softmax": SoftmaxReadout(MINTERMS),
        "sigmoid": SigmoidReadout([f"l{number}" for number in range(DIM)]),
    }
    readout = readouts.get(name, MintermSubspaces(MINTERMS, DIM))
    labels, embeddings = drawn(1000, seed=1)
    if name not in ("softmax", "sigmoid"):
        readout.update(embeddings, labels)
        readout.fit()
    return readout, name if name in ("sum", "projector") else "probability"


FITTED = {name: make(name) for name in READOUTS}
GALLERY = drawn(NUMBER, seed=2)[1]


def ask(name: str, text: str, candidates: int, k: int = 10) -> tuple[Tensor, Tensor, Tensor]:
    """Scores and positions by an index, (k,) each, and the scores of all images, (N,)."""
    readout, kind = FITTED[name]
    literals = (*LITERALS, *"defgh") if name == "sigmoid" else LITERALS
    query = Proposition(text, literals)
    index = Index(GALLERY, readout.searched == "at length 1", candidates)

    def score(embeddings: Tensor) -> Tensor:
        return readout.score(embeddings, [query], kind)

    scores, positions = index.best_matches(readout.search_vectors(query), score, k)
    return scores[:, 0], positions[:, 0], score(GALLERY)[:, 0]


@pytest.mark.parametrize("name", READOUTS)
@settings(max_examples=15, deadline=None)
@given(PROPOSITIONS)
def test_with_all_as_candidates_the_ranking_is_that_of_all_images(name: str, text: str) -> None:
    scores, positions, expected = ask(name, text, candidates=NUMBER)
    best = np.lexsort((np.arange(NUMBER), -expected.numpy()))[:10]  # ties in their order
    np.testing.assert_array_equal(positions, best)
    torch.testing.assert_close(scores, expected[positions], atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("name", READOUTS)
@settings(max_examples=10, deadline=None)
@given(PROPOSITIONS)
def test_candidates_have_the_scores_of_the_model(name: str, text: str) -> None:
    scores, positions, expected = ask(name, text, candidates=100)
    assert len(positions.unique()) == 10
    assert torch.equal(scores, scores.sort(descending=True).values)
    torch.testing.assert_close(scores, expected[positions], atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("name", READOUTS)
@pytest.mark.parametrize("text", ["a", "~a", "a & ~b", "~a & ~b & ~c", "a | ~b", "~(a & b)"])
def test_most_of_the_best_are_found(name: str, text: str) -> None:
    """Of such a gallery, by looking through an eighth of it and more; never promised of others."""
    scores, _, expected = ask(name, text, candidates=300)
    least = expected.sort(descending=True).values[9]
    assert (scores >= least - 1e-12).sum() >= 6


@given(st.integers(1, 400), st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_all_images_are_found_where_as_many_are_asked_for(number: int, seed: int) -> None:
    _, embeddings = drawn(number, seed)
    vectors = torch.randn(3, DIM, generator=torch.Generator().manual_seed(seed))
    found = Index(embeddings, unit=True, candidates=1).find(vectors, number)
    assert found.tolist() == list(range(number))


@pytest.mark.parametrize("unit", [False, True])
def test_candidates_are_first_by_inner_products(unit: bool) -> None:
    """In one cell, all are looked at; a byte for a number costs some digits."""
    embeddings = drawn(70, seed=3)[1]
    vectors = torch.randn(4, DIM, generator=torch.Generator().manual_seed(4))
    found = Index(embeddings, unit, candidates=5).find(vectors, 5)
    rows = embeddings.double().numpy()
    if unit:
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    products = rows @ vectors.double().numpy().T
    tolerance = 0.02 * np.abs(rows).max() * np.abs(vectors.numpy()).sum(axis=1)
    fifth = np.sort(products, axis=0)[-5]
    wanted = (products > fifth + tolerance).any(axis=1).nonzero()[0]
    assert set(wanted) <= set(found.tolist())
    assert (products[found.numpy()] >= fifth - tolerance).any(axis=1).all()


def test_many_vectors_are_answered_by_a_look_at_all() -> None:
    index = Index(GALLERY, unit=False, candidates=1)
    vectors = torch.ones(MAX_VECTORS + 1, DIM)
    scores, positions = index.best_matches(vectors, lambda rows: rows[:, :1], 3)
    assert positions[0] == GALLERY[:, 0].argmax()
    assert torch.equal(scores[:, 0], GALLERY[:, 0].sort(descending=True).values[:3])


def test_an_index_is_kept_beside_stored_embeddings(tmp_path: Path) -> None:
    np.save(tmp_path / "embeddings-1.npy", GALLERY.numpy())
    stored = StoredRows(tmp_path / "embeddings-1.npy")
    vectors = torch.randn(3, DIM, generator=torch.Generator().manual_seed(0))
    found = {}
    for unit, name in ((False, "raw"), (True, "unit")):
        in_memory = Index(GALLERY, unit, 50).find(vectors, 50)
        found[name] = Index(stored, unit, 50).find(vectors, 50)
        assert torch.equal(found[name], in_memory)
        kept = tmp_path / f"{name}-index-embeddings-1.npy"
        made = kept.stat().st_mtime_ns
        assert kept.stat().st_size < 0.8 * GALLERY.nbytes  # a byte a number, and positions
        assert torch.equal(Index(stored, unit, 50).find(vectors, 50), in_memory)
        assert kept.stat().st_mtime_ns == made
    assert not torch.equal(found["raw"], found["unit"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"index": "hnsw"}, "index must be exact or faiss, not 'hnsw'"),
        ({"index": "faiss", "candidates": 0}, "candidates must be at least 1, not 0"),
        (
            {"index": "faiss"},
            "index=faiss goes with readout=subspaces or discriminant or literal_discriminants or "
            "softmax or sigmoid, which have vectors to search by, and m has readout=kernel: set "
            "index=exact",
        ),
    ],
)
def test_an_index_that_cannot_be_is_refused(
    settings: dict, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = SimpleNamespace(readout=KernelReadout(MINTERMS, DIM))
    monkeypatch.setattr(answers, "find_checkpoint", lambda path: path)
    monkeypatch.setattr(answers, "load_with_hash", lambda path, data_dir: ("", None, module))
    with pytest.raises(ValueError, match=r"index|candidates") as refused:
        answers.load("m", **settings)
    assert str(refused.value) == message
