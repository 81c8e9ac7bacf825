"""Training, validation and test of an encoder whose minterms become subspaces."""

from collections.abc import Sequence
from inspect import signature
from math import comb
from typing import Any, ClassVar, Literal, NamedTuple

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.functional import one_hot

from src.data.images import ImageBatch
from src.encoders.encoder import DualEncoder, Encoder
from src.encoders.text import TextEncoder
from src.losses.batch import LossWithHead
from src.losses.contrastive import ContrastiveLoss
from src.losses.nuclear import (
    NonFiniteEmbeddingsError,
    NuclearNormLoss,
    gram_matrix,
    singular_values_from_gram,
)
from src.losses.nuclear_kernel import NuclearKernelLoss
from src.metrics.calibration import Reliability, reliability
from src.metrics.collector import CollectedEmbeddings, EmbeddingCollector
from src.metrics.retrieval import RetrievalResults, average_precision, evaluate_retrieval
from src.metrics.spectral import Spectrum, compare_spectrum
from src.optimizers import OptimizerFactory
from src.readouts.head import HeadReadout
from src.readouts.kernel import KernelReadout
from src.readouts.prompts import FRAMES, captions, prompt, vocabulary
from src.readouts.readout import PROBABILITIES
from src.readouts.readout import Readout as MintermReadout
from src.readouts.sigmoid import SigmoidReadout
from src.readouts.softmax import SoftmaxReadout
from src.readouts.subspaces import MintermSubspaces
from src.readouts.text import TextReadout
from src.subspaces.closed_form import optimal_loss
from src.subspaces.minterms import find_minterms
from src.subspaces.projectors import (
    literal_projectors,
    max_coherence,
    max_commutator,
    semantic_coherence,
)
from src.subspaces.propositions import Proposition, conjunctions
from src.subspaces.random_propositions import harder_propositions

LabelCoding = Literal["literals", "minterms", "captions"]
Readout = Literal["subspaces", "head", "kernel", "softmax", "sigmoid", "text"]

MAX_QUERIES = 5000
ABSENT_MENTIONED = 0.1  # chance that a caption says of a literal that it is not there
TOP_K = 10  # of precision@10; a query with fewer positives could not reach 1
QUERY_SEED = 0  # every run and method is asked the same


class Evaluation(NamedTuple):
    """What the evaluation of a split leaves for a report."""

    collected: CollectedEmbeddings
    retrieval: RetrievalResults
    # Of literals and of propositions, then of p(q | x) and calibrated
    reliability: dict[str, dict[str, Reliability]]


