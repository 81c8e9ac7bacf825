"""Losses whose optimum is known at finite weights, beside that optimum."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from src.losses.barlow_twins import VARIANCE_OFFSET as BARLOW_TWINS_OFFSET
from src.losses.barlow_twins import barlow_twins_loss
from src.losses.relation import deviations, positive_pairs, second_moment
from src.losses.vicreg import VARIANCE_OFFSET as VICREG_OFFSET
from src.losses.vicreg import vicreg_loss
from src.subspaces.finite_optima import (
    FiniteOptimum,
    barlow_twins_optimum,
    simclr_products_optimum,
    vicreg_finite_optimum,
    vicreg_squares_optimum,
)
from src.subspaces.spectral_embedding import normalize_relation


class Form(NamedTuple):
    """A loss, its optimum, and what it sees."""

    loss: Callable[..., Tensor]  # of embeddings (N, D), a relation (N, N) and weights
    optimum: Callable[..., FiniteOptimum]  # of a relation, D and weights
    # Of embeddings and a relation: what the loss sees of both, (N, D) in its units and (N, N)
    seen: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    kink: Callable[[Tensor, Tensor], Tensor] | None = None  # takes embeddings to those at a kink


def vicreg_squares_loss(
    embeddings: Tensor, relation: Tensor, invariance: float, regularization: float
) -> Tensor:
    """Distances of positive pairs, and the squared error of the covariance to the identity.

    Args:
        embeddings: (N, D).
        relation: (N, N).
        invariance: Weight of the distances.
        regularization: Weight of the squared error.
    """
    joint, first, _ = positive_pairs(embeddings, relation)
    distances = torch.cdist(embeddings, embeddings, compute_mode="donot_use_mm_for_euclid_dist")
    error = _covariance(embeddings, first) - torch.eye(embeddings.shape[1]).double()
    return invariance * (joint * distances.square()).sum() + regularization * error.square().sum()


def barlow_twins_form(
    embeddings: Tensor, relation: Tensor, redundancy: float, centered: bool
) -> Tensor:
    """Barlow Twins with variances about the mean or, of embeddings and their negatives, about 0."""
    if centered:
        return barlow_twins_loss(embeddings, relation, redundancy)
    both = torch.block_diag(relation, relation)
    return barlow_twins_loss(torch.cat([embeddings, -embeddings]), both, redundancy)


def simclr_products_loss(embeddings: Tensor, relation: Tensor) -> Tensor:
    """The squared error of products of embeddings (N, D) to G (N, N)."""
    return (relation - embeddings @ embeddings.T).square().sum()


def at_unit_deviation(embeddings: Tensor, relation: Tensor) -> Tensor:
    """Embeddings whose dimensions are scaled to the kink of VICReg's hinge."""
    variances = _covariance(embeddings, positive_pairs(embeddings, relation).first).diagonal()
    return embeddings * ((1 - VICREG_OFFSET) / variances).sqrt()


def _covariance(embeddings: Tensor, weights: Tensor) -> Tensor:
    centered = deviations(embeddings, weights)
    return second_moment(centered, weights) / (1 - weights.square().sum())


def _seen_about_mean(embeddings: Tensor, relation: Tensor) -> tuple[Tensor, Tensor]:
    normalized, probabilities = normalize_relation(relation)
    constant = probabilities.sqrt()
    weighted = constant.unsqueeze(1) * deviations(embeddings, probabilities)
    # The constant function comes last: eigenvalues are at least -1
    return weighted, normalized - 3 * constant.outer(constant)


def _seen_by_vicreg(embeddings: Tensor, relation: Tensor) -> tuple[Tensor, Tensor]:
    weighted, matrix = _seen_about_mean(embeddings, relation)
    unbiased = 1 - normalize_relation(relation)[1].square().sum()
    return weighted / unbiased.sqrt(), matrix


def _seen_by_barlow_twins(embeddings: Tensor, relation: Tensor) -> tuple[Tensor, Tensor]:
    weighted, matrix = _seen_about_mean(embeddings, relation)
    return _standardize(weighted), matrix


def _seen_by_barlow_twins_about_zero(embeddings: Tensor, relation: Tensor) -> tuple[Tensor, Tensor]:
    normalized, probabilities = normalize_relation(relation)
    return _standardize(probabilities.sqrt().unsqueeze(1) * embeddings), normalized


def _standardize(weighted: Tensor) -> Tensor:
    return weighted * (weighted.square().sum(dim=0) + BARLOW_TWINS_OFFSET).rsqrt()


def _seen_by_products(embeddings: Tensor, relation: Tensor) -> tuple[Tensor, Tensor]:
    return embeddings, (relation + relation.T) / 2


def form(name: str, weights: Mapping[str, Any]) -> Form:
    """The form of a loss by its name, at these weights."""
    about_zero = name == "barlow_twins" and not weights["centered"]
    seen = _seen_by_barlow_twins_about_zero if about_zero else _seen_by_barlow_twins
    return {
        "vicreg": Form(vicreg_loss, vicreg_finite_optimum, _seen_by_vicreg, at_unit_deviation),
        "vicreg_squares": Form(vicreg_squares_loss, vicreg_squares_optimum, _seen_by_vicreg),
        "barlow_twins": Form(barlow_twins_form, barlow_twins_optimum, seen),
        "simclr_products": Form(simclr_products_loss, simclr_products_optimum, _seen_by_products),
    }[name]
