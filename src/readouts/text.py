"""Comparison of images with texts, as CLIP does zero-shot."""

from collections.abc import Callable, Sequence
from math import acos

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from src.encoders.encoder import DualEncoder, Encoder
from src.encoders.text import TextEncoder
from src.losses.contrastive import ContrastiveLoss
from src.readouts.minterms import MintermReadout
from src.readouts.prompts import (
    FRAMES,
    captions,
    minterm_captions,
    prompt,
    split_negation,
    vocabulary,
)
from src.readouts.readout import PROBABILITIES
from src.subspaces.propositions import Proposition, evaluate_independent


class PromptReadout(MintermReadout):
    """Base of readouts that compare images with texts; a subclass says how each becomes a vector.

    Scores of a proposition, from cosine similarities s of an image with texts:

    - `prompt`: with the prompt of the proposition, negation kept.
    - `prompt_ensemble`: with the mean direction of its prompts in several sentences.
    - `prompt_without_negation`: with "not" left out, as the authors do.
    - `arithmetic`: literals count s, negated -s; `&` adds, `|` takes the larger.
    - `caps`: of "a and not b", with the direction near a that avoids b, see `between_caps`; where
      no negation, or a proposition that is no such conjunction, is asked, as `prompt`.
    - `probability`, `calibrated`: of the minterms that satisfy it, see `minterm_logits`.
    - `literal_product`: p(literal) is a softmax over its prompt and that of its negation; p q for
      `&`, p + q - p q for `|`, 1 - p for `~`.

    Losses see captions of labels, drawn anew for each batch, as `embed_texts` has them.

    Args:
        minterms: (M, C).
        literals: (C,), names.
        absent_mentioned: Chance that a caption in training says "not" of a literal that is false.
        cap_cosine: Least cosine within the caps of score `caps`.

    Raises:
        ValueError: If the chance is not between 0 and 1, or the cosine not at least 0 and below 1.
    """

    label_codings = ("captions",)
    score_kinds = (
        "prompt",
        "prompt_ensemble",
        "prompt_without_negation",
        "arithmetic",
        "caps",
        "literal_product",
        *PROBABILITIES,
    )

    def __init__(
        self,
        minterms: Tensor,
        literals: Sequence[str],
        absent_mentioned: float,
        cap_cosine: float,
    ) -> None:
        if not 0 <= absent_mentioned <= 1:
            raise ValueError(f"absent_mentioned must be between 0 and 1, not {absent_mentioned}")
        if not 0 <= cap_cosine < 1:
            raise ValueError(f"cap_cosine must be at least 0 and below 1, not {cap_cosine}")
        super().__init__(minterms)
        self.cap_cosine = cap_cosine
        self.absent_mentioned = absent_mentioned
        self.literals = tuple(literals)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Vectors of n texts, of any length: (n, E)."""
        raise NotImplementedError

    def embed_images(self, embeddings: Tensor) -> Tensor:
        """Vectors of images, which texts are compared with, of embeddings (N, D): (N, E)."""
        raise NotImplementedError

    def scale(self) -> Tensor | float:
        """The inverse temperature of similarities."""
        raise NotImplementedError

    def encode_labels(self, labels: Tensor, minterms: Tensor, label_coding: str) -> Tensor:
        """Vectors of captions of labels (N, C), drawn anew: (N, E)."""
        del minterms, label_coding
        return self.embed_texts(captions(labels, self.literals, self.absent_mentioned))

    def minterm_logits(self, embeddings: Tensor) -> Tensor:
        """Similarities with the captions of minterms, which name what is there: (N, M)."""
        texts = minterm_captions(self.minterms, self.literals)
        return self.scale() * self._similarities(embeddings, texts)

    def literal_probabilities(self, embeddings: Tensor, calibrated: bool = False) -> Tensor:
        if calibrated:
            return super().literal_probabilities(embeddings, calibrated)
        texts = [
            prompt(Proposition(sign + literal, self.literals), self.literals)
            for sign in ("", "~")
            for literal in self.literals
        ]
        plain, negated = self._similarities(embeddings, texts).chunk(2, dim=1)
        return (self.scale() * (plain - negated)).sigmoid()

    def score(self, embeddings: Tensor, propositions: Sequence[Proposition], kind: str) -> Tensor:
        if kind in PROBABILITIES:
            return super().score(embeddings, propositions, kind)
        if kind.startswith("prompt"):
            frames = FRAMES if kind == "prompt_ensemble" else FRAMES[:1]
            negation = kind != "prompt_without_negation"
            directions = [
                self._directions(
                    [prompt(query, self.literals, negation, frame) for query in propositions]
                )
                for frame in frames
            ]
            return self._cosines(embeddings, torch.stack(directions).mean(dim=0))
        if kind == "caps":
            return self._cosines(embeddings, self._directions_between_caps(propositions))
        if kind == "literal_product":
            return evaluate_independent(propositions, self.literal_probabilities(embeddings))
        texts = [prompt(Proposition(name, self.literals), self.literals) for name in self.literals]
        literals = self._similarities(embeddings, texts)
        scores = [
            proposition.evaluate(
                literal=lambda column: literals[:, column],
                constant=lambda value: literals.new_full((len(literals),), 2.0 * value - 1),
                complement=torch.neg,
                meet=torch.add,
                join=torch.maximum,
            )
            for proposition in propositions
        ]
        return torch.stack(scores, dim=1)

    def _directions_between_caps(self, propositions: Sequence[Proposition]) -> Tensor:
        """Directions of score `caps`: (Q, D), float64."""
        near = [prompt(query, self.literals) for query in propositions]
        avoided: dict[int, str] = {}
        for row, query in enumerate(propositions):
            parts = split_negation(query, self.literals)
            if parts and parts.denied:
                near[row] = FRAMES[0].format(parts.affirmed or "anything")
                avoided[row] = FRAMES[0].format(parts.denied)
        directions = self._directions(near)
        if avoided:
            rows = list(avoided)
            others = self._directions(list(avoided.values()))
            directions[rows] = between_caps(directions[rows], others, self.cap_cosine)
        return directions

    def _similarities(self, embeddings: Tensor, texts: Sequence[str]) -> Tensor:
        """Cosines of images (N, D) with n texts: (N, n), float64."""
        return self._cosines(embeddings, self._directions(texts))

    def _directions(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors of n texts: (n, E), float64."""
        return normalize(self.embed_texts(texts).double(), dim=1)

    def _cosines(self, embeddings: Tensor, directions: Tensor) -> Tensor:
        vectors = self.embed_images(embeddings).double()
        return normalize(vectors, dim=1) @ normalize(directions, dim=1).T


