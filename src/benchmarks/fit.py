"""Images per second of training against a bare PyTorch loop."""

from collections.abc import Iterator, Sequence
from statistics import median
from tempfile import TemporaryDirectory

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from torch.nn.functional import cross_entropy
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from src.benchmarks.images import RandomImages
from src.benchmarks.timing import now
from src.benchmarks.training import CROSS_ENTROPY, compose_training, fit
from src.reports.tables import Row
from src.runs.compose import build_data, build_module

TITLE = "Images per second against a bare loop"
COLUMNS = {
    "what": "encoder, images, batch, logger",
    "ours": "fit, images/s",
    "bare": "bare loop, images/s",
    "ratio": "rate of fit / rate of the bare loop",
}
CONDITIONS = (
    "The same ConvNet, cross-entropy over ten classes, AdamW with a one-cycle schedule and batches "
    "of the same random images, one epoch each in alternation; medians, and the median of the "
    "ratios. Ours is an epoch of Trainer.fit with all default callbacks: batches from the data "
    "module, normalisation, reseeding, progress bar, and loss and learning rate logged every step. "
    "Validation, checkpoints and pictures come after the epoch and are left out."
)


class EpochTimer(pl.Callback):
    """Seconds of the last training epoch, from its first batch to after its last.

    Args:
        device: `cpu` or `cuda`.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self.seconds = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.start = now(self.device)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.seconds = now(self.device) - self.start


def measure(
    device: str, images: int, repeats: int, batch_sizes: Sequence[int], loggers: Sequence[str]
) -> Iterator[Row]:
    """One row for every batch size and logger.

    Args:
        device: `cpu` or `cuda`.
        images: Number of images in an epoch.
        repeats: Number of epochs of each loop, after one that is not counted.
        batch_sizes: Numbers of images in a batch.
        loggers: Names of `conf/logger`.
    """
    image_set = RandomImages(images)
    for logger in loggers:
        for batch_size in batch_sizes:
            ours, bare = [], []
            for _ in range(1 + repeats):
                with TemporaryDirectory() as folder:
                    config = compose_training(
                        device,
                        folder,
                        *CROSS_ENTROPY,
                        f"loader.batch_size={batch_size}",
                        f"logger={logger}",
                        "trainer.max_epochs=1",
                        "trainer.limit_val_batches=0",
                        "module.max_query_literals=1",
                        "~callbacks.checkpoint_best",  # there is no validation to choose by
                        # Tags interpolate the choices of src.train's groups: Hydra has none here.
                        *(["logger.tags=[]"] if logger == "wandb" else []),
                    )
                    timer = EpochTimer(device)
                    fit(config, image_set, timer)
                    ours.append(images / timer.seconds)
                    bare.append(images / bare_epoch(config, device, image_set))
            ratios = [mine / theirs for mine, theirs in zip(ours, bare, strict=True)]
            yield {
                "what": f"ConvNet, 28 x 28, {batch_size}, {logger}",
                "ours": median(ours[1:]),
                "bare": median(bare[1:]),
                "ratio": median(ratios[1:]),
                "ratios": ratios[1:],
            }


def bare_epoch(config: DictConfig, device: str, image_set: RandomImages) -> float:
    """Seconds of the same epoch in a loop written by hand."""
    pl.seed_everything(config.seed, workers=True, verbose=False)
    data = build_data(config, image_set)
    module = build_module(
        config, image_set, data.minterms, data.minterm_counts, from_checkpoint=False
    ).to(device)
    encoder, normalize = module.encoder.train(), module.normalize
    split, batches = data.splits["train"], list(data.train_dataloader().sampler)
    images, classes = split.images, split.labels.int().argmax(dim=1)
    optimizer = AdamW(encoder.parameters(), lr=config.optimizer.lr)
    schedule = OneCycleLR(optimizer, max_lr=config.optimizer.lr, total_steps=len(batches))
    start = now(device)
    for batch in batches:
        chosen = torch.tensor(batch)
        pixels = normalize(images[chosen].to(device).float())
        loss = cross_entropy(encoder(pixels), classes[chosen].to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return now(device) - start
