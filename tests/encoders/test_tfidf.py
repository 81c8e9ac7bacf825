import pytest
import torch
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics.pairwise import cosine_similarity

from src.encoders.tfidf import TfidfEncoder

TERMS = ["a", "b", "not", "not b", "odd", "hat on", "hat", "on"]
TEXTS = ["a b", "a not b", "hat on a", "odd odd hat on", "b", "a", "not b on", "odd a b hat"]
ASKED = ["not b", "hat on odd", "a b not b unknown"]


def vectorizer() -> TfidfVectorizer:
    return TfidfVectorizer(vocabulary=TERMS, token_pattern=r"\S+", ngram_range=(1, 2)).fit(TEXTS)


def test_all_components_keep_the_products_of_tfidf() -> None:
    vectors = TfidfEncoder(TERMS, TEXTS, len(TERMS))(ASKED)
    expected = cosine_similarity(vectorizer().transform(ASKED))
    torch.testing.assert_close(vectors @ vectors.T, torch.from_numpy(expected))


def test_fewer_components_are_those_of_an_exact_decomposition() -> None:
    vectors = TfidfEncoder(TERMS, TEXTS, 3)(ASKED)
    exact = TruncatedSVD(3, algorithm="arpack", random_state=1).fit(vectorizer().transform(TEXTS))
    expected = torch.from_numpy(exact.transform(vectorizer().transform(ASKED)))
    torch.testing.assert_close(vectors @ vectors.T, expected @ expected.T)  # signs are free


def test_what_was_fitted_comes_out_of_its_state() -> None:
    fitted = TfidfEncoder(TERMS, TEXTS, 3)
    other = TfidfEncoder(TERMS, ["a", "hat on", "not b", "odd"], 3)
    assert not torch.allclose(other(ASKED), fitted(ASKED))
    other.load_state_dict(fitted.state_dict())
    assert torch.equal(other(ASKED), fitted(ASKED))


@pytest.mark.parametrize("components", [0, 9])
def test_more_components_than_terms_are_refused(components: int) -> None:
    with pytest.raises(ValueError, match=f"between 1 and 8, .* not {components}"):
        TfidfEncoder(TERMS, TEXTS, components)