class TextReadout(PromptReadout):
    """Images are compared with texts whose encoder is trained along, as CLIP's is.

    Args:
        minterms: (M, C).
        literals: (C,), names.
        encoder: The encoder of images, with D dimensions. One that came with an encoder of texts
            lends it, and its temperature; beside any other a small one is trained along.
        loss: The loss that learns the inverse temperature of similarities.
        absent_mentioned: Chance that a caption in training says "not" of a literal that is false.
        cap_cosine: Least cosine within the caps of score `caps`.

    Raises:
        ValueError: If the chance is not between 0 and 1, or the cosine not at least 0 and below 1.
    """

    name = "text"
    trained_by = (ContrastiveLoss,)

    def __init__(
        self,
        minterms: Tensor,
        literals: Sequence[str],
        encoder: Encoder,
        loss: ContrastiveLoss,
        absent_mentioned: float,
        cap_cosine: float,
    ) -> None:
        super().__init__(minterms, literals, absent_mentioned, cap_cosine)
        self.text: Callable[[Sequence[str]], Tensor]
        self.check_texts: Callable[[Sequence[str]], None] | None = None
        if isinstance(encoder, DualEncoder):
            nn.init.constant_(loss.log_scale, encoder.log_scale)
            self.text, self.check_texts = encoder.encode_texts, encoder.check_texts
        else:
            self.text = TextEncoder(vocabulary(literals), encoder.embedding_dim)
        self._scale = loss.scale

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        return self.text(texts)

    def embed_images(self, embeddings: Tensor) -> Tensor:
        return embeddings

    def scale(self) -> Tensor:
        return self._scale().double()

    def check_queries(self, queries: Sequence[Proposition]) -> None:
        """Say before the first image is embedded, not after the last, if a prompt is too long."""
        if self.check_texts is None:
            return
        try:
            self.check_texts(
                [prompt(query, self.literals, frame=frame) for query in queries for frame in FRAMES]
            )
        except ValueError as error:
            raise ValueError(f"{error}; set module.max_query_depth=1") from error


def between_caps(near: Tensor, avoided: Tensor, cosine: float) -> Tensor:
    """Directions within a spherical cap that stay out of another one, (3) of [0].

    A cap of radius alpha = arccos(t) lies around a direction a, and one around n. With theta the
    angle between a and n,

        d = sin(alpha + theta / 2) a - sin(alpha - theta / 2) n

    scaled to length 1, is the direction in the first cap and out of the second that is farthest
    from the edges of both. Where theta is at least 2 alpha, as caps do not meet, it is a. At t = 0,
    d points along a - n.

    Args:
        near: a, (Q, D), of length 1.
        avoided: n, (Q, D), of length 1.
        cosine: t, at least 0 and below 1.

    Returns:
        (Q, D), of length 1, or 0 where a and n are the same.

    References:
        [0] Kazemi Ranjbar et al., *SpaceVLM: Sub-Space Modeling of Negation in Vision-Language
        Models*, 2025, https://arxiv.org/abs/2511.12331
    """
    radius = acos(cosine)
    chords = (near - avoided).norm(dim=1, keepdim=True)  # exactly 0 where they are the same
    half = (chords / 2).clamp(max=1).asin().clamp(max=radius)  # at the radius d is a
    return normalize((radius + half).sin() * near - (radius - half).sin() * avoided, dim=1)
