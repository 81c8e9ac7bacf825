"""One, two and four processes take the same steps and say the same of the same images."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from conftest import Shared, in_processes
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn
from torch import distributed as dist

from src.config.groups import CONF_DIR
from src.config.instantiate import instantiate
from src.losses.nuclear import NuclearNormLoss
from src.runs.compose import build_data, build_module, build_trainer

WORLD_SIZES = (1, 2, 4)
SETTINGS = {
    "nuclear": ["method=nuclear"],
    "literals": ["method=nuclear", "module.label_coding=literals"],
    "discriminant": ["method=nuclear", "readout=discriminant", "module.label_coding=complements"],
    "literal_discriminants": ["method=nuclear", "readout=literal_discriminants"],
    "nuclear_discriminant": ["method=nuclear_discriminant", "loss.averaging=0.5"],  # from step 2
    "posterior": ["method=nuclear_discriminant", "loader.masked=0.3"],
    "left_out": ["method=bce", "loader.masked=0.3", "module.completion=known"],
    "minterm_batches": ["method=nuclear", "loader.minterms_per_batch=5", "loader.batch_size=100"],
    "nuclear_kernel": ["method=nuclear_kernel"],
    "ole": ["method=ole"],
    "mcr2": ["method=mcr2", "readout=subspaces"],
    "supcon": ["method=supcon"],
    "batch_norm": ["method=nuclear", "encoder.radius=1", "encoder.batch_norm=true"],
    "simclr": ["module=two_views", "loss=simclr", "module.relation=labels"],
    "vicreg": ["module=two_views", "loss=vicreg", "module.relation=labels"],
    "per_process": ["method=nuclear"],  # the norms of each process by itself, which is wrong
}
STEPS = 4
Results = dict[str, dict[str, Any]]


class PerProcessLoss(NuclearNormLoss):
    """What it is not: the loss of the images of one process, averaged over processes."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        joint = torch.linalg.svdvals(torch.cat([labels.to(embeddings), embeddings], dim=1))
        values = torch.linalg.svdvals(embeddings)
        return joint.sum() - self.alpha * values.sum() + self.beta * values[0] ** 2


class Steps(Callback):
    """Keeps the losses, and the gradients as the optimizer gets them."""

    def __init__(self) -> None:
        self.losses: list[Tensor] = []
        self.gradients: list[list[Tensor]] = []

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *rest: Any
    ) -> None:
        loss = outputs["loss"].detach().clone()
        if dist.is_initialized():
            dist.all_reduce(loss)
            loss /= dist.get_world_size()
        self.losses.append(loss)

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any
    ) -> None:
        parameters = [p for p in pl_module.parameters() if p.grad is not None]
        self.gradients.append([p.grad.clone() for p in parameters if p.grad is not None])


