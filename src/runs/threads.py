"""The number of threads that a run computes with."""

import os

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

# Multiplications of a batch's forward pass below which a second thread gains nothing, and loses
# much beside other work: measured on two cores, where 28 x 28 pixels in batches of 128 are 1.5e9.
FEW_MULTIPLICATIONS = 5e8


def choose_threads(
    asked: int | None, encoder: nn.Module, image: Tensor, batch_size: int
) -> int | None:
    """Choose a number of threads by the size of a step on the CPU.

    Args:
        asked: The configured number; None to choose.
        encoder: Maps images to embeddings.
        image: (1, channels, height, width), any image.
        batch_size: The number of images in a batch.

    Returns:
        `asked`, if it is a number; None, to leave the number as it is, if OMP_NUM_THREADS is set or
        the step is large; 1 for a small step.
    """
    if asked is not None:
        return asked
    if "OMP_NUM_THREADS" in os.environ:
        return None
    return 1 if batch_size * count_multiplications(encoder, image) < FEW_MULTIPLICATIONS else None


def set_threads(number: int) -> None:
    """Let PyTorch, and the linear algebra of NumPy and SciPy, compute with a number of threads.

    Threads of the latter wait for work by spinning: each takes a core, also where there is none.
    """
    torch.set_num_threads(number)
    threadpool_limits(number)


@torch.no_grad()
def count_multiplications(encoder: nn.Module, image: Tensor) -> int:
    """Count the multiplications with weights of one image, (1, channels, height, width)."""
    counted = 0

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal counted
        weight = layer.weight
        assert isinstance(weight, Tensor)
        # Every weight once for each position: of an image in a convolution, of a text in a layer.
        channels = output.shape[1] if output.ndim == 4 else output.shape[-1]
        counted += weight.numel() * output.numel() // channels

    layers = (nn.Conv2d, nn.Linear)
    hooks = [
        layer.register_forward_hook(count)
        for layer in encoder.modules()
        if isinstance(layer, layers)
    ]
    training = encoder.training
    encoder.eval()(image)
    encoder.train(training)
    for hook in hooks:
        hook.remove()
    return counted
