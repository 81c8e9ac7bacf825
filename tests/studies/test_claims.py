"""Claims are judged by the right numbers: those of NumPy and SciPy, and of wrong embeddings."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from batches import random_embeddings, random_relation, random_rotation
from conftest import run_command
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image
from scipy.linalg import subspace_angles
from sklearn.linear_model import LinearRegression
from torch import Tensor

from src.losses.nuclear import nuclear_norm_loss
from src.studies.claims.relations import is_unique, random_graph, related_classes
from src.studies.claims.self_supervised import SelfSupervisedClaims
from src.studies.claims.supervised import SupervisedClaims, fit_minterms
from src.studies.claims.verdicts import Claim, Found, converged, judge
from src.studies.descent import Optimum, gradient_descent, quasi_newton
from src.studies.geometry import angle_to_top, class_task, kernel_alignment, numerical_rank
from src.studies.lattice_laws import distributivity_gap, entailment_agreement
from src.subspaces.closed_form import optimal_embeddings
from src.subspaces.projectors import span_projectors
from src.subspaces.propositions import conjunctions
from src.subspaces.spectral_embedding import spectral_contrastive_optimum

ROOT = Path(__file__).parents[2]
CONFIG = OmegaConf.load(ROOT / "experiments" / "claims.yaml").study
BOUNDS: dict[str, float] = OmegaConf.to_container(CONFIG.bounds)  # type: ignore[assignment]
CLAIM = Claim("something holds", "a number", "[0]")


def self_supervised_claims(
    losses: list[str], sizes: list[int], embedding_dim: int
) -> SelfSupervisedClaims:
    config = OmegaConf.create({"study": OmegaConf.to_container(CONFIG)})
    part = config.study.self_supervised
    part.classes = {"uneven": {"sizes": sizes, "embedding_dim": embedding_dim}}
    part.losses = {name: part.losses[name] for name in losses}
    part.graph.num, part.graph.embedding_dim = 12, 3
    part.byol.lr = 1.0  # for fewer samples
    part.seeds = [0]
    claims: SelfSupervisedClaims = instantiate(part)
    return claims


def supervised_claims(**values: object) -> SupervisedClaims:
    config = OmegaConf.create({"study": OmegaConf.to_container(CONFIG)})
    claims: SupervisedClaims = instantiate(config.study.supervised, **values)
    return claims


def found(embeddings: Tensor) -> Found:
    return Found([Optimum(embeddings, 0.0, 0.0)], "")


def verdicts(rows: list[dict], **values: str) -> list[str]:
    return [row["verdict"] for row in rows if all(text in row[key] for key, text in values.items())]


# Measures


def test_angle_is_that_of_scipy() -> None:
    relation, embeddings = random_relation(9), random_embeddings(9, 3)
    vectors = np.linalg.eigh(relation.numpy())[1][:, -3:]
    expected = np.degrees(subspace_angles(embeddings.numpy(), vectors).max())
    assert angle_to_top(embeddings, relation, 1e-3) == pytest.approx(expected)
    top = torch.as_tensor(vectors)
    assert angle_to_top(top @ random_embeddings(3, 5), relation, 1e-3) < 1e-5


def test_equal_eigenvalues_all_count_as_top() -> None:
    matrix = torch.diag(torch.tensor([2.0, 1.0, 1.0, 0.0])).double()
    embeddings = torch.tensor([[1, 0], [0, 0.6], [0, 0.8], [0, 0]]).double()
    assert angle_to_top(embeddings, matrix, 1e-3) < 1e-5
    assert angle_to_top(embeddings.flip(0), matrix, 1e-3) == pytest.approx(90)


def test_rank_counts_singular_values_above_the_threshold() -> None:
    values = torch.tensor([5.0, 0.1, 0.004, 0.0]).double()
    matrix = random_rotation(4) @ values.diag()
    assert [numerical_rank(matrix, share) for share in (1e-4, 1e-3, 1e-1)] == [3, 2, 1]


def test_class_task_is_linear_regression() -> None:
    embeddings, labels = random_embeddings(12, 3), torch.eye(3)[[0] * 8 + [1] * 3 + [2]].double()
    predicted = LinearRegression().fit(embeddings, labels).predict(embeddings)
    residual = np.linalg.norm(predicted - labels.numpy())
    accuracy, relative = class_task(embeddings, labels)
    assert accuracy == (predicted.argmax(1) == labels.numpy().argmax(1)).mean()
    assert relative == pytest.approx(residual / np.linalg.norm(labels - labels.mean(0)))
    assert class_task(labels @ random_rotation(3), labels) == pytest.approx((1, 0))


def test_kernel_alignment_is_that_of_explicit_centring() -> None:
    first, second = random_embeddings(7, 2), random_embeddings(7, 3, 1)
    center = np.eye(7) - 1 / 7
    grams = [center @ (x @ x.T).numpy() @ center for x in (first, second)]
    expected = np.trace(grams[0] @ grams[1]) / np.prod([np.linalg.norm(gram) for gram in grams])
    assert kernel_alignment(first @ first.T, second @ second.T) == pytest.approx(expected)


def test_lattice_of_axes_is_boolean_and_that_of_slanted_lines_is_not() -> None:
    minterms = torch.tensor([[1, 1], [1, 0], [0, 1], [0, 0]]).bool()
    propositions = conjunctions(["a", "b"], 2)
    unit = torch.eye(4).double()
    axes = span_projectors(unit, minterms.T)
    assert distributivity_gap(torch.cat([axes, unit - axes])) < 1e-12
    assert entailment_agreement(propositions, axes, unit, minterms) == 1
    slanted = torch.stack([axes[0], torch.outer(*[torch.ones(4).double() / 2] * 2)])
    assert distributivity_gap(torch.cat([slanted, unit - slanted])) > 0.1
    assert entailment_agreement(propositions, slanted, unit, minterms) < 1


# Verdicts


@pytest.mark.parametrize(
    ("comparison", "measured", "worst", "verdict"),
    [
        ("≤", [0.1, 0.3], 0.3, "holds"),
        ("≤", [0.1, 0.6], 0.6, "does not hold"),
        (">", [0.6, 0.9], 0.6, "holds"),
        (">", [0.5, 0.9], 0.5, "does not hold"),
        ("=", [0.5, 0.5], 0.5, "holds"),
        ("=", [0.5, 0.4], 0.4, "does not hold"),
        ("≤", [float("nan")], None, "does not hold"),
    ],
)
def test_the_worst_start_decides(
    comparison: str, measured: list[float], worst: float | None, verdict: str
) -> None:
    row = judge(CLAIM, "loss", "labels", "", measured, comparison, 0.5)
    assert row["verdict"] == verdict
    assert row["bound"] == f"{comparison} 0.5"
    assert worst is None or row["measured"] == worst


def test_local_minima_are_left_out_and_counted() -> None:
    optima = [Optimum(torch.full((1, 1), loss), loss, 1e-9) for loss in (3.0, 2.001, 2.0)]
    best = converged(optima)
    assert best.measure(float) == pytest.approx([2.0, 2.001])
    assert best.convergence == "gradient 1e-09; 2 of 3 starts"
    assert "kink" in converged([Optimum(torch.ones(1, 1), 0.0, 0.3)]).convergence


# Descents


def test_quasi_newton_solves_least_squares_and_gradients_come_to_a_kink() -> None:
    matrix, target = random_embeddings(6, 4), random_embeddings(6, 2, 1)
    expected = np.linalg.lstsq(matrix.numpy(), target.numpy())[0]
    solved = quasi_newton(
        lambda free: (matrix @ free - target).square().sum(), torch.zeros(4, 2).double(), 200
    )
    np.testing.assert_allclose(solved.embeddings, expected, atol=1e-8)
    assert solved.gradient < 1e-8
    kink = gradient_descent(
        lambda free: (free - target).abs().sum(), torch.zeros(6, 2).double(), torch.optim.SGD,
        lr=0.1, decay=0.99, iterations=1500,
    )  # fmt: skip
    np.testing.assert_allclose(kink.embeddings, target, atol=1e-5)
    assert kink.gradient > 1


# Relations


def test_relations_are_of_classes_and_random() -> None:
    relation, labels, _ = related_classes([1, 2], 2)
    assert relation.tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 0]]
    assert labels is not None
    assert labels.tolist() == [[1, 0], [0, 1], [0, 1]]
    graph = random_graph(30, 0.3, 0, 4).relation
    assert torch.equal(graph, graph.T)
    assert not graph.diagonal().any()
    assert 0.2 < float((graph > 0).double().mean()) < 0.4
    assert is_unique(graph, 4)
    assert not is_unique(related_classes([2, 2, 2], 2).relation, 2)
    assert is_unique(related_classes([2, 2, 2], 3).relation, 3)


def test_claims_about_relations_hold_at_optima_and_not_elsewhere() -> None:
    claims = self_supervised_claims(["spectral_contrastive", "simclr"], [2, 3, 4, 3], 6)
    descents = claims.descents()
    optima = {key: descend() for key, descend in descents.items()}
    rows = claims.rows(optima, BOUNDS)
    assert set(verdicts(rows, loss="spectral_contrastive")) == {"holds"}
    assert set(verdicts(rows, loss="byol_spectral", setting="uneven")) == {"holds"}
    assert set(verdicts(rows, loss="simclr", setting="uneven", claim="(a)")) == {"holds"}
    assert set(verdicts(rows, loss="simclr", setting="random_graph")) == {"does not hold"}
    # Four even or uneven classes at the corners of a simplex, as NumPy counts
    corners = optima["uneven", "simclr"].optima[0].embeddings
    assert np.linalg.matrix_rank(corners / corners.norm(dim=1, keepdim=True), 1e-3) == 3
    assert verdicts(rows, loss="simclr", claim="(b)") == ["does not hold"]

    wrong = {
        key: found(random_embeddings(len(best.optima[0].embeddings), 1) @ torch.ones(1, 3).double())
        for key, best in optima.items()
    }
    assert set(verdicts(claims.rows(wrong, BOUNDS))) == {"does not hold"}


def test_closed_form_of_a_relation_is_accepted_and_its_double_is_not() -> None:
    claims = self_supervised_claims(["spectral_contrastive"], [2, 3, 4, 3], 6)
    optima = {key: found(random_embeddings(16, 8)) for key in claims.descents()}
    for factor, expected in ((1, "holds"), (2, "does not hold")):
        for name, (relation, _, dim) in claims.settings.items():
            closed = factor * spectral_contrastive_optimum(relation, dim)
            optima |= {(name, loss): found(closed) for loss in claims.embedding_losses}
        rows = claims.rows(optima, BOUNDS)
        about_losses = verdicts(rows, claim="(c)", loss="spectral")
        assert len(about_losses) == 8
        assert set(about_losses) == {expected}
        assert set(verdicts(rows, claim="(a)", loss="spectral")) == {"holds"}


def test_vicreg_is_judged_by_its_ranks() -> None:
    claims = self_supervised_claims(["vicreg"], [2, 3, 4, 3], 6)
    _, labels, _ = claims.settings["uneven"]
    assert labels is not None
    optima = {key: found(random_embeddings(16, 8)) for key in claims.descents()}
    optima["random_graph", "vicreg"] = found(random_embeddings(12, 3))
    optima |= {("random_graph", "byol_spectral"): optima["random_graph", "vicreg"]}
    for embeddings, measured in (
        (labels @ random_embeddings(4, 6), 3),
        (random_embeddings(12, 6), 6),
    ):
        optima |= {("uneven", loss): found(embeddings + 7) for loss in claims.embedding_losses}
        (row,) = [row for row in claims.rows(optima, BOUNDS) if "(b)" in row["claim"]]
        assert (row["measured"], row["bound"]) == (measured, "> 3")
        assert row["verdict"] == ("holds" if measured > 3 else "does not hold")


# Labels


@pytest.mark.parametrize(("coding", "boolean"), [("minterms", True), ("literals", False)])
def test_claims_about_labels_hold_for_minterms_and_not_for_too_many(
    coding: str, boolean: bool
) -> None:
    claims = supervised_claims()
    ((name, labels),) = [item for item in claims.labels.items() if f"digits: {coding}" in item[0]]
    claims.labels = {name: labels}
    generator = torch.Generator().manual_seed(0)
    optima = {
        (name, loss): found(optimal_embeddings(labels.values, *weights, 10, generator))
        for loss, weights in claims.weights.items()
    }
    optima |= {(name, loss): optima[name, claims.losses[0]] for loss in ("mmcr", "ole")}
    rows = claims.rows(optima, BOUNDS)
    capped = [row for row in rows if row["loss"] == claims.losses[0]]
    for claim in ("(e)", "(g)"):
        assert set(verdicts(capped, claim=claim)) == {"holds" if boolean else "does not hold"}
    assert set(verdicts(rows, claim="(f)")) == {"holds"}
    assert set(verdicts(rows, claim="(h)")) == {"does not hold" if boolean else "holds"}
    # Cosines between minterms, one by one
    directions = fit_minterms(optima[name, claims.losses[0]].optima[0].embeddings, labels.literals)
    largest = max(
        float(first @ second) ** 2
        for index, first in enumerate(directions.directions)
        for second in directions.directions[:index]
    )
    (row,) = [row for row in capped if "(e)" in row["claim"]]
    assert row["measured"] == pytest.approx(largest)

    wrong = {key: found(random_embeddings(40, 10)) for key in optima}
    rows = claims.rows(wrong, BOUNDS)
    assert set(verdicts(rows)) == {"does not hold"}


def test_descent_of_the_nuclear_norm_is_near_its_least_loss() -> None:
    claims = supervised_claims(seeds=[0], nuclear={"lr": 0.5, "decay": 0.992, "iterations": 1200})
    (name,) = [name for name in claims.labels if "y0" in name]
    optimum = claims.descents()[name, claims.losses[0]]().optima[0]
    # 7.170243: check value of the theory for Y0, alpha 0.99, beta 0.7
    assert optimum.loss == pytest.approx(7.170243, abs=2e-3)
    again = nuclear_norm_loss(optimum.embeddings, claims.labels[name].values, 0.99, 0.7)
    assert optimum.loss == float(again)


def test_command_writes_every_claim_and_the_figure(tmp_path: Path) -> None:
    short = [
        "+study.seeds=[0]",
        "+study.self_supervised.iterations=5",
        "+study.self_supervised.kinked.vicreg.iterations=5",
        "+study.self_supervised.byol.iterations=5",
        "+study.supervised.iterations=5",
        "+study.supervised.nuclear.iterations=40",
        "+study.supervised.ole.iterations=5",
        "+study.others.spectral.iterations=5",
        "+study.others.trained.steps=5",
        "+study.others.manifolds.iterations=5",
        "+study.others.penalty.iterations=5",
        "+study.others.kernels.iterations=2",
        "+study.others.kernels.encoder.steps=2",
        "+study.others.energy.iterations=5",
        "+study.others.predictor.time=1",
        "+study.others.predictor.iterations=5",
    ]
    arguments = ["table=claims", *short, f"runs_dir={tmp_path}/runs", f"results_dir={tmp_path}"]
    assert run_command("reproduce", *arguments) == (0, "")
    with Image.open(tmp_path / "claims" / "smoke" / "figure.png") as image:
        assert image.width > 1000
    rows = json.loads((tmp_path / "claims" / "smoke" / "table.json").read_text())["rows"]
    assert [row["claim"][:3] for row in rows] == sorted(row["claim"][:3] for row in rows)
    assert {row["claim"][:3] for row in rows} == {f"({letter})" for letter in "abcdefghijklmnop"}
