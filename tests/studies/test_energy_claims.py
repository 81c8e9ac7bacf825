"""Claims about noise-contrastive losses accept the truth of the alphabet, and no other."""

import numpy as np
import pytest
import torch
from batches import random_embeddings, random_rotation
from hydra.utils import instantiate
from omegaconf import OmegaConf
from scipy.special import logsumexp, rel_entr
from test_claims import BOUNDS, CONFIG, found, verdicts
from torch import Tensor

from src.studies.claims.energy import EnergyClaims
from src.studies.claims.verdicts import Found


@pytest.fixture(scope="module")
def claims() -> EnergyClaims:
    config = OmegaConf.create({"study": OmegaConf.to_container(CONFIG)})
    energy: EnergyClaims = instantiate(config.study.others.energy, seeds=[0])
    return energy


def vectors_of(products: Tensor, dim: int) -> Tensor:
    """Vectors (N, D) of these products, turned."""
    values, axes = np.linalg.eigh(products.numpy())
    vectors = axes[:, -dim:] * np.sqrt(values[-dim:].clip(0))
    return torch.as_tensor(vectors) @ random_rotation(dim)


def at(vectors: Tensor, offset: float) -> Found:
    last = torch.full_like(vectors[:1], offset)
    return found(torch.cat([vectors, last]))


def test_truths_are_energy_models_of_their_marginal(claims: EnergyClaims) -> None:
    for name in ("raw products", "cosines"):
        products, joint, log_normalizer = claims.cases[name].truth
        marginal = joint.sum(dim=1).numpy()
        assert joint.sum() == pytest.approx(1)
        np.testing.assert_allclose(joint, joint.T)
        logs = logsumexp(products.numpy() + np.log(marginal), axis=1)
        np.testing.assert_allclose(logs, log_normalizer, atol=1e-6)
        assert np.linalg.matrix_rank(products, tol=1e-9) == 3
        # Unique: with the constant, the span has a dimension more
        wider = np.column_stack([products, np.ones(len(products))])
        assert np.linalg.svd(wider)[1][3] > 0.1
        # The mean log ratio over independent pairs is negative, as no mean of products is
        independent = np.outer(marginal, marginal)
        information = rel_entr(independent, joint.numpy()).sum()
        mean = (independent * products.numpy()).sum()
        assert mean - log_normalizer == pytest.approx(-information, abs=1e-6)
        assert mean >= 0 > -information
    lengths = claims.cases["cosines"].truth.products.diagonal()
    np.testing.assert_allclose(lengths, 2)  # one over the temperature


def test_descents_recover_the_truth_and_the_offset_takes_up_the_normalizer(
    claims: EnergyClaims,
) -> None:
    rows = claims.rows({key: job() for key, job in claims.descents().items()}, BOUNDS)
    for setting in ("raw products, D", "cosines, D"):
        assert verdicts(rows, setting=setting, loss="ranking") == ["holds"]
        assert verdicts(rows, setting=setting, loss="binary_nce, offset") == ["holds", "holds"]
        assert verdicts(rows, setting=setting, claim="(m) binary") == ["does not hold", "holds"]
        assert verdicts(rows, setting=setting, claim="needs no normaliser") == ["does not hold"]
    assert verdicts(rows, setting="other lengths") == ["does not hold"]
    assert verdicts(rows, setting="a dimension more") == ["does not hold", "holds"]


def test_truths_are_accepted_and_other_embeddings_are_not(claims: EnergyClaims) -> None:
    right, wrong = {}, {}
    for (name, loss), _ in claims.descents().items():
        truth, _, dim, *_ = claims.cases[name]
        products = truth.products + (2.0 if dim == 4 else 0.0)
        vectors = vectors_of(products, dim)
        right[name, loss] = at(vectors, -truth.log_normalizer)
        wrong[name, loss] = at(vectors + 0.1 * random_embeddings(len(vectors), dim), 0.0)
    rows = claims.rows(right, BOUNDS)
    assert set(verdicts(rows, setting="raw products, D", claim="recovers")) == {"holds"}
    assert set(verdicts(rows, setting="cosines, D", claim="recovers")) == {"holds"}
    assert set(verdicts(rows, claim="offset")) == {"holds"}
    assert verdicts(rows, setting="a dimension more") == ["does not hold", "holds"]
    assert set(verdicts(claims.rows(wrong, BOUNDS))) == {"does not hold"}
