"""What is searched, a split or a folder of images, and what a model says of the best matches."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.progress import track
from torch import Tensor

from src.data.files import StoredRows
from src.data.gallery import Gallery
from src.metrics.retrieval import best_matches
from src.modules.image_data import ImageDataModule
from src.modules.subspace import SubspaceModule
from src.subspaces.minterms import minterm_name
from src.subspaces.propositions import Proposition


class Images(NamedTuple):
    """What is searched: a split, whose labels are known, or a folder."""

    embeddings: Tensor | StoredRows  # (N, D), on the CPU
    pixels: Any  # maps positions (n,) to images (n, channels, height, width), uint8
    names: Sequence[str] | None  # (N,), paths of a folder
    labels: Tensor | None  # (N, C), of a split


def open_split(data: ImageDataModule, split: str, module: SubspaceModule) -> Images:
    """Embed a split of a data set, on the device of the module.

    Raises:
        ValueError: If there is no such split.
        OSError: If files of the data set are missing.
    """
    loader = data.split_dataloader(split)
    images = data.image_set.splits[split]  # with the labels of the set, not wrong ones
    parts = [
        module(batch.images.to(module.device)).cpu()
        for batch in track(loader, f"embedding {len(images):,} images", transient=True)
    ]
    return Images(torch.cat(parts), lambda chosen: images[chosen].images, None, images.labels)


def open_folder(gallery: Gallery, module: SubspaceModule, cache: Path, checkpoint: Path) -> Images:
    """Embed a folder, on the device of the module, or read its embeddings: see `Gallery.embed`.

    Raises:
        DamagedImageError: If an image cannot be decoded; it is named.
    """
    embeddings = gallery.embed(module, cache, checkpoint)
    names = [str(path) for path in gallery.files.paths]
    return Images(embeddings, gallery.files.__getitem__, names, None)


def model_name(module: SubspaceModule) -> str:
    """What tells models apart: the loss, and the score that ranks."""
    return f"{type(module.loss).__name__}, score {module.score_kind}"


def check_same_literals(modules: Mapping[str, SubspaceModule]) -> None:
    """Raise ValueError unless all modules, by their checkpoints, have the same literals."""
    (path, first), *others = modules.items()
    for other_path, other in others:
        if first.literals != other.literals:
            raise ValueError(
                f"models beside each other need the same literals: {path} has "
                f"{', '.join(first.literals)}; {other_path} has {', '.join(other.literals)}"
            )


def check_same_images(place: str, images: Images, path: str, others: Images, other: str) -> None:
    """Raise ValueError if a split holds other images for one checkpoint than for another."""
    if images.labels is None or others.labels is None:  # folders
        return
    if not torch.equal(images.labels, others.labels):
        raise ValueError(f"the {place} of {path} holds other images than {other}'s")


def check_top_k(top_k: Any) -> None:
    """Raise ValueError unless a number of matches to show is one."""
    if not isinstance(top_k, int) or top_k < 1:
        raise ValueError(f"top_k must be a whole number of at least 1, not {top_k!r}")


def read_query(text: str, module: SubspaceModule) -> Proposition:
    """A proposition that a module can rank by.

    Raises:
        PropositionError: If the text is not a proposition over the literals of the module.
        ValueError: If none of its minterms satisfies it.
    """
    query = Proposition(text, module.literals)
    if not module.readout.masks([query]).any():
        raise ValueError(f"no minterm of the training set satisfies {text!r}")
    return query


def rank(
    queries: Sequence[Proposition], images: Images, module: SubspaceModule, top_k: int
) -> tuple[Tensor, Tensor]:
    """Scores and positions of the best images for Q queries, both (min(top_k, N), Q)."""
    return best_matches(
        images.embeddings, lambda embeddings: module.score(embeddings, queries), top_k
    )


def describe(
    query: Proposition, images: Images, module: SubspaceModule, best: Tensor, scores: Tensor
) -> list[dict[str, Any]]:
    """A row for each of the best images (k,) with their scores (k,)."""
    embeddings = images.embeddings[best]
    probabilities = module.readout.score(embeddings, [query], "probability")[:, 0]
    literals = module.readout.literal_probabilities(embeddings)
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
            row["literals"] = minterm_name(truth, module.literals)
        named = zip(module.literals, literals[place].tolist(), strict=True)
        rows.append(row | {f"p({name})": value for name, value in named})
    return rows
