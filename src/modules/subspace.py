"""Training, validation and test of an encoder whose minterms become subspaces."""

from collections.abc import Sequence
from inspect import signature
from typing import ClassVar, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from src.data.images import ImageBatch
from src.encoders.encoder import Encoder
from src.losses.batch import NonFiniteEmbeddingsError, whole_rows
from src.metrics.collector import CollectedEmbeddings, EmbeddingCollector
from src.metrics.evaluation import Evaluation, evaluate
from src.optimizers import OptimizerFactory
from src.readouts.completion import LabelCompletion, draw_labels
from src.readouts.readout import Readout
from src.readouts.subspaces import MintermSubspaces
from src.subspaces.minterms import MAX_MINTERMS
from src.subspaces.propositions import Proposition
from src.subspaces.queries import make_queries

Completion = Literal["absent", "known", "posterior"]


class SubspaceModule(pl.LightningModule):
    """An encoder, the loss that trains it, and the readout that answers for its embeddings.

    Each validation goes through the training split once, in evaluation mode, and fits the readout
    and the minterm subspaces on all of it; they are saved with the weights, so that a checkpoint
    answers propositions.

    Args:
        encoder: Maps images to embeddings (N, D).
        loss: Called as loss(embeddings, label codes).
        readout: Makes scores and probabilities of embeddings.
        beside: Other readouts that are fitted, calibrated and reported, too.
        subspaces: The minterm subspaces, whose geometry is reported, the readout or one beside it;
            None where minterms are more than a table holds.
        minterms: (M, C), bool, of the training split.
        optimizer: See `src.optimizers`; None for a module that is not trained.
        normalize: Maps stored pixels to what the encoder takes.
        augmentation: Changes training images at random, pixels as stored.
        literals: (C,), names of the label columns.
        examples: Propositions that the test ranks all images by, for the report.
        label_coding: The labels that the loss sees, one of the readout's `label_codings`: the
            `literals` themselves, (N, C); literals and their `complements`, (N, 2 C); indicators of
            `minterms`, (N, M), for which the labels of any batch have full rank; or embeddings of
            `captions`, (N, D). None for the first.
        completion: What stands for labels that are unknown: `absent`, false; `known`, what the
            known labels of the image say, which is nothing to a mean over single labels, binary
            cross-entropy, and to any other loss their probabilities; `posterior`, their
            probabilities given the embedding, too (`LabelCompletion`). Unless it is `absent`,
            readouts are fitted on labels drawn from the posterior.
        score: Retrieval score, one of the readout's `score_kinds`; None for the first of them. The
            others are reported beside it.
        max_query_literals: Retrieval is evaluated on all conjunctions of up to this many literals.
        max_query_depth: Retrieval is also evaluated on random propositions of depths 2 to this.
        queries_per_depth: The number of random propositions of each depth.

    Raises:
        ValueError: If an argument is out of range, or the embeddings have too few dimensions.
    """

    over_relation: ClassVar[bool] = False  # whether losses take a relation in place of labels
    minterms: Tensor  # (M, C)
    codes: Tensor  # (N, K), that the loss saw of the last training batch

    def __init__(
        self,
        encoder: Encoder,
        loss: nn.Module,
        readout: Readout,
        beside: Sequence[Readout],
        subspaces: MintermSubspaces | None,
        minterms: Tensor,
        optimizer: OptimizerFactory | None,
        normalize: nn.Module,
        augmentation: nn.Module,
        literals: Sequence[str],
        examples: Sequence[str],
        label_coding: str | None,
        completion: Completion,
        score: str | None,
        max_query_literals: int,
        max_query_depth: int,
        queries_per_depth: int,
    ) -> None:
        super().__init__()
        _check_argument(loss, self.over_relation)
        self.encoder = encoder
        self.loss = loss
        self.normalize = normalize
        self.augmentation = augmentation
        self.readout = readout
        self.beside = list(beside)
        self._beside = nn.ModuleList(beside)  # in checkpoints, and on the device
        self.subspaces = subspaces
        self.register_buffer("minterms", minterms)
        self.literals = tuple(literals)
        self.label_coding = label_coding or readout.label_codings[0]
        readout.check_coding(self.label_coding)
        if self.label_coding == "minterms" and len(minterms) > MAX_MINTERMS:
            raise ValueError(
                f"indicators of {len(minterms):,} minterms are more than the {MAX_MINTERMS:,} of a "
                "table: set module.label_coding=complements"
            )
        readout.check_width(encoder.embedding_dim, minterms, self.label_coding)
        self.completion_kind = completion
        self.completion = LabelCompletion(minterms, encoder.embedding_dim)
        self.score_kind = score or readout.score_kinds[0]
        if self.score_kind not in readout.score_kinds:
            kinds = ", ".join(readout.score_kinds)
            raise ValueError(f"module.score of {readout.name} is one of {kinds}, not {score!r}")
        self.queries = make_queries(
            literals, minterms, max_query_literals, max_query_depth, queries_per_depth
        )
        readout.check_queries(self.queries.propositions)
        self.examples = [Proposition(text, literals) for text in examples]
        self.optimizer = optimizer
        self.collector = EmbeddingCollector()
        self.test_results: tuple[CollectedEmbeddings, Evaluation] | None = None

    def forward(self, images: Tensor) -> Tensor:
        """Map stored images (N, channels, height, width), uint8, to embeddings (N, D).

        Mixed precision is for training alone: what is evaluated has the precision of the weights.
        """
        device = images.device.type
        mixed = self.training and torch.is_autocast_enabled(device)
        with torch.autocast(device, enabled=mixed):
            return self.encoder(self.normalize(images))

    def encode_labels(self, labels: Tensor) -> Tensor:
        """Map labels (N, C) to the codes that the loss sees: (N, C), (N, M) or (N, D)."""
        return self.readout.encode_labels(labels, self.minterms, self.label_coding)

    def score(self, embeddings: Tensor, queries: Sequence[Proposition]) -> Tensor:
        """Retrieval scores of embeddings (N, D) for Q queries: (N, Q), higher is better."""
        return self.readout.score(embeddings, queries, self.score_kind)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        assert self.optimizer is not None
        return self.optimizer(self.parameters(), int(self.trainer.estimated_stepping_batches))

    def training_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
        try:
            loss = self.batch_loss(batch)
            if not torch.isfinite(loss):  # of PyTorch's own losses, which say nothing
                raise NonFiniteEmbeddingsError(f"the loss is {float(loss.detach())}")
        except NonFiniteEmbeddingsError as error:
            where = f"epoch {self.current_epoch}, step {self.global_step}, batch {batch_idx}"
            raise NonFiniteEmbeddingsError(
                f"{where}: {error}; a smaller optimizer.lr usually helps"
            ) from error
        self.log("train/loss", loss, prog_bar=True)
        self.log("train/lr", self.trainer.optimizers[0].param_groups[0]["lr"])
        return loss

    def batch_loss(self, batch: ImageBatch) -> Tensor:
        """Loss of a training batch, a scalar; its mean over processes is that of all images."""
        embeddings = self(self.augmentation(batch.images.float()))
        codes = self.label_codes(embeddings, batch).to(embeddings.dtype)
        self.codes = codes.detach()
        of_single_labels = isinstance(self.loss, nn.BCEWithLogitsLoss)
        if batch.unknown is not None and self.completion_kind == "known" and of_single_labels:
            known = ~batch.unknown
            number = known.sum(dtype=embeddings.dtype)
            share = number / whole_rows(number.view(1)).mean()  # of a process, in the mean over all
            return share * self.loss(embeddings[known], codes[known])
        return self.loss(embeddings, codes)

    def label_codes(self, embeddings: Tensor, batch: ImageBatch) -> Tensor:
        """The codes that the loss sees of a batch with these embeddings (N, D), completed where
        labels are unknown: (N, K). In training, the completion learns from the batch.
        """
        if batch.unknown is None or self.completion_kind == "absent":
            return self.encode_labels(batch.labels)
        posterior = self.completion.posterior(embeddings, batch.labels, batch.unknown)
        chosen = posterior
        if self.completion_kind == "known":
            chosen = self.completion.expected(batch.labels, batch.unknown)
        if self.training:
            self.completion.update(embeddings, posterior)
        codes = self.encode_labels(self.minterms)  # of each minterm
        return chosen.to(codes.device) @ codes.double()

    def fit_labels(self, embeddings: Tensor, batch: ImageBatch) -> Tensor:
        """The labels that readouts are fitted on, (N, C), bool."""
        if batch.unknown is None or self.completion_kind == "absent":
            return batch.labels
        posterior = self.completion.posterior(embeddings, batch.labels, batch.unknown)
        return draw_labels(posterior, self.minterms, batch.indices)

    def on_validation_epoch_start(self) -> None:
        for fitted in self._fitted:
            fitted.reset()

    def validation_step(self, batch: ImageBatch, batch_idx: int, dataloader_idx: int) -> Tensor:
        """Embed a batch of the training split, to fit on it, or of the validation split: (N, D)."""
        embeddings = self(batch.images)
        if dataloader_idx == 0:  # the training split
            labels = self.fit_labels(embeddings, batch)
            for fitted in self._fitted:
                fitted.update_at(batch.indices, embeddings, labels)
        else:
            self.collector.update(embeddings, batch.labels, batch.indices)
        return embeddings

    def on_validation_epoch_end(self) -> None:
        for fitted in self._fitted:
            fitted.fit()
        embeddings, labels, _ = self._collect()
        for fitted in self._fitted:
            fitted.calibrate(embeddings, labels)
        self.log_metrics("val", self._evaluate(embeddings, labels, examples=()).metrics)

    def test_step(self, batch: ImageBatch, batch_idx: int) -> None:
        self.collector.update(self(batch.images), batch.labels, batch.indices)

    def on_test_epoch_end(self) -> None:
        collected = self._collect()
        evaluation = self._evaluate(collected.embeddings, collected.labels, self.examples)
        self.test_results = (collected, evaluation)
        self.log_metrics("test", evaluation.metrics)

    @property
    def _fitted(self) -> list[Readout]:
        """The parts that each validation fits and calibrates."""
        return [self.readout, *self.beside]

    def _collect(self) -> CollectedEmbeddings:
        collected = self.collector.collect()
        self.collector.reset()
        return collected

    def _evaluate(
        self, embeddings: Tensor, labels: Tensor, examples: Sequence[Proposition]
    ) -> Evaluation:
        return evaluate(
            self.readout,
            self.beside,
            self.subspaces,
            embeddings,
            labels,
            self.queries,
            self.score_kind,
            examples,
        )

    def log_metrics(self, stage: str, metrics: dict[str, float]) -> None:
        """Log values of an epoch that all processes have, by their names after the stage.

        They go where `log` would put them. It takes milliseconds for each value, which is most of
        the time of an epoch on small images.
        """
        values = {f"{stage}/{name}": value for name, value in metrics.items()}
        trainer = self.trainer
        trainer.callback_metrics.update(
            {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}
        )
        # As Lightning counts, the step of a validation is the one before it.
        step = trainer.global_step - int(trainer.state.fn == TrainerFn.FITTING)
        for logger in trainer.loggers:
            logger.log_metrics(values | {"epoch": self.current_epoch}, step)
            logger.save()


def _check_argument(loss: nn.Module, over_relation: bool) -> None:
    """Losses of samples with labels and of views with a relation are trained by different steps."""
    takes_relation = "relation" in signature(loss.forward).parameters
    if takes_relation != over_relation:
        kind, module = ("related views", "two_views") if takes_relation else ("labels", "subspace")
        raise ValueError(f"{type(loss).__name__} is a loss over {kind}: set module={module}")
