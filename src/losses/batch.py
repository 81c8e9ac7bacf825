"""What the losses of a batch share: its checks, its number type, and the batch of all processes."""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch import distributed as dist
from torch.distributed.nn.functional import all_gather


class NonFiniteEmbeddingsError(ArithmeticError):
    """A batch holds embeddings or labels that are NaN or infinite."""


@runtime_checkable
class LossWithHead(Protocol):
    """A loss that learns, along with embeddings, what makes logits of them."""

    def logits(self, embeddings: Tensor) -> Tensor:
        """Logits (N, K) of embeddings (N, D)."""


def check_shapes(embeddings: Tensor, labels: Tensor) -> None:
    """Raise ValueError unless embeddings are (N, D) and labels (N, C)."""
    if embeddings.ndim != 2 or labels.ndim != 2 or len(embeddings) != len(labels):
        raise ValueError(
            "embeddings must be (N, D) and labels (N, C) with the same N, "
            f"got {tuple(embeddings.shape)} and {tuple(labels.shape)}"
        )


def class_members(embeddings: Tensor, labels: Tensor) -> Tensor:
    """Labels as a mask of the classes that the batch has, which may overlap.

    Args:
        embeddings: (N, D).
        labels: (N, K), in {0, 1}.

    Returns:
        (N, P), boolean: columns of classes without a sample are left out.

    Raises:
        ValueError: If the shapes do not match, a label is neither 0 nor 1, or no class is left.
    """
    check_shapes(embeddings, labels)
    members = labels != 0
    if not torch.equal(members.to(labels.dtype), labels):
        raise ValueError("labels must be 0 or 1")
    members = members[:, members.any(dim=0)]
    if members.shape[1] == 0:
        raise ValueError("labels mark no class for any sample; leave such batches out")
    return members


def partition(embeddings: Tensor, labels: Tensor) -> Tensor:
    """`class_members` of labels that give every sample exactly one class.

    Raises:
        ValueError: As `class_members`, or if a sample has no class or several.
    """
    members = class_members(embeddings, labels)
    wrong = members.sum(dim=1) != 1
    if wrong.any():
        raise ValueError(
            f"labels must mark one class per sample, not none or several, as in {list_rows(wrong)};"
            " set module.label_coding=minterms"
        )
    return members


def check_positive(**values: float) -> None:
    """Raise ValueError unless all these parameters are finite numbers above 0."""
    for name, value in values.items():
        if not isinstance(value, int | float) or not 0 < value < float("inf"):
            raise ValueError(f"{name} must be a number above 0, not {value!r}")


def in_float64(embeddings: Tensor) -> Tensor:
    """Embeddings in the type that losses compute in, which autocast leaves alone.

    Raises:
        NonFiniteEmbeddingsError: If some are NaN or infinite.
    """
    non_finite = ~torch.isfinite(embeddings).all(dim=1)
    if non_finite.any():
        raise NonFiniteEmbeddingsError(f"embeddings are NaN or infinite in {list_rows(non_finite)}")
    return on_float64_device(embeddings).double()


def on_float64_device(tensor: Tensor) -> Tensor:
    """The tensor, on the CPU if its device has no float64."""
    return tensor.cpu() if tensor.device.type == "mps" else tensor


def loss_dtype(embeddings: Tensor) -> torch.dtype:
    """Type of a loss: float64 for float64 embeddings and float32 otherwise."""
    return torch.promote_types(embeddings.dtype, torch.float32)


def list_rows(mask: Tensor) -> str:
    """Where a mask (N,) holds, for a message: "2 of 9 rows: 3, 7"."""
    rows = mask.nonzero().flatten().tolist()
    shown = ", ".join(map(str, rows[:5])) + (", ..." if len(rows) > 5 else "")
    return f"{len(rows)} of {len(mask)} rows: {shown}"


def whole_batch(embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The batch that all processes hold together, in equal shares.

    Gradients go back to all processes. Averaging them, as DistributedDataParallel does, gives the
    gradient of the loss of the global batch.
    """
    if not dist.is_initialized():
        return embeddings, labels
    return torch.cat(all_gather(embeddings)), torch.cat(all_gather(labels.contiguous()))
