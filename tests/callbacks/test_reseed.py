import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from src.callbacks.reseed import ReseedEveryStep


class Dice(pl.LightningModule):
    """Notes a random number in every training step."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.rolls: list[float] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.rolls.append(torch.rand(()).item())
        return self.weight * 0

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def roll(seed: int, disturb: bool = False) -> list[float]:
    module = Dice()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=2,
        callbacks=[ReseedEveryStep(seed)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    if disturb:
        torch.rand(100)
    trainer.fit(module, DataLoader(TensorDataset(torch.zeros(4, 1))))
    return module.rolls


def test_randomness_of_a_step_depends_on_seed_and_step_alone() -> None:
    rolls = roll(seed=1)
    assert rolls == roll(seed=1, disturb=True)
    assert rolls != roll(seed=2)
    assert len(set(rolls)) == 8
