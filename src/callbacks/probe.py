"""Simple classifiers of frozen embeddings tell what a representation holds."""

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from src.metrics.collector import CollectedEmbeddings, EmbeddingCollector
from src.metrics.names import KNN_ACCURACY, LINEAR_ACCURACY, LINEAR_CONVERGED, PROBE_RANK
from src.metrics.probes import linear_probe, nearest_neighbors
from src.metrics.spectral import effective_rank
from src.modules.image_data import ImageDataModule
from src.modules.subspace import SubspaceModule
from src.subspaces.minterms import MAX_MINTERMS, find_minterms


class Probe(Callback):
    """Logs how well minterms of test images are told from their embeddings, and their rank.

    `test/probe/linear_accuracy` is that of logistic regression, `linear_converged` says with 1
    that more iterations would not change it, and `knn_accuracy` that of nearest neighbours by
    cosine, both on all training images; where minterms are more than a table holds, no such class
    has images enough, and none of these is logged. `effective_rank` is that of the test embeddings.

    Args:
        neighbors: The number of nearest training images that vote.
        max_iterations: The most iterations of logistic regression.

    Raises:
        ValueError: If one is not at least 1.
    """

    def __init__(self, neighbors: int, max_iterations: int) -> None:
        for name, value in (("neighbors", neighbors), ("max_iterations", max_iterations)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        self.neighbors = neighbors
        self.max_iterations = max_iterations

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, SubspaceModule)
        test = pl_module.collector.collect()
        rank = effective_rank(torch.linalg.svdvals(test.embeddings.double().cpu()))
        metrics = {PROBE_RANK: rank}
        if len(pl_module.minterms) <= MAX_MINTERMS:
            train = _embed_training_split(trainer, pl_module)
            metrics |= self._classify(train, test, pl_module.minterms)
        pl_module.log_metrics("test", metrics)

    def _classify(
        self, train: CollectedEmbeddings, test: CollectedEmbeddings, minterms: Tensor
    ) -> dict[str, float]:
        train_classes = find_minterms(train.labels, minterms)
        # Minterms that training does not have are -1, which no classifier answers.
        classes = find_minterms(test.labels, minterms)
        linear = linear_probe(train.embeddings, train_classes, test.embeddings, self.max_iterations)
        nearest = nearest_neighbors(
            train.embeddings, train_classes, test.embeddings, self.neighbors
        )
        return {
            LINEAR_ACCURACY: float((linear.classes == classes).double().mean()),
            LINEAR_CONVERGED: float(linear.converged),
            KNN_ACCURACY: float((nearest == classes).double().mean()),
        }


def _embed_training_split(trainer: pl.Trainer, module: SubspaceModule) -> CollectedEmbeddings:
    data = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(data, ImageDataModule)
    collector = EmbeddingCollector().to(module.device)
    for batch in data.split_dataloader("train"):
        on_device = trainer.strategy.batch_to_device(batch)
        with trainer.precision_plugin.forward_context():
            embeddings = module(on_device.images)
        collector.update(embeddings, on_device.labels, on_device.indices)
    return collector.collect()
