"""Sentences as vectors that nothing trains: TF-IDF and truncated SVD."""

from collections.abc import Sequence

import torch
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from torch import Tensor, nn
from torch.nn.functional import normalize


class TfidfEncoder(nn.Module):
    """Latent semantic analysis [0]: counts of terms, those that few texts have weighing more, at
    length 1, along the leading right singular vectors of the texts that it was fitted to.

    With all components inner products are those of TF-IDF itself. What was fitted lies in buffers,
    and so in checkpoints.

    Args:
        terms: V words, or several of them with a space between.
        texts: What it is fitted to.
        components: K, at most V.

    Raises:
        ValueError: If K is not between 1 and V.

    Reference:
        [0] Deerwester et al., *Indexing by Latent Semantic Analysis*, Journal of the American
        Society for Information Science, 1990
    """

    frequencies: Tensor  # (V,), inverse document frequencies, float64
    components: Tensor  # (K, V), float64

    def __init__(self, terms: Sequence[str], texts: Sequence[str], components: int) -> None:
        super().__init__()
        if not 1 <= components <= len(terms):
            raise ValueError(
                f"components must be between 1 and {len(terms)}, the number of terms of captions, "
                f"not {components}"
            )
        longest = max(len(term.split()) for term in terms)
        self.counter = CountVectorizer(
            vocabulary=list(terms), token_pattern=r"\S+", ngram_range=(1, longest)
        )
        tfidf = TfidfTransformer()
        weighted = tfidf.fit_transform(self.counter.transform(texts))
        decomposition = TruncatedSVD(components, random_state=0).fit(weighted)
        self.register_buffer("frequencies", torch.from_numpy(tfidf.idf_))
        self.register_buffer("components", torch.from_numpy(decomposition.components_))

    def forward(self, texts: Sequence[str]) -> Tensor:
        """Map n texts to vectors (n, K), float64, of length 1 at most."""
        counts = torch.from_numpy(self.counter.transform(texts).toarray())
        weighted = normalize(counts.to(self.frequencies) * self.frequencies, dim=1)
        return weighted @ self.components.T
