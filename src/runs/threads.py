"""The number of threads that a run computes with."""

import os
from collections.abc import Callable

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

# Multiplications of a batch's forward pass below which a second thread gains nothing, and loses
# much beside other work: measured on two cores, where 28 x 28 pixels in batches of 128 are 1.5e9.
FEW_MULTIPLICATIONS = 5e8
AVAILABLE = torch.get_num_threads()  # before any run chooses


class ChooseThreads(Callback):
    """Lets PyTorch, and the linear algebra of NumPy and SciPy, compute on the CPU with as many
    threads as asked for; else with those of OMP_NUM_THREADS; else, where a step is small, with one,
    and where it is large, with the share of a process in all.

    Threads of NumPy and SciPy wait for work by spinning: each takes a core, also where there is
    none.

    Args:
        asked: The configured number; None to choose.
        image: (1, channels, height, width), uint8, any image as it is stored.
        batch_size: The number of images in a batch.
    """

    def __init__(self, asked: int | None, image: Tensor, batch_size: int) -> None:
        self.asked = asked
        self.image = image
        self.batch_size = batch_size

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        # Here, since Lightning sets a number itself where it starts several processes.
        number = choose_threads(
            self.asked,
            lambda: self.batch_size * count_multiplications(pl_module, self.image),
            trainer.num_devices,
        )
        torch.set_num_threads(number)
        threadpool_limits(number)


def check_threads(asked: int | None) -> None:
    """Raise ValueError if more threads are asked for than the machine has cores, or less than 1."""
    cores = os.cpu_count() or 1
    if asked is not None and not 1 <= asked <= cores:
        raise ValueError(f"trainer.threads must be from 1 to {cores}, the cores here, not {asked}")


def choose_threads(asked: int | None, multiplications: Callable[[], float], processes: int) -> int:
    """Choose the number of threads of each process.

    Args:
        asked: The configured number; None to choose.
        multiplications: Counts the multiplications of a forward pass.
        processes: The number of processes of this machine.
    """
    if asked is not None:
        return asked
    if "OMP_NUM_THREADS" in os.environ:
        return torch.get_num_threads()
    return 1 if multiplications() < FEW_MULTIPLICATIONS else max(1, AVAILABLE // processes)


@torch.no_grad()
def count_multiplications(network: nn.Module, image: Tensor) -> int:
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
        for layer in network.modules()
        if isinstance(layer, layers)
    ]
    training = network.training
    network.eval()(image)
    network.train(training)
    for hook in hooks:
        hook.remove()
    return counted