def fit(name: str, world_size: int) -> dict[str, Any]:
    """Train a few steps, validate and test, in float64 and without dropout or augmentation, whose
    draws are a process's own.
    """
    trainer_settings = [
        "trainer=ddp_cpu" if world_size > 1 else "trainer=cpu",
        f"trainer.devices={world_size}",
        "trainer.precision=64-true",
        "trainer.max_epochs=1",
        f"trainer.limit_train_batches={STEPS}",
        "+trainer.enable_progress_bar=false",
        "output_dir=.",
        "module.max_query_literals=2",
        "module.max_query_depth=2",
        "loader.batch_size=128",
    ]
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("train", [*trainer_settings, *SETTINGS[name]])
    pl.seed_everything(0, verbose=False)
    data = build_data(config, instantiate(config.dataset))
    module = build_module(
        config, data.image_set, data.minterms, data.minterm_counts, from_checkpoint=False
    )
    module.augmentation = nn.Identity()
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    if name == "per_process":
        module.loss = PerProcessLoss(0.99, 0.05)
    steps = Steps()
    OmegaConf.update(config, "trainer.enable_checkpointing", False, force_add=True)
    trainer = build_trainer(config.trainer, data, callbacks=[steps], logger=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("src.readouts.completion.WARM_UP", 2)  # of the steps
        trainer.fit(module, data)
    metrics = dict(trainer.callback_metrics)
    trainer.test(module, data, verbose=False)
    metrics |= trainer.callback_metrics
    assert module.test_results is not None
    embeddings = module.test_results[0].embeddings
    return {
        "losses": torch.stack(steps.losses),
        "gradients": steps.gradients,
        "state": {key: value.clone() for key, value in module.state_dict().items()},
        "metrics": {key: value.double() for key, value in metrics.items()},
        "probabilities": [
            readout.literal_probabilities(embeddings, calibrated=True)
            for readout in (module.readout, *module.beside)
        ],
    }


def worker(rank: int, world_size: int, port: int, folder: Path) -> None:
    """A process as torchrun starts it."""
    torch.set_num_threads(1)
    place = {"RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0}
    world = {"WORLD_SIZE": world_size, "LOCAL_WORLD_SIZE": world_size}
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test"}
    os.environ.update({key: str(value) for key, value in (place | world | where).items()})
    results = {name: fit(name, world_size) for name in SETTINGS}
    torch.save(results, folder / f"{world_size}_{rank}.pt")
    dist.destroy_process_group()


def fit_all(folder: Path) -> None:
    """Fit every setting with every number of processes."""
    folder.mkdir()
    torch.save({name: fit(name, 1) for name in SETTINGS}, folder / "1_0.pt")
    for world_size in WORLD_SIZES[1:]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        in_processes(worker, world_size, world_size, port, folder)


@pytest.fixture(scope="module")
def results(shared: Shared) -> dict[int, list[Results]]:
    """What each process of each number of processes found."""
    folder = shared.folder("distributed", fit_all)
    return {
        size: [torch.load(folder / f"{size}_{rank}.pt", weights_only=True) for rank in range(size)]
        for size in WORLD_SIZES
    }


@pytest.mark.parametrize("world_size", WORLD_SIZES[1:])
@pytest.mark.parametrize("name", [name for name in SETTINGS if name != "per_process"])
def test_steps_and_results_are_those_of_one_process(
    name: str, world_size: int, results: dict[int, list[Results]]
) -> None:
    expected = results[1][0][name]
    assert len(expected["losses"]) == STEPS
    if name != "posterior":  # where labels get more certain, and so longer
        assert expected["losses"][-1] < expected["losses"][0]
    for rank in range(world_size):
        found = results[world_size][rank][name]
        close(found["losses"], expected["losses"])
        for step, gradients in enumerate(expected["gradients"]):
            scale = max(float(gradient.norm()) for gradient in gradients)
            for mine, wanted in zip(found["gradients"][step], gradients, strict=True):
                torch.testing.assert_close(mine, wanted, rtol=1e-6, atol=1e-7 * scale)
        for mine, wanted in zip(found["probabilities"], expected["probabilities"], strict=True):
            close(mine, wanted)
        for key, wanted in expected["state"].items():
            if key.endswith((".weights", ".biases")):  # of discriminants, whose answers are above
                continue
            mine = found["state"][key]
            if key.endswith("directions"):  # whose signs mean nothing
                mine, wanted = mine.abs(), wanted.abs()
            close(mine, wanted)
        assert found["metrics"].keys() == expected["metrics"].keys()
        for key, wanted in expected["metrics"].items():
            if name == "left_out" and key == "train/loss":  # of one process; their mean is above
                continue
            close(found["metrics"][key], wanted)


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7, equal_nan=True)


@pytest.mark.parametrize("world_size", WORLD_SIZES[1:])
def test_norms_of_each_process_by_itself_are_another_loss(
    world_size: int, results: dict[int, list[Results]]
) -> None:
    one, several = (results[size][0]["per_process"] for size in (1, world_size))
    assert float(several["losses"][0]) < 0.9 * float(one["losses"][0])
    mine, wanted = (
        torch.cat([g.flatten() for g in part["gradients"][0]]) for part in (several, one)
    )
    assert float((mine - wanted).norm() / wanted.norm()) > 0.1
