"""A small transformer over words."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

WIDTH, HEADS, LAYERS = 64, 4, 2


class TextEncoder(nn.Module):
    """Maps sentences of a known vocabulary to embeddings.

    Args:
        words: All words of the vocabulary.
        embedding_dim: D.
        max_words: Largest number of words in a sentence.
    """

    def __init__(self, words: Sequence[str], embedding_dim: int, max_words: int = 1024) -> None:
        super().__init__()
        self.index = {word: number for number, word in enumerate(words, start=1)}  # 0 pads
        self.max_words = max_words
        self.words = nn.Embedding(len(words) + 1, WIDTH, padding_idx=0)
        self.places = nn.Parameter(0.02 * torch.randn(max_words, WIDTH))
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 4 * WIDTH, dropout=0.0, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, embedding_dim)

    def forward(self, sentences: Sequence[str]) -> Tensor:
        """Map n sentences to embeddings (n, D), of any length.

        Raises:
            ValueError: If a sentence is too long or holds a word that is not in the vocabulary.
        """
        tokens = pad_sequence([self._tokens(text) for text in sentences], batch_first=True)
        tokens = tokens.to(self.places.device)
        padding = tokens == 0
        states = self.words(tokens) + self.places[: tokens.shape[1]]
        states = self.layers(states, src_key_padding_mask=padding)
        kept = (~padding).unsqueeze(-1)
        return self.head((states * kept).sum(dim=1) / kept.sum(dim=1))

    def _tokens(self, sentence: str) -> Tensor:
        words = sentence.split()
        if not 0 < len(words) <= self.max_words:
            raise ValueError(f"a prompt has {len(words)} words, between 1 and {self.max_words} fit")
        unknown = [word for word in words if word not in self.index]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is not in the vocabulary of the text encoder")
        return torch.tensor([self.index[word] for word in words])
