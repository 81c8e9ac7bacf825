"""Captions as labels of real value, and the linear map that leads from images to them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from src.encoders.tfidf import TfidfEncoder
from src.losses.contrastive import INITIAL_TEMPERATURE
from src.losses.nuclear import NuclearNormLoss
from src.readouts.moments import Moments, with_constant
from src.readouts.prompts import captions, phrase, vocabulary
from src.readouts.text import PromptReadout

DRAWS = 32  # captions of each minterm that TF-IDF is fitted to
SEED = 0  # of these captions, the same in every run


class CaptionReadout(PromptReadout):
    """Images are compared with texts in the space of TF-IDF, which the loss has for labels.

    Y holds the vectors y_i of captions of training images, and nothing of them is trained. Least
    squares lead from embeddings, X, to them:

        W* = argmin_W ||Y - W [1; X]||_F = Y [1; X]^T ([1; X] [1; X]^T)^+

    An image is then W* [1; x], and compared with the vectors of prompts by the scores of
    `PromptReadout`, with the temperature that CLIP's loss starts at.

    TF-IDF is fitted to captions of the minterms of training, each as often. Its terms are words,
    literals, and literals after "not", so that a negation is no matter of words alone.

    Args:
        minterms: (M, C).
        literals: (C,), names.
        embedding_dim: D.
        components: K, the dimensions of Y.
        absent_mentioned: Chance that a caption in training says "not" of a literal that is false.
        cap_cosine: Least cosine within the caps of score `caps`.

    Raises:
        ValueError: If the chance is not between 0 and 1, the cosine not at least 0 and below 1, or
            there are fewer terms than K.
    """

    name = "captions"
    goes_with = (NuclearNormLoss,)

    map: Tensor  # (1 + D, K), W* transposed, float64, NaN until fitted

    def __init__(
        self,
        minterms: Tensor,
        literals: Sequence[str],
        embedding_dim: int,
        components: int,
        absent_mentioned: float,
        cap_cosine: float,
    ) -> None:
        super().__init__(minterms, literals, absent_mentioned, cap_cosine)
        said = [phrase(literal) for literal in literals]
        terms = dict.fromkeys([*vocabulary(literals), *said, *(f"not {name}" for name in said)])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            drawn = captions(minterms.repeat(DRAWS, 1), literals, absent_mentioned)
        self.text = TfidfEncoder(list(terms), drawn, components)
        self._moments = Moments(components, 1 + embedding_dim)
        self.register_buffer("map", torch.full((1 + embedding_dim, components), torch.nan).double())

    def check_width(self, embedding_dim: int, minterms: Tensor, label_coding: str) -> None:
        components = len(self.text.components)
        if embedding_dim < components:
            raise ValueError(
                f"embedding_dim {embedding_dim} is too small: captions as labels span {components} "
                f"dimensions; set encoder.embedding_dim={components} or more, or fewer "
                "readout.components"
            )

    def reset(self) -> None:
        """Forget what was accumulated. The fitted map stays."""
        self._moments.reset()

    def update(self, embeddings: Tensor, labels: Tensor) -> None:
        """`update_at` the first positions of a split."""
        self.update_at(torch.arange(len(labels)), embeddings, labels)

    @torch.no_grad()
    def update_at(self, indices: Tensor, embeddings: Tensor, labels: Tensor) -> None:
        """Add a batch of embeddings (N, D) with captions of labels (N, C), drawn by positions (N,):
        whatever batches or processes they come in, each image has the same.
        """
        texts = captions(labels, self.literals, self.absent_mentioned, indices)
        self._moments.update(self.embed_texts(texts), with_constant(embeddings))

    @torch.no_grad()
    def fit(self) -> None:
        """Solve for the map, over all processes, and reset."""
        _, products, squares = self._moments.reduce()
        self.map.copy_(torch.linalg.pinv(squares, hermitian=True) @ products.T)
        self.reset()

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        return self.text(texts)

    def embed_images(self, embeddings: Tensor) -> Tensor:
        """W* [1; x] of embeddings (N, D): (N, K).

        Raises:
            RuntimeError: If nothing was fitted.
        """
        self.check_fitted(~self.map.isnan())
        return with_constant(embeddings) @ self.map

    def scale(self) -> float:
        return 1 / INITIAL_TEMPERATURE
