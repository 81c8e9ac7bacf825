"""Digits of scikit-learn as inputs of small encoders, and what can be read off their embeddings."""

import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LinearRegression
from torch import Tensor, nn
from torch.nn.functional import one_hot

TOTAL = 10  # digits
PIXELS = 64


def split(images: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pixels (N, 64) and digits (N,) to train on, and those of all other images."""
    data = load_digits()
    pixels, digits = torch.from_numpy(data.data / 16), torch.from_numpy(data.target)
    order = torch.randperm(len(digits), generator=torch.Generator().manual_seed(seed))
    chosen, others = order[:images], order[images:]
    return pixels[chosen], digits[chosen], pixels[others], digits[others]


def perceptron(width: int, embedding_dim: int) -> nn.Sequential:
    """An encoder of pixels (N, 64) with two hidden layers."""
    return nn.Sequential(
        nn.Linear(PIXELS, width),
        nn.GELU(),
        nn.Linear(width, width),
        nn.GELU(),
        nn.Linear(width, embedding_dim),
    )


def probe(embeddings: Tensor, labels: Tensor, others: Tensor, truths: Tensor) -> float:
    """Accuracy on other embeddings of least squares from embeddings (N, D) to digits (N,)."""
    model = LinearRegression().fit(embeddings, one_hot(labels, TOTAL))
    return float((model.predict(others).argmax(axis=1) == truths.numpy()).mean())
