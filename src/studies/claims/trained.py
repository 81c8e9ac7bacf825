"""A linear encoder of digits that is trained on batches, beside the optimal one.

References:
    [1] Balestriero and LeCun, Contrastive and Non-Contrastive Self-Supervised Learning Recover
        Global and Local Spectral Embedding Methods, NeurIPS 2022, https://arxiv.org/abs/2205.11508
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot
from torch.optim import Adam

from src.losses.vicreg import vicreg_loss
from src.reports.tables import Row
from src.studies.claims.relations import related_evenly
from src.studies.claims.verdicts import Claim, Found, judge
from src.studies.descent import Optimum, random_start
from src.studies.digits import TOTAL, probe, split
from src.subspaces.finite_optima import vicreg_finite_optimum

TRAINED = "(j) a linear encoder trained on batches is the closed form"
EXCESS = Claim(TRAINED, "loss above the least, relative", "[1]")
ACCURACY = Claim(TRAINED, "difference in test accuracy", "[1]")
KEY = "digits", "vicreg"
INITIAL_SCALE = 0.1


class TrainedClaims:
    """VICReg with digits as the relation, over linear maps of pixels.

    Args:
        seeds: Seeds of the initial maps and of the batches.
        images: Number of images to train on; all others test.
        batch_size: Images a batch.
        embedding_dim: D.
        weights: Of the loss.
        lr: Learning rate of Adam at the first step; it falls linearly to 0.
        steps: Number of batches.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        images: int,
        batch_size: int,
        embedding_dim: int,
        weights: Mapping[str, float],
        lr: float,
        steps: int,
    ) -> None:
        self.seeds = seeds
        self.inputs, self.labels, self.others, self.truths = split(images, 0)
        self.batch_size = batch_size
        self.embedding_dim = embedding_dim
        self.weights = weights
        self.lr = lr
        self.steps = steps

    def descents(self) -> dict[tuple[str, str], Callable[[], Found]]:
        """The job that trains an encoder from every start."""
        return {KEY: self._train_all}

    def rows(
        self, found: Mapping[tuple[str, str], Found], bounds: Mapping[str, float]
    ) -> list[Row]:
        """The claims about trained encoders."""
        relation = self._relation(self.labels)
        best = vicreg_finite_optimum(
            relation, self.embedding_dim, **self.weights, inputs=self.inputs
        )
        setting = f"digits, D = {self.embedding_dim}; G by degree"
        about = KEY[1], setting, found[KEY].convergence
        excess = [end.loss / best.loss - 1 for end in found[KEY].optima]
        accuracy = self._accuracy(best.weights)
        differences = found[KEY].measure(lambda free: abs(self._accuracy(free) - accuracy))
        return [
            judge(EXCESS, *about, excess, "≤", bounds["trained"]),
            judge(ACCURACY, *about, differences, "≤", bounds["accuracy"]),
        ]

    def _train_all(self) -> Found:
        ends = [self._train(seed) for seed in self.seeds]
        return Found(ends, f"{self.steps} steps of Adam")

    def _train(self, seed: int) -> Optimum:
        start = random_start(self.inputs.shape[1], self.embedding_dim, seed, INITIAL_SCALE)
        parameter = nn.Parameter(start)
        optimizer = Adam([parameter], lr=self.lr)
        generator = torch.Generator().manual_seed(seed)
        for step in range(self.steps):
            optimizer.param_groups[0]["lr"] = self.lr * (1 - step / self.steps)
            batch = torch.randperm(len(self.inputs), generator=generator)[: self.batch_size]
            relation = self._relation(self.labels[batch])
            optimizer.zero_grad()
            vicreg_loss(self.inputs[batch] @ parameter, relation, **self.weights).backward()
            optimizer.step()
        trained = parameter.detach()
        relation = self._relation(self.labels)
        loss = vicreg_loss(self.inputs @ trained, relation, **self.weights)
        return Optimum(trained, float(loss), float("nan"))

    def _relation(self, labels: Tensor) -> Tensor:
        indicators = one_hot(labels, TOTAL).double()
        return related_evenly(indicators[:, indicators.any(dim=0)])

    def _accuracy(self, weights: Tensor) -> float:
        return probe(self.inputs @ weights, self.labels, self.others @ weights, self.truths)
