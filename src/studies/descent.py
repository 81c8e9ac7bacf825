"""Descents over free embeddings: by gradients, and quasi-Newton."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer
from torch.optim.lr_scheduler import ExponentialLR

Function = Callable[[Tensor], Tensor]  # of embeddings (N, D): a scalar


class Optimum(NamedTuple):
    """The embeddings at which a descent ended."""

    embeddings: Tensor  # (N, D), float64
    loss: float
    gradient: float  # norm of the gradient: not near 0 where the loss has a kink


def random_start(num: int, embedding_dim: int, seed: int, scale: float) -> Tensor:
    """Normal embeddings (N, D), float64, of deviation `scale`."""
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(num, embedding_dim, generator=generator, dtype=torch.float64)


def gradient_steps(
    function: Function,
    start: Tensor,
    optimizer: type[Optimizer],
    lr: float,
    decay: float,
    iterations: int,
) -> Iterator[Tensor]:
    """Embeddings after every step of a descent by gradients.

    Args:
        function: The function to descend.
        start: (N, D).
        optimizer: Class of the optimiser.
        lr: Learning rate of the first step.
        decay: Factor of the learning rate from one step to the next.
        iterations: Number of steps.

    Yields:
        (N, D), which the next step changes in place.
    """
    embeddings = nn.Parameter(start.clone())
    stepper = optimizer([embeddings], lr=lr)  # type: ignore[call-arg]
    schedule = ExponentialLR(stepper, decay)
    for _ in range(iterations):
        stepper.zero_grad()
        function(embeddings).backward()
        stepper.step()
        schedule.step()
        yield embeddings.detach()


def gradient_descent(
    function: Function,
    start: Tensor,
    optimizer: type[Optimizer],
    lr: float,
    decay: float,
    iterations: int,
) -> Optimum:
    """The end of `gradient_steps`: for losses with kinks, at which a quasi-Newton descent stops."""
    steps = deque(gradient_steps(function, start, optimizer, lr, decay, iterations), maxlen=1)
    return _optimum(function, steps.pop())


def quasi_newton(function: Function, start: Tensor, iterations: int) -> Optimum:
    """The end of L-BFGS with a strong Wolfe line search: for smooth losses, exact to many digits.

    Args:
        function: The function to descend.
        start: (N, D).
        iterations: The most it takes; fewer once the gradient or the steps are rounding errors.
    """
    embeddings = nn.Parameter(start.clone())
    optimizer = LBFGS(
        [embeddings],
        max_iter=iterations,
        tolerance_grad=1e-11,
        tolerance_change=1e-16,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def evaluate() -> Tensor:
        optimizer.zero_grad()
        loss = function(embeddings)
        loss.backward()
        return loss

    optimizer.step(evaluate)
    return _optimum(function, embeddings.detach())


def _optimum(function: Function, embeddings: Tensor) -> Optimum:
    leaf = nn.Parameter(embeddings.clone())
    loss = function(leaf)
    loss.backward()
    assert leaf.grad is not None
    return Optimum(leaf.detach(), float(loss.detach()), float(leaf.grad.norm()))
