"""Models that are asked for images: the images that they rank first, and why."""

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig
from torch import Tensor

from src.config.command import check_device
from src.data.gallery import Gallery
from src.data.stored import file_hash
from src.metrics.names import CALIBRATED
from src.metrics.retrieval import best_matches
from src.modules.image_data import EVAL_BATCH_SIZE, ImageDataModule
from src.modules.subspace import SubspaceModule
from src.runs.latest import find_checkpoint
from src.runs.load import load_checkpoint
from src.search.images import Images, open_folder, open_split
from src.search.index import Index
from src.subspaces.minterms import minterm_name
from src.subspaces.propositions import Proposition

SHOWN_MINTERMS = 8
SPLITS = {f"{split} split": split for split in ("test", "val", "train")}  # by names of places
INDEXES = ("exact", "faiss")
SEARCHED = ("subspaces", "discriminant", "literal_discriminants", "softmax", "sigmoid")
CANDIDATES = 1000  # as in conf/
TOO_FEW = "the {k} best need as many candidates: set candidates={k} or more"
CACHE_DIR = f"{os.environ.get('DATA_DIR', 'data')}/cache"  # as in conf/

Ranked = tuple[Tensor, Tensor]  # scores and positions of the best images of a query, best first


class Answer(NamedTuple):
    """The best images for a proposition, best first."""

    query: Proposition
    positions: Tensor  # (k,), int64, rows of the images
    rows: list[dict[str, Any]]  # (k,), all numbers of each image, by their headings


class Probability(NamedTuple):
    """The calibrated probability of a literal or a minterm."""

    name: str
    value: float
    answers: bool  # whether it is a minterm that satisfies the proposition


class Explanation(NamedTuple):
    """The calibrated probabilities of an image."""

    literals: list[Probability]  # (C,)
    minterms: list[Probability]  # the largest, descending


