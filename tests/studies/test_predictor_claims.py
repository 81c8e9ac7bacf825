"""Claims about BYOL without its constraint accept closed forms, and nothing else."""

import numpy as np
import pytest
import torch
from batches import random_embeddings, random_rotation
from hydra.utils import instantiate
from omegaconf import OmegaConf
from scipy.linalg import subspace_angles
from test_claims import BOUNDS, CONFIG, found, verdicts
from torch import Tensor

from src.losses.spectral_contrastive import spectral_contrastive_loss
from src.studies.claims.predictor import (
    FREE,
    GRAPH,
    JOINT,
    LAZY,
    STOPPED,
    PredictorClaims,
    factors_loss,
    flow,
    predictor_loss,
)

DIM = 6


def predictor_claims(**values: object) -> PredictorClaims:
    config = OmegaConf.create({"study": OmegaConf.to_container(CONFIG)})
    claims: PredictorClaims = instantiate(config.study.others.predictor, **values)
    return claims


def symmetric(num: int) -> tuple[np.ndarray, np.ndarray]:
    """Joint probabilities of pairs (N, N), and those of samples."""
    joint = random_embeddings(num, num).abs().numpy()
    joint = (joint + joint.T) / joint.sum() / 2
    return joint, joint.sum(axis=1)


def test_losses_are_their_expectations() -> None:
    joint, marginal = symmetric(7)
    phi, nu, predictor = (
        random_embeddings(7, 3, 1).numpy(),
        random_embeddings(7, 3, 2).numpy(),
        random_embeddings(3, 3, 3).numpy(),
    )
    roots = np.sqrt(marginal)
    matrix = torch.as_tensor(joint / np.outer(roots, roots))
    first, second = torch.as_tensor(roots[:, None] * phi), torch.as_tensor(roots[:, None] * nu)
    products, distances = 0.0, 0.0
    for i in range(7):
        for j in range(7):
            score = phi[i] @ nu[j]
            products += -2 * joint[i, j] * score + marginal[i] * marginal[j] * score**2
            distances += joint[i, j] * np.square(predictor.T @ phi[i] - nu[j]).sum()
    assert float(factors_loss(torch.cat([first, second]), matrix)) == pytest.approx(products)
    loss = predictor_loss(first, second, torch.as_tensor(predictor), matrix)
    assert float(loss) == pytest.approx(distances)
    same = spectral_contrastive_loss(torch.as_tensor(phi), torch.as_tensor(joint))
    assert float(factors_loss(torch.cat([first, first]), matrix)) == pytest.approx(float(same))


def test_flow_is_that_of_the_formula_in_small_steps() -> None:
    joint, marginal = symmetric(7)
    roots = np.sqrt(marginal)
    matrix = joint / np.outer(roots, roots)
    start = random_embeddings(7, 2).numpy()
    here = start.copy()
    for _ in range(2000):
        predictor = np.linalg.inv(here.T @ here) @ here.T @ matrix @ here
        here = here + 1e-3 * 2 * (matrix @ here - here @ predictor) @ predictor.T
    ends = flow(torch.as_tensor(matrix), torch.as_tensor(start), 2.0).embeddings
    np.testing.assert_allclose(ends[:7], here, atol=2e-3)
    np.testing.assert_array_equal(ends[7:], start)
    assert np.abs(here - start).max() > 0.05


def eigenvectors(matrix: Tensor, positive: int) -> Tensor:
    vectors = np.linalg.eigh(matrix.numpy())[1]
    negative = DIM - positive
    return torch.as_tensor(np.hstack([vectors[:, :negative], vectors[:, len(matrix) - positive :]]))


def test_closed_forms_are_accepted_and_others_are_not() -> None:
    claims = predictor_claims()
    right, wrong, turn = {}, {}, random_rotation(DIM)
    for name, (matrix, probabilities) in claims.relations.items():
        left, values, transposed = np.linalg.svd(matrix.numpy())
        first = torch.as_tensor(left[:, :DIM] * values[:DIM]) @ turn
        second = torch.as_tensor(transposed[:DIM].T) @ turn
        start = torch.linalg.qr(random_embeddings(len(matrix), DIM)).Q
        positive = int((np.linalg.eigvalsh(start.T @ matrix @ start) > 0).sum())
        constant = probabilities.sqrt().outer(torch.ones(DIM).double())
        right[name, FREE] = found(torch.cat([first, second]))
        right[name, JOINT] = found(torch.cat([constant, start]))
        right[name, STOPPED] = found(torch.cat([eigenvectors(matrix, positive) @ turn, start]))
        noise = 0.1 * random_embeddings(2 * len(matrix), DIM, 5)
        for loss in (FREE, JOINT, STOPPED):
            ends = torch.cat([start, start]) if loss == JOINT else right[name, loss].optima[0][0]
            wrong[name, loss] = found(ends + noise)
        assert positive < DIM if name == GRAPH else positive == DIM
    rows = claims.rows(right, BOUNDS)
    assert set(verdicts(rows, setting=f"{LAZY}, D")) == {"holds"}
    failing = [row["claim"] for row in rows if row["verdict"] != "holds"]
    assert len(failing) == 2
    assert all("top eigenvectors" in claim for claim in failing)
    assert set(verdicts(claims.rows(wrong, BOUNDS))) == {"does not hold"}


def test_flow_and_descents_end_where_the_claims_say() -> None:
    claims = predictor_claims(seeds=[0], time=300)
    claims.relations = {LAZY: claims.relations[LAZY]}
    optima = {key: job() for key, job in claims.descents().items()}
    assert set(verdicts(claims.rows(optima, BOUNDS))) == {"holds"}
    matrix = claims.relations[LAZY][0].numpy()
    ends = optima[LAZY, STOPPED].optima[0].embeddings[: len(matrix)].numpy()
    top = np.linalg.eigh(matrix)[1][:, -DIM:]
    assert np.degrees(subspace_angles(ends, top).max()) < 0.1
