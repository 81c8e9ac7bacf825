"""Optimizers with their schedules, as Lightning takes them.

Each function goes into a config as a partial, with all but its first two arguments.
"""

from collections.abc import Iterable
from typing import Protocol

from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch.nn import Parameter
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import OneCycleLR, StepLR


class OptimizerFactory(Protocol):
    """A function of this module whose own arguments a config has set."""

    def __call__(self, parameters: Iterable[Parameter], total_steps: int) -> OptimizerLRScheduler:
        """Return the optimizer and its schedule over `total_steps` training steps."""


def adamw_one_cycle(
    parameters: Iterable[Parameter], total_steps: int, lr: float, weight_decay: float
) -> OptimizerLRScheduler:
    """AdamW whose learning rate climbs to `lr` in the first 30 percent of steps and falls to 0."""
    optimizer = AdamW(parameters, lr=lr, weight_decay=weight_decay)
    schedule = OneCycleLR(optimizer, max_lr=lr, total_steps=total_steps)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def sgd_step(
    parameters: Iterable[Parameter],
    total_steps: int,
    lr: float,
    momentum: float,
    weight_decay: float,
    step_size: int,
    gamma: float,
) -> OptimizerLRScheduler:
    """SGD with momentum whose learning rate is multiplied by `gamma` every `step_size` epochs."""
    del total_steps  # the schedule counts epochs
    optimizer = SGD(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay)
    schedule = StepLR(optimizer, step_size=step_size, gamma=gamma)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "epoch"}}
