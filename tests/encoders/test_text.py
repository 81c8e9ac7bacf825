import pytest
import torch

from src.encoders.text import TextEncoder

WORDS = ["a", "b", "c", "not"]


def test_a_sentence_does_not_depend_on_those_beside_it() -> None:
    torch.manual_seed(0)
    encoder = TextEncoder(WORDS, embedding_dim=6).eval()
    together = encoder(["a", "a b not c", "c b"])
    alone = torch.cat([encoder([sentence]) for sentence in ("a", "a b not c", "c b")])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert together.shape == (3, 6)


def test_order_matters() -> None:
    torch.manual_seed(0)
    encoder = TextEncoder(WORDS, embedding_dim=6).eval()
    first, second = encoder(["a not b", "not a b"])
    assert not torch.allclose(first, second, atol=1e-3)


def test_what_it_cannot_read_is_said() -> None:
    encoder = TextEncoder(WORDS, embedding_dim=6, max_words=3)
    with pytest.raises(ValueError, match="'d' is not in the vocabulary"):
        encoder(["a d"])
    with pytest.raises(ValueError, match="4 words, between 1 and 3 fit"):
        encoder(["a b a b"])
    with pytest.raises(ValueError, match="0 words"):
        encoder([""])