class Model:
    """A trained model that is asked for images, and for probabilities.

    A place to search is a folder, with all folders below it, or a split of the data set that the
    model was trained on: `test split`, `val split` or `train split`. It is embedded when it is
    first asked for. Threads may ask at the same time.

    All its probabilities are calibrated on the validation split; the score that it ranks by is that
    of its training.

    Args:
        path: The file that the model was loaded from.
        content: The hash of that file when it was loaded.
        data: The data set that the model was trained on.
        module: The model, in evaluation mode on the CPU.
        device: The device that embeds images, `cpu` or `cuda`.
        cache: The folder for embeddings of galleries.
        strict: Whether an image of a folder that cannot be decoded is an error, or left out.
        candidates: The number of images that an index puts forward, see `src.search.index`; None
            for scores of all images.

    Attributes:
        name: The loss that trained the model, and the score that it ranks by.
        literals: The names of the literals, (C,).
        example: A proposition to begin with.
        item: The word for what it is asked for, such as image.
    """

    def __init__(
        self,
        path: str,
        content: str,
        data: ImageDataModule,
        module: SubspaceModule,
        device: str,
        cache: Path,
        strict: bool,
        candidates: int | None,
    ) -> None:
        self.path = path
        self.name = f"{type(module.loss).__name__}, score {module.score_kind}"
        self.literals = module.literals
        self.example = data.image_set.example_queries[0]
        self.item = data.image_set.item
        self.module = module
        self._data = data
        self._device = device
        self._content = content
        self._cache = cache
        self._strict = strict
        self._candidates = candidates
        self._open: dict[str, Callable[..., Images]] = {}
        self._images: dict[str, Images] = {}
        self._indexes: dict[str, Index] = {}
        self._embedding: defaultdict[str, Lock] = defaultdict(Lock)  # a place at a time

    def open(self, place: str) -> None:
        """Find the images of a place, without embedding them.

        Raises:
            ValueError: If it is neither a split nor a folder of images.
        """
        if place in self._open:
            return
        if place in SPLITS:
            self._open[place] = partial(open_split, self._data, SPLITS[place])
        else:
            gallery = Gallery(Path(place), self._data.image_set, self._strict)
            self._open[place] = partial(
                open_folder, gallery, cache=self._cache, model=self._content
            )

    @torch.inference_mode()
    def images(self, place: str) -> Images:
        """Return the images of a place, embedded at the first call.

        Raises:
            ValueError: As `open`, or if no image of a folder can be decoded.
            OSError: If files are missing, or embeddings cannot be written.
        """
        with self._embedding[place]:
            if place not in self._images:
                self.open(place)
                self._images[place] = self._open[place](module=self._embedder())
            return self._images[place]

    @torch.inference_mode()
    def embed(self, images: str | Tensor) -> Tensor:
        """Embed images of a place, or pixels as the data set stores them: (N, D), float32.

        Args:
            images: The place, or (N, channels, height, width), uint8.

        Raises:
            ValueError: If pixels have another shape or type, or as `images`.
            OSError: If files are missing.
        """
        if isinstance(images, str):
            return self.images(images).embeddings[:]
        shape = self._data.image_set.stored_shape
        if images.shape[1:] != shape or images.dtype != torch.uint8:
            raise ValueError(
                f"images are (N, {', '.join(map(str, shape))}), uint8, not "
                f"{tuple(images.shape)}, {images.dtype}"
            )
        module = self._embedder()
        parts = [module(part.to(self._device)).cpu() for part in images.split(EVAL_BATCH_SIZE)]
        return torch.cat(parts)

    def search(self, query: str, place: str, k: int = 10) -> Answer:
        """Rank the images of a place by a proposition, and describe the k best.

        Raises:
            ValueError: If the query is no proposition over the literals or no minterm satisfies it,
                k is less than 1, or as `images`. With an index, if there are fewer candidates than
                k, or too many literals in the query for it.
            OSError: If files are missing.
        """
        (answer,) = self.search_all([query], place, k)
        return answer

    @torch.inference_mode()
    def search_all(self, queries: Sequence[str], place: str, k: int = 10) -> list[Answer]:
        """Rank the images of a place by Q propositions, as `search` does by one: (Q,)."""
        if k < 1:
            raise ValueError(f"k must be at least 1, not {k}")
        read = [read_query(query, self.module) for query in queries]
        rank = self._rank_all if self._candidates is None else self._rank_candidates
        ranked = rank(read, place, k)
        images = self.images(place)
        return [
            Answer(query, positions, self._describe(query, images, positions, scores))
            for query, (scores, positions) in zip(read, ranked, strict=True)
        ]

    @torch.inference_mode()
    def probabilities(self, query: str, images: str | Tensor) -> Tensor:
        """The calibrated probability that each image answers a proposition, (N,), float64.

        Args:
            query: The proposition.
            images: A place, or pixels, as in `embed`.

        Raises:
            ValueError: If the query is no proposition over the literals, or as `embed`.
            OSError: If files are missing.
        """
        asked = [Proposition(query, self.literals)]
        return self.module.readout.score(self.embed(images), asked, CALIBRATED)[:, 0]

    @torch.inference_mode()
    def explain(self, text: str, place: str, position: int) -> Explanation:
        """Give the calibrated probabilities of the literals and minterms of an image.

        Args:
            text: The proposition that minterms satisfy or not.
            place: The place of the image.
            position: The row of the image there.
        """
        embedding = self.images(place).embeddings[position : position + 1]
        readout, literals = self.module.readout, self.literals
        (of_literals,) = readout.literal_probabilities(embedding, calibrated=True)
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

    def _rank_all(self, queries: Sequence[Proposition], place: str, k: int) -> list[Ranked]:
        """Scores and positions of the best images, each (k,), for every query."""
        scores, best = best_matches(
            self.images(place).embeddings,
            lambda embeddings: self.module.score(embeddings, queries),
            k,
        )
        return list(zip(scores.T, best.T, strict=True))

    def _rank_candidates(self, queries: Sequence[Proposition], place: str, k: int) -> list[Ranked]:
        """As `_rank_all`, of the images that an index puts forward."""
        assert self._candidates is not None
        if k > self._candidates:
            raise ValueError(TOO_FEW.format(k=k))
        readout = self.module.readout
        vectors = [readout.search_vectors(query) for query in queries]
        images = self.images(place)
        with self._embedding[place]:
            if place not in self._indexes:
                unit = readout.searched == "at length 1"
                self._indexes[place] = Index(images.embeddings, unit, self._candidates)
        ranked = []
        for query, asked in zip(queries, vectors, strict=True):
            score = partial(self.module.score, queries=[query])
            scores, best = self._indexes[place].best_matches(asked, score, k)
            ranked.append((scores[:, 0], best[:, 0]))
        return ranked

    def _embedder(self) -> SubspaceModule:
        """The module on the device that embeds; answers go on with that on the CPU meanwhile."""
        return self.module if self._device == "cpu" else deepcopy(self.module).to(self._device)

    def _describe(
        self, query: Proposition, images: Images, best: Tensor, scores: Tensor
    ) -> list[dict[str, Any]]:
        """A row for each of the best images (k,) with their scores (k,)."""
        embeddings = images.embeddings[best]
        readout = self.module.readout
        probabilities = readout.score(embeddings, [query], CALIBRATED)[:, 0]
        literals = readout.literal_probabilities(embeddings, calibrated=True)
        rows = []
        for place, position in enumerate(best.tolist()):
            row = {
                "query": query.text,
                "rank": place + 1,
                images.item: images.names[position] if images.names else position,
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


def load(
    path: str,
    data_dir: str | None = None,
    device: str = "cpu",
    cache_dir: str = CACHE_DIR,
    strict: bool = False,
    index: str = "exact",
    candidates: int = CANDIDATES,
) -> Model:
    """Load a trained model, from a checkpoint or an exported file.

    Args:
        path: The file, or `latest` for the checkpoint of the newest finished run.
        data_dir: The folder of the data sets now; None where they were in training. Folders of
            images are searched without.
        device: The device that embeds images, `cpu` or `cuda`.
        cache_dir: The folder where embeddings of searched folders are kept.
        strict: Whether an image of a folder that cannot be decoded is an error, or left out.
        index: `exact` scores every image for a query; `faiss` those that an index puts forward,
            see `src.search.index`.
        candidates: The number of images that the index puts forward for each of its vectors.

    Raises:
        CheckpointError: If the file is missing, or no model of this project.
        ValueError: If there is no such device or index, the readout has no vectors for one, or as
            `load_with_hash`.
    """
    check_device(device)
    if index not in INDEXES:
        raise ValueError(f"index must be {' or '.join(INDEXES)}, not {index!r}")
    if candidates < 1:
        raise ValueError(f"candidates must be at least 1, not {candidates}")
    found = find_checkpoint(path)
    content, data, module = load_with_hash(found, data_dir)
    if index == "faiss" and module.readout.searched is None:
        raise ValueError(
            f"index=faiss goes with readout={' or '.join(SEARCHED)}, which have vectors to search "
            f"by, and {found} has readout={module.readout.name}: set index=exact"
        )
    shortlist = candidates if index == "faiss" else None
    return Model(found, content, data, module, device, Path(cache_dir), strict, shortlist)


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


def load_models(config: DictConfig, places: Sequence[str]) -> list[Model]:
    """Load the checkpoints `ckpt_path` and, if it is not null, `beside` of a config.

    Args:
        config: The config of a command, with `data_dir`, `device`, `cache_dir`, `top_k`, `strict`,
            `index` and `candidates`, too.
        places: The places that will be searched.

    Raises:
        CheckpointError: If a file is no checkpoint.
        ValueError: If `top_k`, `device`, `index` or `candidates` is none, a folder holds no
            images, a file changes while it is read, or the models have different literals.
    """
    if not isinstance(config.top_k, int) or config.top_k < 1:
        raise ValueError(f"top_k must be a whole number of at least 1, not {config.top_k!r}")
    if config.index != "exact" and config.candidates < config.top_k:
        raise ValueError(TOO_FEW.format(k=config.top_k))
    paths = [config.ckpt_path] if config.beside is None else [config.ckpt_path, config.beside]
    settings = (config.data_dir, config.device, config.cache_dir, config.strict)
    models = [
        load(path, *settings, config.index, config.candidates)
        for path in dict.fromkeys(map(find_checkpoint, paths))
    ]
    for model in models:
        if model.literals != models[0].literals:
            raise ValueError(
                f"models beside each other need the same literals: {models[0].path} has "
                f"{', '.join(models[0].literals)}; {model.path} has {', '.join(model.literals)}"
            )
        for place in places:
            model.open(place)
    return models


def split_place(split: str) -> str:
    """The name of the place that is a split.

    Raises:
        ValueError: If there is no such split.
    """
    for place, name in SPLITS.items():
        if name == split:
            return place
    raise ValueError(f"split must be one of {', '.join(SPLITS.values())}, not {split!r}")


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
