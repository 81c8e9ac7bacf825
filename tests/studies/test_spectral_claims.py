"""Claims about optima at finite weights accept the optima, and nothing else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from batches import random_embeddings
from hydra.utils import instantiate
from omegaconf import OmegaConf
from scipy.linalg import subspace_angles
from sklearn.datasets import make_s_curve
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from test_claims import BOUNDS, CONFIG, found, verdicts
from torch import Tensor

from src.studies.claims.downstream import task_error, task_parts
from src.studies.claims.forms import form
from src.studies.claims.linear import class_inputs
from src.studies.claims.manifolds import ManifoldClaims, centred_products, geodesics, isomap
from src.studies.claims.relations import nearest_neighbours, related_evenly
from src.studies.claims.spectral import SpectralClaims
from src.studies.claims.verdicts import Found
from src.studies.relation_quality import relate, run


def part(name: str) -> Any:
    config = OmegaConf.create({"study": OmegaConf.to_container(CONFIG)})
    return instantiate(config.study.others[name], seeds=[0])


def at_closed_forms(claims: SpectralClaims, change: Callable[[Tensor], Tensor]) -> dict:
    """The optima of closed form, changed."""
    optima: dict[tuple[str, str], Found] = {}
    for prefix, cases in (("", claims.free), ("linear, ", claims.linear)):
        for name, case in cases.items():
            for about in claims.forms:
                best = claims.optimum(about, case)
                inputs = torch.eye(len(case.relation)).double() if prefix == "" else case.inputs
                assert inputs is not None
                changed = change(inputs @ best.weights)
                which, weights = claims.forms[about]
                loss = float(which.loss(changed, case.relation, **weights))
                ends = found(changed).optima
                optima[prefix + name, about] = Found([ends[0]._replace(loss=loss)], "")
    optima["random_graph", "simclr InfoNCE"] = found(random_embeddings(30, 8))
    return optima


def test_closed_forms_are_accepted_and_other_embeddings_are_not() -> None:
    claims: SpectralClaims = part("spectral")
    rows = claims.rows(at_closed_forms(claims, lambda free: free), BOUNDS)
    assert [row for row in rows if row["verdict"] != "holds" and "InfoNCE" not in row["loss"]] == []
    assert verdicts(rows, loss="InfoNCE") == ["does not hold"]
    torn = at_closed_forms(
        claims, lambda free: free + random_embeddings(len(free), free.shape[1], 5)
    )
    rows = claims.rows(torn, BOUNDS)
    for measure in ("above", "squared singular", "left vectors", "X W"):
        assert set(verdicts(rows, measure=measure)) == {"does not hold"}
    assert set(verdicts(rows, measure="squares, Y")) == {"does not hold"}
    below = at_closed_forms(claims, lambda free: free)
    below = {
        key: Found([end._replace(loss=end.loss - 1) for end in ends.optima], "")
        for key, ends in below.items()
    }
    assert set(verdicts(claims.rows(below, BOUNDS), measure="below")) == {"does not hold"}


def test_task_error_is_that_of_weighted_regression() -> None:
    relation = nearest_neighbours(20, 3, 4).relation
    embeddings, task = random_embeddings(20, 4), random_embeddings(20, 2, 1)
    weights = (relation.sum(dim=1) / relation.sum()).numpy()
    which = form("vicreg", {})
    inside, outside = task_parts(which, relation, 5, task)
    model = LinearRegression().fit(embeddings, task, sample_weight=weights)
    error = np.sqrt(weights @ (model.predict(embeddings) - task.numpy()) ** 2)
    spread = np.sqrt(weights @ (task.numpy() - np.average(task, axis=0, weights=weights)) ** 2)
    expected = np.linalg.norm(error) / np.linalg.norm(spread)
    measured = task_error(which, embeddings, relation, inside + outside, 1e-9)
    assert measured == pytest.approx(expected)
    assert float((inside * outside).sum()) == pytest.approx(0, abs=1e-12)
    assert np.linalg.matrix_rank(inside) == 2


def test_optima_on_a_sheet_are_manifold_embeddings_and_others_are_not() -> None:
    claims: ManifoldClaims = part("manifolds")
    optima = {key: descend() for key, descend in claims.descents().items()}
    rows = claims.rows(optima, BOUNDS)
    assert [row["verdict"] for row in rows] == ["holds"] * 5 + ["does not hold"]
    # With straight distances, by principal components
    points = make_s_curve(80, random_state=0)[0]
    ((name, loss),) = [key for key in optima if "distances" in key[0]]
    ends = optima[name, loss].optima[0].embeddings
    components = PCA(2).fit_transform(points)
    np.testing.assert_allclose(ends @ ends.T, components @ components.T, atol=1e-4)
    wrong = {key: found(random_embeddings(80, 2)) for key in optima}
    assert set(verdicts(claims.rows(wrong, BOUNDS))) == {"does not hold"}


def test_products_of_geodesics_give_isomap() -> None:
    points = make_s_curve(60, random_state=1)[0]
    values, vectors = np.linalg.eigh(centred_products(geodesics(points, 8)).numpy())
    embedded = vectors[:, -2:] * np.sqrt(values[-2:])
    assert subspace_angles(embedded, isomap(points, 8, 2).numpy()).max() < 1e-6


def test_relations_are_even_near_and_wrong() -> None:
    labels = torch.eye(3)[[0, 0, 1, 2, 2, 2]].double()
    even = related_evenly(labels)
    np.testing.assert_allclose(even.sum(dim=1), 1)
    assert even[3].tolist() == pytest.approx([0, 0, 0, 1 / 3, 1 / 3, 1 / 3])
    near = nearest_neighbours(30, 3, 4).relation
    assert torch.equal(near, near.T)
    assert float(near.sum()) == 90
    case = class_inputs(24, 5, 3, 2, 0.1, 0)
    assert np.linalg.matrix_rank(case.relation) == 3

    digits = torch.arange(10).repeat(6)
    for wrong in ("any", "one"):
        relation = relate(digits, 0.3, 20, wrong, 0)
        apart = digits[:, None] != digits
        assert torch.equal(relation, relation.T)
        assert not relation.diagonal().any()
        assert float(relation[apart].sum() / relation.sum()) == pytest.approx(0.3, abs=0.03)
        five = (digits[:, None] - digits).abs() == 5
        assert bool(relation[apart & ~five].any()) == (wrong == "any")


def test_wrong_pairs_leave_more_of_the_digits(tmp_path: Path) -> None:
    methods = {"low": {"form": "vicreg", "invariance": 1.0, "variance": 25.0, "covariance": 1.0}}
    table = run(tmp_path, [0], [0.0, 0.5], 80, 6, 16, methods)
    assert (tmp_path / "figure.png").exists()
    for wrong in ("any other digit", "the digit five further"):
        right, half = [row for row in table.rows if row["wrong"] == wrong]
        assert right["residual"].mean < 1e-6 < half["residual"].mean
        assert right["accuracy"].mean > half["accuracy"].mean
        assert right["rank"].mean == half["rank"].mean == 16
