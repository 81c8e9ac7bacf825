import pytest
import torch
from batches import random_classes, random_embeddings
from torch import Tensor
from torch.nn.functional import cross_entropy, linear

from src.losses.batch import NonFiniteEmbeddingsError
from src.losses.linear import LinearCrossEntropyLoss


@pytest.fixture
def loss() -> LinearCrossEntropyLoss:
    torch.manual_seed(0)
    return LinearCrossEntropyLoss(num_classes=3, embedding_dim=4)


def plain(loss: LinearCrossEntropyLoss, embeddings: Tensor, labels: Tensor) -> Tensor:
    logits = linear(embeddings, loss.linear.weight.double(), loss.linear.bias.double())
    return cross_entropy(logits, labels.argmax(dim=1))


def test_is_cross_entropy_of_a_linear_layer(loss: LinearCrossEntropyLoss) -> None:
    embeddings, labels = random_embeddings(9, 4), random_classes(9, 3)
    torch.testing.assert_close(loss(embeddings, labels), plain(loss, embeddings, labels))
    actual = torch.autograd.grad(loss(embeddings, labels), list(loss.parameters()))
    expected = torch.autograd.grad(plain(loss, embeddings, labels), list(loss.parameters()))
    torch.testing.assert_close(actual, expected)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(loss(embeddings, labels), plain(loss, embeddings, labels))


def test_embeddings_that_are_not_finite_are_refused(loss: LinearCrossEntropyLoss) -> None:
    embeddings = random_embeddings(9, 4)
    embeddings[3] = torch.nan
    with pytest.raises(NonFiniteEmbeddingsError, match="1 of 9 rows: 3"):
        loss(embeddings, random_classes(9, 3))


def test_labels_must_mark_one_class(loss: LinearCrossEntropyLoss) -> None:
    with pytest.raises(ValueError, match=r"set module.label_coding=minterms"):
        loss(random_embeddings(9, 4), torch.ones(9, 3))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_labels_may_be_probabilities_of_any_precision(
    loss: LinearCrossEntropyLoss, dtype: torch.dtype
) -> None:
    embeddings = random_embeddings(9, 4)
    labels = torch.rand(9, 3).double().softmax(dim=1).to(dtype)
    expected = cross_entropy(loss.logits(embeddings), labels.double())
    torch.testing.assert_close(loss(embeddings, labels), expected)
