"""Nuclear norms from Gram matrices, also where differentiation of an SVD breaks."""

import pytest
import torch
from batches import gradient, random_embeddings, random_rotation
from torch import Tensor

from src.losses.spectra import nuclear_norm, root_sum


def degenerate() -> dict[str, Tensor]:
    wide = random_embeddings(3, 7)
    return {
        "wide": wide,
        "tall": wide.T,
        "zero": torch.zeros(4, 3).double(),
        "one row twice": wide[[0, 0, 1]],
        "repeated singular values": random_rotation(5)[:, :3],
        "one direction": wide[:1].T @ wide[1:2],
    }


@pytest.mark.parametrize("matrix", degenerate().values(), ids=degenerate().keys())
def test_value_and_gradient_are_those_of_singular_vectors(matrix: Tensor) -> None:
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    rank = int((values > 1e-9).sum())
    torch.testing.assert_close(nuclear_norm(matrix), values.sum(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(
        gradient(nuclear_norm, matrix), left[:, :rank] @ right[:rank], rtol=1e-6, atol=1e-6
    )


def test_root_sum_gives_the_largest_eigenvalue_and_its_gradient() -> None:
    gram = random_embeddings(5, 5)
    gram = gram @ gram.T
    values, vectors = torch.linalg.eigh(gram)
    torch.testing.assert_close(root_sum(gram)[1], values[-1])
    top = gradient(lambda x: 3 * root_sum(x)[1], gram)
    torch.testing.assert_close(top, 3 * vectors[:, -1].outer(vectors[:, -1]))
