"""The batch of a loss: its checks, its number type, and the shares of all processes.

The loss of a batch is that of all processes together. An equation over the samples of a batch
becomes such a loss by `of_whole_batch`, and needs to know nothing of processes. Losses that are a
mean over samples, as those of a head are, need no such care: equal shares have an equal say in the
mean. Losses of a relation are given the whole batch, as the relation is one between all samples.
"""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch import distributed as dist
from torch.distributed.nn.functional import all_gather

Parameters = ParamSpec("Parameters")
TOO_LARGE = "embeddings are so large that their squares overflow"
ROUNDING = 0.01  # of sums of probabilities, in half precision


class NonFiniteEmbeddingsError(ArithmeticError):
    """A batch holds embeddings or labels that are NaN or infinite, or too large for a loss."""


@runtime_checkable
class LossWithHead(Protocol):
    """A loss with a head, which is learned along with the embeddings and makes logits of them."""

    def logits(self, embeddings: Tensor) -> Tensor:
        """Logits (N, K) of embeddings (N, D)."""


def of_whole_batch(
    equation: Callable[Concatenate[Tensor, Tensor, Parameters], Tensor],
) -> Callable[Concatenate[Tensor, Tensor, Parameters], Tensor]:
    """Decorate the equation of a loss, so that it is of the batch that all processes hold together.

    The equation gets the embeddings (N, D) of all processes, in float64, and their labels (N, C) as
    they are. Its value, a scalar, is returned in `loss_dtype`.

    Raises:
        ValueError: If the shapes do not match, or there are no samples or dimensions.
        NonFiniteEmbeddingsError: If embeddings or labels of any process hold NaN or infinity, or
            the loss does. All processes raise it, so that none waits for another.
    """

    @wraps(equation)
    def loss(
        embeddings: Tensor, labels: Tensor, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Tensor:
        embeddings, labels = whole_batch(embeddings, labels)
        check_shapes(embeddings, labels)
        vectors = in_float64(embeddings)
        check_finite(labels, "labels")
        value = equation(vectors, labels.to(vectors.device), *args, **kwargs)
        return loss_value(value, embeddings)

    return loss


def whole_batch(embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings and labels of the batch that all processes hold together, in equal shares."""
    return whole_rows(embeddings), whole_rows(labels)


def whole_rows(rows: Tensor) -> Tensor:
    """Rows of all processes, (N, ...), those of the first process first.

    Gradients go back to all processes. Averaging them, as DistributedDataParallel does, gives the
    gradient of the loss of the whole batch.
    """
    return torch.cat(all_gather(rows.contiguous())) if dist.is_initialized() else rows


def check_shapes(embeddings: Tensor, labels: Tensor) -> None:
    """Raise ValueError unless embeddings are (N, D) and labels (N, C), N and D at least 1."""
    if embeddings.ndim != 2 or labels.ndim != 2 or len(embeddings) != len(labels):
        raise ValueError(
            "embeddings must be (N, D) and labels (N, C) with the same N, "
            f"got {tuple(embeddings.shape)} and {tuple(labels.shape)}"
        )
    check_samples(embeddings)


def check_samples(embeddings: Tensor) -> None:
    """Raise ValueError unless embeddings (N, D) have a sample and a dimension."""
    if embeddings.numel() == 0:
        raise ValueError(
            "a loss takes at least one sample and one dimension, not embeddings "
            f"{tuple(embeddings.shape)}"
        )


def class_members(labels: Tensor) -> Tensor:
    """Labels as a mask of the classes that the batch has, which may overlap.

    Args:
        labels: (N, K), in {0, 1}.

    Returns:
        (N, P), boolean: columns of classes without a sample are left out.

    Raises:
        ValueError: If a label is neither 0 nor 1, or no class is left.
    """
    if not torch.equal((labels != 0).to(labels.dtype), labels):
        raise ValueError("labels must be 0 or 1")
    members = labels != 0
    members = members[:, members.any(dim=0)]
    if members.shape[1] == 0:
        raise ValueError("labels mark no class for any sample; leave such batches out")
    return members


def check_probabilities(labels: Tensor) -> None:
    """Raise ValueError unless all labels are in [0, 1], to float32."""
    if not ((labels >= 0) & (labels.float() <= 1)).all():
        raise ValueError("labels must be from 0 to 1")


def partition(labels: Tensor) -> Tensor:
    """`class_members` of labels that give every sample exactly one class.

    Raises:
        ValueError: If a label is neither 0 nor 1, or a sample has no class or several.
    """
    members = class_members(labels)
    check_classes(labels)
    return members


def check_classes(labels: Tensor) -> None:
    """Raise ValueError unless labels (N, K) give every sample one class, or each class a
    probability.
    """
    check_probabilities(labels)
    wrong = (labels.float().sum(dim=1) - 1).abs() > ROUNDING
    if wrong.any():
        raise ValueError(
            f"labels must mark one class per sample, not none or several, as in {list_rows(wrong)};"
            " set module.label_coding=minterms"
        )


def check_positive(**values: float) -> None:
    """Raise ValueError unless all these parameters are finite numbers above 0."""
    for name, value in values.items():
        if not isinstance(value, int | float) or not 0 < value < float("inf"):
            raise ValueError(f"{name} must be a number above 0, not {value!r}")


def in_float64(embeddings: Tensor) -> Tensor:
    """Embeddings in float64, in which losses are computed, and which autocast leaves alone.

    Raises:
        NonFiniteEmbeddingsError: If embeddings are NaN or infinite, or so large that the sum of
            their squares is infinite.
    """
    check_finite(embeddings, "embeddings")
    vectors = on_float64_device(embeddings).double()
    if not torch.isfinite(vectors.detach().square().sum()):
        raise NonFiniteEmbeddingsError(TOO_LARGE)
    return vectors


def check_finite(rows: Tensor, name: str) -> None:
    """Raise NonFiniteEmbeddingsError if rows (N, ...) of this name hold NaN or infinity."""
    non_finite = ~torch.isfinite(rows).flatten(1).all(dim=1)
    if non_finite.any():
        raise NonFiniteEmbeddingsError(f"{name} are NaN or infinite in {list_rows(non_finite)}")


def loss_value(value: Tensor, embeddings: Tensor) -> Tensor:
    """The value of a loss of embeddings, in `loss_dtype`.

    Raises:
        NonFiniteEmbeddingsError: If it is NaN or infinite there.
    """
    loss = value.to(loss_dtype(embeddings))
    if not torch.isfinite(loss):
        largest = float(embeddings.detach().abs().max())
        raise NonFiniteEmbeddingsError(
            f"the loss is {float(loss.detach())}: embeddings of up to {largest:.2g} are too large"
        )
    return loss


def on_float64_device(tensor: Tensor) -> Tensor:
    """The tensor, on the CPU if its device has no float64."""
    return tensor.cpu() if tensor.device.type == "mps" else tensor


def loss_dtype(embeddings: Tensor) -> torch.dtype:
    """Type of a loss: float64 for float64 embeddings and float32 otherwise."""
    return torch.promote_types(embeddings.dtype, torch.float32)


def list_rows(mask: Tensor) -> str:
    """The rows where a mask (N,) is true, for a message: "2 of 9 rows: 3, 7"."""
    rows = mask.nonzero().flatten().tolist()
    shown = ", ".join(map(str, rows[:5])) + (", ..." if len(rows) > 5 else "")
    return f"{len(rows)} of {len(mask)} rows: {shown}"
