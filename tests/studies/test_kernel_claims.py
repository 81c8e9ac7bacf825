"""Claims about the penalty method and about kernels accept what NumPy finds, and nothing else."""

from typing import Any

import numpy as np
import pytest
import torch
from batches import random_embeddings, random_rotation
from hydra.utils import instantiate
from omegaconf import OmegaConf
from sklearn.metrics.pairwise import rbf_kernel
from test_claims import BOUNDS, CONFIG, verdicts
from torch import Tensor

from src.studies.claims.kernels import KernelClaims, circle_error
from src.studies.claims.penalty import PenaltyClaims, free_components_loss, products_of_data
from src.studies.claims.verdicts import Found
from src.studies.descent import Optimum
from src.studies.digits import split


def part(name: str, **values: Any) -> Any:
    config = OmegaConf.create({"study": OmegaConf.to_container(CONFIG)})
    return instantiate(config.study.others[name], seeds=[0], **values)


def found(embeddings: Tensor, loss: float) -> Found:
    return Found([Optimum(embeddings, loss, 0.0)], "")


# Penalty


def penalised(claims: PenaltyClaims, name: str, penalty: float) -> Tensor:
    """The optimum by NumPy: singular vectors of data, or eigenvectors of a normalised graph."""
    if name == "random data":
        centered = claims.data.numpy() - claims.data.numpy().mean(axis=0)
        vectors, values, _ = np.linalg.svd(centered / len(centered) ** 0.5, full_matrices=False)
        values, roots = values**2, np.full(len(centered), len(centered) ** -0.5)
    else:
        pairs = claims.joints[name].pairs.numpy()
        roots = np.sqrt(pairs.sum(axis=1))
        values, vectors = np.linalg.eigh(pairs / np.outer(roots, roots))
        values, vectors = values[::-1], vectors[:, ::-1]
    top = slice(claims.embedding_dim)
    scaled = vectors[:, top] * np.sqrt(1 + values[top] / (2 * penalty)) / roots[:, None]
    return torch.from_numpy(scaled) @ random_rotation(claims.embedding_dim)


def test_free_components_loss_is_its_equation() -> None:
    data, free = random_embeddings(6, 3), random_embeddings(6, 2, 1)
    products = ((data - data.mean(dim=0)).T @ free / 6).numpy()  # E[x psi^T]
    excess = np.cov(free.T.numpy(), bias=True) + np.outer(free.mean(0), free.mean(0)) - np.eye(2)
    expected = -(np.linalg.norm(products) ** 2) + 3 * np.linalg.norm(excess) ** 2
    assert float(free_components_loss(free, products_of_data(data), 3.0)) == pytest.approx(expected)


def test_optima_under_the_penalty_are_accepted_and_others_are_not() -> None:
    claims: PenaltyClaims = part("penalty")
    optima, wrong = {}, {}
    for name, joint in claims.joints.items():
        for penalty in claims.penalties:
            best = penalised(claims, name, penalty)
            loss = float(free_components_loss(best, joint, penalty))
            optima[name, f"{penalty:g}"] = found(best, loss)
            noise = random_embeddings(*best.shape)
            wrong[name, f"{penalty:g}"] = found(noise, loss + 1)
    rows = list(claims.rows(optima, BOUNDS))
    assert len(rows) == 16
    assert set(verdicts(rows)) == {"holds"}
    rows = list(claims.rows(wrong, BOUNDS))
    assert set(verdicts([row for row in rows if "below" not in row["measure"]])) == {
        "does not hold"
    }
    below = {key: found(ends.optima[0].embeddings, -1e3) for key, ends in optima.items()}
    assert set(verdicts(list(claims.rows(below, BOUNDS)), measure="below")) == {"does not hold"}


def test_descents_under_the_penalty_end_at_whitened_components() -> None:
    claims: PenaltyClaims = part("penalty", penalties=[1.0, 10.0])
    optima = {key: descend() for key, descend in claims.descents().items() if "data" in key[0]}
    for penalty in claims.penalties:
        ends = optima["random data", f"{penalty:g}"].optima[0].embeddings
        best = penalised(claims, "random data", penalty)
        np.testing.assert_allclose(ends @ ends.T, best @ best.T, atol=1e-3)


# Kernels


def small_kernels(**values: Any) -> KernelClaims:
    claims: KernelClaims = part("kernels", images=80, embedding_dim=3, **values)
    return claims


def test_eigenfunctions_of_numpy_are_accepted_and_others_are_not() -> None:
    claims = small_kernels()
    inputs, _, others, _ = split(80, 0)
    squares = ((inputs[:, None] - inputs) ** 2).sum(dim=2).numpy()
    gamma = 4 / np.median(squares[np.triu_indices(80, 1)])
    kernel, cross = np.exp(-gamma * squares), rbf_kernel(others, inputs, gamma=gamma)
    # Right eigenvectors of the random walk over images, and one more step of it from new ones
    walk = kernel / kernel.sum(axis=1, keepdims=True)
    values, vectors = np.linalg.eig(walk)
    order = np.argsort(-values.real)[:3]
    values, vectors = values.real[order], vectors.real[:, order]
    degrees = kernel.sum(axis=1) / kernel.sum()
    vectors = vectors * np.sqrt(values / (degrees @ vectors**2))
    new = torch.from_numpy(cross / cross.sum(axis=1, keepdims=True) @ vectors / values)
    least = -float((values**2).sum())
    optima = {key: found(new @ random_rotation(3), least) for key in claims.descents()}
    rows = claims.rows(optima, BOUNDS)
    assert len(rows) == 8
    assert set(verdicts(rows, loss="spectral_contrastive")) == {"holds"}
    wrong = {key: found(random_embeddings(len(new), 3), 0.9 * least) for key in optima}
    rows = claims.rows(wrong, BOUNDS)
    assert set(verdicts(rows, loss="spectral_contrastive")) == {"does not hold"}


def test_descents_and_training_come_near_eigenfunctions() -> None:
    claims = small_kernels(iterations=200, encoder={"width": 64, "lr": 0.01, "steps": 500})
    optima = {key: descend() for key, descend in claims.descents().items()}
    rows = claims.rows(optima, BOUNDS)
    assert set(verdicts(rows, claim="in the kernel's space")) == {"holds"}
    (row,) = [row for row in rows if "encoder" in row["claim"] and "loss" in row["measure"]]
    assert 0 < row["measured"] < 0.05


def test_circle_needs_points_close_enough() -> None:
    assert circle_error(40, 20, 2.0, 2) < 1e-9
    assert circle_error(6, 20, 4.0, 2) > 1e-3