class SubspaceModule(pl.LightningModule):
    """An encoder, the loss that trains it, and the minterm subspaces fitted on its embeddings.

    Each validation goes through the training split once, in evaluation mode, and fits the subspaces
    on all of it; they are saved with the weights, so that a checkpoint answers propositions.

    Args:
        encoder: Maps images to embeddings (N, D).
        loss: Called as loss(embeddings, label codes).
        optimizer: See `src.optimizers`.
        normalize: Maps stored pixels to what the encoder takes.
        augmentation: Changes training images at random, pixels as stored.
        literals: Names of the label columns.
        minterms: (M, C), the minterms of the training split.
        batch_size: Images in a training batch, for which spectra are stated.
        readout: What answers for the model: the `subspaces`; the `head` of a loss that has one; the
            `kernel` of `nuclear_kernel`; or, for baselines, the `softmax` of embeddings as logits
            of minterms, the `sigmoid` of embeddings as logits of literals, or `text`, compared by
            the encoder's own text tower with its temperature, or else by a small text encoder
            trained along. The test reports what the subspaces say beside any other.
        label_coding: What the loss sees as labels: the `literals` themselves, (N, C);
            indicators of `minterms`, (N, M), for which the labels of any batch have full rank; or
            embeddings of `captions`, (N, D).
        score: Retrieval score, one of the readout's `score_kinds`; None for the first of them. The
            test reports the others beside it.
        max_query_literals: Retrieval is evaluated on all conjunctions of up to this many literals.
        max_query_depth: Retrieval is also evaluated on random propositions of depths 2 to this.
        queries_per_depth: How many of each depth.

    Raises:
        ValueError: If an argument is out of range, or the embeddings have too few dimensions.
    """

    over_relation: ClassVar[bool] = False  # whether losses take a relation in place of labels

    def __init__(
        self,
        encoder: Encoder,
        loss: nn.Module,
        optimizer: OptimizerFactory,
        normalize: nn.Module,
        augmentation: nn.Module,
        literals: Sequence[str],
        minterms: Tensor,
        batch_size: int,
        readout: Readout,
        label_coding: LabelCoding,
        score: str | None,
        max_query_literals: int,
        max_query_depth: int,
        queries_per_depth: int,
    ) -> None:
        super().__init__()
        if max_query_literals < 1:
            raise ValueError(f"max_query_literals must be at least 1, not {max_query_literals}")
        _check_argument(loss, self.over_relation)
        _check_pairing(loss, readout, label_coding)
        _check_embedding_dim(encoder.embedding_dim, minterms, label_coding, readout)

        self.encoder = encoder
        self.loss = loss
        self.normalize = normalize
        self.augmentation = augmentation
        self.subspaces = MintermSubspaces(minterms, encoder.embedding_dim)
        self.literals = tuple(literals)
        self.readout = self._build_readout(readout)
        self.batch_size = batch_size
        self.label_coding = label_coding
        self.score_kind = score or self.readout.score_kinds[0]
        if self.score_kind not in self.readout.score_kinds:
            kinds = ", ".join(self.readout.score_kinds)
            raise ValueError(f"module.score of {readout} is one of {kinds}, not {score!r}")
        _check_number_of_queries(len(literals), max_query_literals)
        self.queries = conjunctions(literals, max_query_literals)
        self.depths = [1] * len(self.queries)
        for depth in range(2, max_query_depth + 1):
            harder = harder_propositions(
                literals, minterms, depth, queries_per_depth, QUERY_SEED, self.queries
            )
            self.queries += harder
            self.depths += [depth] * len(harder)
        if isinstance(encoder, DualEncoder):
            if readout == "text":
                _check_prompts(encoder, self.queries, self.literals)
            else:  # processes wait for the gradients of all that is trained
                encoder.freeze_texts()
        self.optimizer = optimizer
        self.collector = EmbeddingCollector()
        self.spectra: dict[str, Spectrum] = {}
        self.test_results: Evaluation | None = None

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
        if self.label_coding == "literals":
            return labels
        if isinstance(self.readout, TextReadout):
            return self.readout.text(captions(labels, self.literals, ABSENT_MENTIONED))
        index = find_minterms(labels, self.subspaces.minterms)
        # A minterm that training does not have gets no indicator.
        return one_hot(index + 1, len(self.subspaces.minterms) + 1)[:, 1:]

    def score(self, embeddings: Tensor, queries: Sequence[Proposition]) -> Tensor:
        """Retrieval scores of embeddings (N, D) for Q queries: (N, Q), higher is better."""
        return self.readout.score(embeddings, queries, self.score_kind)

    @property
    def query_groups(self) -> dict[str, Tensor]:
        """Masks over the queries, (Q,): all conjunctions, without a name; those that are purely
        `positive` and those that are `negated` in part; and the random propositions of each depth.
        """
        depths = torch.tensor(self.depths, device=self.device)
        negated = torch.tensor([query.has_negation for query in self.queries], device=self.device)
        flat = depths == 1
        groups = {"": flat, "positive": flat & ~negated, "negated": flat & negated}
        return groups | {
            f"depth_{depth}": depths == depth for depth in sorted(set(self.depths))[1:]
        }

    def configure_optimizers(self) -> OptimizerLRScheduler:
        return self.optimizer(self.parameters(), int(self.trainer.estimated_stepping_batches))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["spectra"] = {stage: values._asdict() for stage, values in self.spectra.items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        spectra = checkpoint.get("spectra", {})
        self.spectra = {stage: Spectrum(**values) for stage, values in spectra.items()}

    def training_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
        try:
            loss = self.batch_loss(batch)
        except NonFiniteEmbeddingsError as error:
            where = f"epoch {self.current_epoch}, step {self.global_step}, batch {batch_idx}"
            raise NonFiniteEmbeddingsError(
                f"{where}: {error}; a smaller optimizer.lr usually helps"
            ) from error
        self.log("train/loss", loss, prog_bar=True)
        self.log("train/lr", self.trainer.optimizers[0].param_groups[0]["lr"])
        if self.trainer.is_last_batch and isinstance(self.loss, NuclearNormLoss):
            self._log_batch(loss, batch)
        return loss

    def batch_loss(self, batch: ImageBatch) -> Tensor:
        """Loss of a training batch, a scalar; its mean over processes is that of all images."""
        embeddings = self(self.augmentation(batch.images.float()))
        return self.loss(embeddings, self.encode_labels(batch.labels).to(embeddings.dtype))

    def on_validation_epoch_start(self) -> None:
        for fitted in self._fitted:
            fitted.reset()
        self.train_gram: Tensor | float = 0.0
        self.train_images = 0

    def validation_step(self, batch: ImageBatch, batch_idx: int, dataloader_idx: int) -> None:
        embeddings = self(batch.images)
        if dataloader_idx == 0:  # the training split
            for fitted in self._fitted:
                fitted.update(embeddings, batch.labels)
            if isinstance(self.loss, NuclearNormLoss):
                self.train_gram += gram_matrix(embeddings, self.encode_labels(batch.labels))
            self.train_images += len(embeddings)
        else:
            self.collector.update(embeddings, batch.labels, batch.indices)

    def on_validation_epoch_end(self) -> None:
        for fitted in self._fitted:
            fitted.fit()
        if isinstance(self.train_gram, Tensor):
            images = torch.tensor(self.train_images, device=self.device)
            if dist.is_initialized():
                dist.all_reduce(self.train_gram)
                dist.all_reduce(images)
            self._log_spectrum("train", self.train_gram, int(images))
        self._evaluate("val")

    def test_step(self, batch: ImageBatch, batch_idx: int) -> None:
        self.collector.update(self(batch.images), batch.labels, batch.indices)

    def on_test_epoch_end(self) -> None:
        self.test_results = self._evaluate("test")

    @property
    def _fitted(self) -> list[MintermSubspaces | KernelReadout]:
        """What each validation fits on the training split."""
        if isinstance(self.readout, KernelReadout):
            return [self.subspaces, self.readout]
        return [self.subspaces]

    def _build_readout(self, kind: Readout) -> MintermReadout:
        minterms = self.subspaces.minterms
        if kind == "head":
            assert isinstance(self.loss, LossWithHead)
            return HeadReadout(minterms, self.loss.logits)
        if kind == "kernel":
            return KernelReadout(minterms, self.encoder.embedding_dim)
        if kind == "softmax":
            return SoftmaxReadout(minterms)
        if kind == "sigmoid":
            return SigmoidReadout(len(self.literals))
        if kind == "text":
            assert isinstance(self.loss, ContrastiveLoss)
            if isinstance(self.encoder, DualEncoder):
                nn.init.constant_(self.loss.log_scale, self.encoder.log_scale)
                texts = self.encoder.encode_texts
                return TextReadout(minterms, self.literals, texts, self.loss.scale)
            text = TextEncoder(vocabulary(self.literals), self.encoder.embedding_dim)
            return TextReadout(minterms, self.literals, text, self.loss.scale)
        return self.subspaces

    def _evaluate(self, stage: str) -> Evaluation:
        collected = self.collector.compute()
        self.collector.reset()
        embeddings, labels, _ = collected
        subspaces, readout = self.subspaces, self.readout
        if stage == "val":
            readout.calibrate(embeddings, labels)
        relevance = torch.stack([query.holds(labels) for query in self.queries]).T

        retrieval = evaluate_retrieval(self.score(embeddings, self.queries), relevance, TOP_K)
        literals = readout.literal_probabilities(embeddings)
        calibration = {
            "literals": self._reliability(embeddings, readout.minterms.T, labels),
            "propositions": self._reliability(embeddings, readout.masks(self.queries), relevance),
        }
        metrics = {
            "minterm_accuracy": _accuracy(readout.predict(embeddings), labels),
            "calibrated_minterm_accuracy": _accuracy(readout.predict(embeddings, True), labels),
            "literal_auprc": float(average_precision(literals, labels).nanmean()),
            "spectral/max_coherence": max_coherence(subspaces.directions),
            "spectral/semantic_coherence": semantic_coherence(
                subspaces.directions, subspaces.minterms
            ),
            "spectral/max_commutator": max_commutator(
                literal_projectors(subspaces.directions, subspaces.minterms)
            ),
            "spectral/minterms": float(len(subspaces.minterms)),
        }
        metrics |= {
            f"calibration/{kind}_of_{name}": curve.expected_error()
            for name, curves in calibration.items()
            for kind, curve in curves.items()
        }
        metrics |= self._summarize("retrieval", retrieval)
        if stage == "test":
            for kind in readout.score_kinds:
                if kind != self.score_kind:
                    scores = readout.score(embeddings, self.queries, kind)
                    other = evaluate_retrieval(scores, relevance, TOP_K)
                    metrics |= self._summarize(f"retrieval_{kind}", other)
            if readout is not subspaces:
                metrics |= self._evaluate_subspaces(embeddings, labels, relevance)
        self.log_metrics(stage, metrics)
        if isinstance(self.loss, NuclearNormLoss):
            gram = gram_matrix(embeddings, self.encode_labels(labels))
            self._log_spectrum(stage, gram, len(embeddings))
        return Evaluation(collected, retrieval, calibration)

    def _evaluate_subspaces(
        self, embeddings: Tensor, labels: Tensor, relevance: Tensor
    ) -> dict[str, float]:
        """What the subspaces say of embeddings that another readout answers for."""
        scores = self.subspaces.score(embeddings, self.queries, self.subspaces.score_kinds[0])
        accuracy = {
            "subspaces/minterm_accuracy": _accuracy(self.subspaces.predict(embeddings), labels)
        }
        return accuracy | self._summarize("subspaces", evaluate_retrieval(scores, relevance, TOP_K))

    def _reliability(
        self, embeddings: Tensor, masks: Tensor, truth: Tensor
    ) -> dict[str, Reliability]:
        probabilities = self.readout.proposition_probabilities
        as_defined, calibrated = PROBABILITIES
        return {
            as_defined: reliability(probabilities(embeddings, masks), truth),
            calibrated: reliability(probabilities(embeddings, masks, calibrated=True), truth),
        }

    def _summarize(self, prefix: str, results: RetrievalResults) -> dict[str, float]:
        return {
            "_".join(filter(None, (f"{prefix}/{measure}", group))): value
            for group, mask in self.query_groups.items()
            for measure, value in results.summarize(mask, min_positives=TOP_K).items()
        }

    def _log_spectrum(self, stage: str, gram: Tensor, num_images: int) -> None:
        """Hold the spectrum of a random batch, in expectation, against its optimum."""
        assert isinstance(self.loss, NuclearNormLoss)
        num_labels = len(gram) - self.encoder.embedding_dim
        batch_gram = gram * self.batch_size / num_images
        spectrum = compare_spectrum(batch_gram, num_labels, self.loss.alpha, self.loss.beta)
        self.spectra[stage] = spectrum
        metrics = {f"spectral/{name}": value for name, value in spectrum.summary.items()}
        self.log_metrics(stage, metrics)

    def _log_batch(self, loss: Tensor, batch: ImageBatch) -> None:
        """What one training batch is really like: the theorem asks for rank = minterms."""
        assert isinstance(self.loss, NuclearNormLoss)
        codes = self.encode_labels(batch.labels).double()
        label_gram = codes.T @ codes
        present = one_hot(
            find_minterms(batch.labels, self.subspaces.minterms), len(self.subspaces.minterms)
        ).sum(dim=0)
        if dist.is_initialized():
            dist.all_reduce(label_gram)
            dist.all_reduce(present)
        # A diagonal matrix with the singular values of the labels has the same optimum.
        labels = singular_values_from_gram(label_gram).diag().cpu()
        optimum = optimal_loss(labels, self.loss.alpha, self.loss.beta)
        metrics = {
            "batch/optimality_gap": float(loss.detach()) - optimum,
            "batch/label_rank": float(torch.linalg.matrix_rank(labels)),
            "batch/minterms": float((present > 0).sum()),
        }
        self.log_metrics("train", metrics)

    def log_metrics(self, stage: str, metrics: dict[str, float]) -> None:
        """Log values that all processes have, by their names after the stage."""
        # Values come from all processes together already; sync_dist is what Lightning asks for.
        values: dict[str, Any] = {
            f"{stage}/{name}": torch.tensor(value, dtype=torch.float64, device=self.device)
            for name, value in metrics.items()
        }
        self.log_dict(values, sync_dist=True)


def _accuracy(predicted: Tensor, labels: Tensor) -> float:
    """Share of images whose every literal is right."""
    return float((predicted == labels).all(dim=1).double().mean())


def _check_number_of_queries(num_literals: int, max_query_literals: int) -> None:
    sizes = range(1, min(num_literals, max_query_literals) + 1)
    number = sum(comb(num_literals, size) * 2**size for size in sizes)
    if number > MAX_QUERIES:
        raise ValueError(
            f"conjunctions of up to {max_query_literals} of {num_literals} literals are {number:,} "
            f"queries, more than {MAX_QUERIES:,}; set module.max_query_literals=1 or 2"
        )


def _check_prompts(
    encoder: DualEncoder, queries: Sequence[Proposition], literals: Sequence[str]
) -> None:
    """Say before the first image is embedded, not after the last, if a prompt is too long."""
    try:
        encoder.check_texts(
            [prompt(query, literals, frame=frame) for query in queries for frame in FRAMES]
        )
    except ValueError as error:
        raise ValueError(f"{error}; set module.max_query_depth=1") from error


def _check_argument(loss: nn.Module, over_relation: bool) -> None:
    """Losses of samples with labels and of views with a relation are trained by different steps."""
    takes_relation = "relation" in signature(loss.forward).parameters
    if takes_relation != over_relation:
        kind, module = ("related views", "two_views") if takes_relation else ("labels", "subspace")
        raise ValueError(f"{type(loss).__name__} is a loss over {kind}: set module={module}")


def _check_pairing(loss: nn.Module, readout: Readout, label_coding: LabelCoding) -> None:
    """These losses train one readout each, and no other loss trains those."""
    if label_coding == "captions" and not isinstance(loss, ContrastiveLoss):
        raise ValueError("module.label_coding=captions goes with loss=contrastive alone")
    if readout == "head" and not isinstance(loss, LossWithHead):
        raise ValueError(f"{type(loss).__name__} has no head: set module.readout=subspaces")
    wanted = {
        nn.CrossEntropyLoss: ("softmax", "minterms"),
        nn.BCEWithLogitsLoss: ("sigmoid", "literals"),
        ContrastiveLoss: ("text", "captions"),
        NuclearKernelLoss: ("kernel", "minterms"),
    }
    for kind, pair in wanted.items():
        if isinstance(loss, kind) != (readout == pair[0]) or (
            isinstance(loss, kind) and label_coding != pair[1]
        ):
            raise ValueError(
                f"{kind.__name__} goes with module.readout={pair[0]} and "
                f"module.label_coding={pair[1]}, not {type(loss).__name__} with {readout} and "
                f"{label_coding}"
            )


def number_of_logits(readout: Readout, minterms: Tensor) -> int | None:
    """Embedding dimensions of readouts that take embeddings as logits of minterms or literals.

    Args:
        readout: Of a module.
        minterms: (M, C).

    Returns:
        M for `softmax`, C for `sigmoid`, None where D is to be chosen.
    """
    return {"softmax": minterms.shape[0], "sigmoid": minterms.shape[1]}.get(readout)


def _check_embedding_dim(
    embedding_dim: int, minterms: Tensor, label_coding: LabelCoding, readout: Readout
) -> None:
    logits = number_of_logits(readout, minterms)
    if logits is not None and embedding_dim != logits:
        raise ValueError(
            f"a {readout} readout takes {logits} logits on this data, not {embedding_dim}; "
            "set encoder.embedding_dim=null"
        )
    if readout != "subspaces":
        return
    needed = len(minterms)
    if label_coding == "literals":
        needed = int(torch.linalg.matrix_rank(minterms.double()))
    if embedding_dim < needed:
        raise ValueError(
            f"embedding_dim {embedding_dim} is too small: {label_coding} as labels span {needed} "
            f"directions; set encoder.embedding_dim={needed} or more"
        )
