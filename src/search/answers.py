"""Models that are asked for images: the images that they rank first, and why."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig
from torch import Tensor

from src.config.command import check_device
from src.data.gallery import Gallery
from src.data.stored import file_hash
from src.metrics.retrieval import best_matches
from src.modules.image_data import ImageDataModule
from src.modules.subspace import SubspaceModule
from src.runs.load import load_checkpoint
from src.search.images import Images, open_folder, open_split
from src.subspaces.minterms import minterm_name
from src.subspaces.propositions import Proposition

SHOWN_MINTERMS = 8


class Answer(NamedTuple):
    """The best images for a proposition, best first."""

    query: Proposition
    positions: Tensor  # (k,), int64, rows of the images
    rows: list[dict[str, Any]]  # (k,), all numbers of each image, by their headings


class Probability(NamedTuple):
    """The probability of a literal or a minterm."""

    name: str
    value: float
    answers: bool  # whether it is a minterm that satisfies the proposition


class Explanation(NamedTuple):
    """The probabilities of an image."""

    literals: list[Probability]  # (C,)
    minterms: list[Probability]  # the largest, descending


class Model:
    """A checkpoint and the places that it searches, each embedded when it is first asked for.

    Args:
        path: The file of the checkpoint.
        content: The hash of that file when it was loaded.
        data: The data set of the checkpoint.
        module: The model of the checkpoint, in evaluation mode on the CPU.
        device: The device that embeds images, `cpu` or `cuda`.
        cache: The folder for embeddings of galleries.
        top_k: The most images of an answer, at least 1.
        splits: Splits of the data set to search.
        galleries: Folders to search.
        strict: Whether an image of these that cannot be decoded is an error, or left out.

    Raises:
        ValueError: If a gallery is no folder of images.
        PermissionError: If it may not be read.
    """

    def __init__(
        self,
        path: str,
        content: str,
        data: ImageDataModule,
        module: SubspaceModule,
        device: str,
        cache: Path,
        top_k: int,
        splits: Sequence[str],
        galleries: Sequence[str],
        strict: bool,
    ) -> None:
        self.path = path
        self.name = f"{type(module.loss).__name__}, score {module.score_kind}"
        self.example = data.image_set.example_queries[0]
        self.module = module
        self.top_k = top_k
        self._device = device
        folders = {folder: Gallery(Path(folder), data.image_set, strict) for folder in galleries}
        self._open = {
            folder: partial(open_folder, gallery, module, cache, content)
            for folder, gallery in folders.items()
        } | {f"{split} split": partial(open_split, data, split, module) for split in splits}
        self._images: dict[str, Images] = {}

    @property
    def places(self) -> list[str]:
        """The names of the places: galleries, then splits."""
        return list(self._open)

    @property
    def literals(self) -> tuple[str, ...]:
        """The names of the literals, (C,)."""
        return self.module.literals

    @torch.inference_mode()
    def images(self, place: str) -> Images:
        """Return the images of a place, embedded at the first call.

        Raises:
            ValueError: If there is no such split, or no image of a folder can be decoded.
            OSError: If files are missing, or embeddings cannot be written.
        """
        if place not in self._images:
            try:
                self.module.to(self._device)
                self._images[place] = self._open[place]()
            finally:
                self.module.cpu()
        return self._images[place]

    @torch.inference_mode()
    def answer(self, texts: Sequence[str], place: str) -> list[Answer]:
        """Rank the images of a place by Q propositions: (Q,).

        Raises:
            ValueError: If a text is no proposition over the literals, or no minterm satisfies it.
        """
        queries = [read_query(text, self.module) for text in texts]
        images = self.images(place)
        scores, best = best_matches(
            images.embeddings,
            lambda embeddings: self.module.score(embeddings, queries),
            self.top_k,
        )
        return [
            Answer(query, positions, self._describe(query, images, positions, values))
            for query, positions, values in zip(queries, best.T, scores.T, strict=True)
        ]

    @torch.inference_mode()
    def explain(self, text: str, place: str, position: int) -> Explanation:
        """Give the probabilities of the literals and minterms of an image.

        Args:
            text: The proposition that minterms satisfy or not.
            place: The place of the image.
            position: The row of the image there.
        """
        embedding = self.images(place).embeddings[position : position + 1]
        readout, literals = self.module.readout, self.literals
        (of_literals,) = readout.literal_probabilities(embedding)
        of_minterms, minterms = readout.top_minterms(embedding[0], SHOWN_MINTERMS)
        holds = Proposition(text, literals).holds(minterms)
        return Explanation(
            [
                Probability(name, value, False)
                for name, value in zip(literals, of_literals.tolist(), strict=True)
            ],
            [
                Probability(minterm_name(minterm, literals), value, answers)
                for minterm, value, answers in zip(
                    minterms, of_minterms.tolist(), holds.tolist(), strict=True
                )
            ],
        )

    def _describe(
        self, query: Proposition, images: Images, best: Tensor, scores: Tensor
    ) -> list[dict[str, Any]]:
        """A row for each of the best images (k,) with their scores (k,)."""
        embeddings = images.embeddings[best]
        readout = self.module.readout
        probabilities = readout.score(embeddings, [query], "probability")[:, 0]
        literals = readout.literal_probabilities(embeddings)
        rows = []
        for place, position in enumerate(best.tolist()):
            row = {
                "query": query.text,
                "rank": place + 1,
                "image": images.names[position] if images.names else position,
                "score": float(scores[place]),
                "probability": float(probabilities[place]),
            }
            if images.labels is not None:
                truth = images.labels[position]
                row["answers"] = bool(query.holds(truth.unsqueeze(0)))
                row["literals"] = minterm_name(truth, self.literals)
            named = zip(self.literals, literals[place].tolist(), strict=True)
            rows.append(row | {f"p({name})": value for name, value in named})
        return rows


def load_models(config: DictConfig, splits: Sequence[str], galleries: Sequence[str]) -> list[Model]:
    """Load the checkpoints `ckpt_path` and, if it is not null, `beside` of a config.

    Args:
        config: The config of a command, with `data_dir`, `device`, `cache_dir`, `top_k` and
            `strict`, too.
        splits: Splits of the data set to search.
        galleries: Folders to search.

    Raises:
        CheckpointError: If a file is no checkpoint.
        ValueError: If `top_k`, `device` or `strict` is none, a gallery is no folder of images, a
            file changes while it is read, or the models have different literals.
    """
    if not isinstance(config.top_k, int) or config.top_k < 1:
        raise ValueError(f"top_k must be a whole number of at least 1, not {config.top_k!r}")
    if not isinstance(config.strict, bool):
        raise ValueError(f"strict must be true or false, not {config.strict!r}")
    check_device(config.device)
    paths = [config.ckpt_path] if config.beside is None else [config.ckpt_path, config.beside]
    loaded = {path: load_with_hash(path, config.data_dir) for path in paths}
    first = loaded[paths[0]][2].literals
    for path, (_, _, module) in loaded.items():
        if module.literals != first:
            raise ValueError(
                f"models beside each other need the same literals: {paths[0]} has "
                f"{', '.join(first)}; {path} has {', '.join(module.literals)}"
            )
    places = (splits, galleries, config.strict)
    return [
        Model(path, *parts, config.device, Path(config.cache_dir), config.top_k, *places)
        for path, parts in loaded.items()
    ]


def load_with_hash(path: str, data_dir: str | None) -> tuple[str, ImageDataModule, SubspaceModule]:
    """Load a checkpoint, as `load_checkpoint` does, with the hash of its file.

    Raises:
        CheckpointError: If the file is no checkpoint.
        ValueError: If another one takes its place meanwhile, as in a run that goes on.
    """
    before = file_hash(Path(path)) if Path(path).is_file() else None
    _, data, module = load_checkpoint(path, data_dir)
    content = file_hash(Path(path))
    if content != before:
        raise ValueError(f"{path} was written while it was read: ask again")
    return content, data, module


def check_same_images(place: str, model: Model, other: Model) -> None:
    """Raise ValueError if a place holds other images for one model than for another."""
    images, others = model.images(place), other.images(place)
    alike = images.names == others.names
    if alike and images.labels is not None and others.labels is not None:
        alike = torch.equal(images.labels, others.labels)
    if not alike:
        raise ValueError(f"the {place} of {model.path} holds other images than {other.path}'s")


def read_query(text: str, module: SubspaceModule) -> Proposition:
    """Read a proposition that a module can rank by.

    Raises:
        PropositionError: If the text is not a proposition over the literals of the module.
        ValueError: If no minterm that gets a probability satisfies it.
    """
    query = Proposition(text, module.literals)
    if not module.readout.can_hold(query):
        raise ValueError(f"no minterm that the model knows satisfies {text!r}")
    return query


def show(value: Any) -> str:
    """A value of a row as text: floats with four decimals."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
