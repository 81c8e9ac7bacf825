import pytest
import torch

from src.data.texts import encode_texts
from src.encoders.byte_ngrams import ByteNgrams
from src.encoders.encoder import text_bytes

TEXTS = ["a tool for C++", "tool", "", "Größe", "tool tool a", "x" * 20]
LENGTH = 20


def encoder_of(lengths: list[int], buckets: int = 2**30, width: int = 1) -> ByteNgrams:
    """An encoder whose table has too many rows for two n-grams to share one."""
    if buckets > 2**20:
        encoder = ByteNgrams(lengths, 1, width, 0.5, 6, None, False)
        encoder.buckets = buckets
        return encoder
    return ByteNgrams(lengths, buckets, width, 0.5, 6, None, False)


def ngrams(text: str, lengths: list[int]) -> list[bytes]:
    """All n-grams of a text, as Python cuts it."""
    data = f" {text} ".encode()
    return [
        data[start : start + length]
        for length in lengths
        for start in range(len(data) - length + 1)
    ]


@pytest.mark.parametrize("lengths", [[1], [3, 4, 5], [2, 7]])
def test_each_ngram_has_a_row_of_its_own(lengths: list[int]) -> None:
    encoder = encoder_of(lengths)
    codes = text_bytes(encode_texts(TEXTS, LENGTH).float())
    row_of: dict[bytes, int] = {}
    for text, found in zip(TEXTS, encoder.rows(codes).tolist(), strict=True):
        rows = [row for row in found if row != encoder.buckets]
        for ngram, row in zip(ngrams(text, lengths), rows, strict=True):
            assert row_of.setdefault(ngram, row) == row
    assert len(set(row_of.values())) == len(row_of)


def test_hashes_are_spread_over_the_table() -> None:
    encoder = encoder_of([2], buckets=64)
    pairs = [chr(a) + chr(b) for a in range(32, 127) for b in range(32, 127)]
    rows = encoder.rows(text_bytes(encode_texts(pairs, LENGTH).float()))[:, 1]
    counts = rows.bincount(minlength=64).double()
    # As multinomial counts: chi squared of 63 degrees of freedom, whose deviation is 11
    expected = len(pairs) / 64
    assert float(((counts - expected) ** 2 / expected).sum()) < 63 + 6 * 11


def test_features_are_a_linear_map_of_the_mean_over_ngrams() -> None:
    encoder = encoder_of([3, 4], buckets=50, width=7).eval()
    images = encode_texts(TEXTS, LENGTH)
    rows = encoder.rows(text_bytes(images.float())).numpy()
    table = encoder.table.weight.detach().double().numpy()
    linear = encoder.layers[1]
    weight, bias = (value.detach().double().numpy() for value in linear.parameters())
    for text, row, found in zip(TEXTS, rows, encoder(images.float()), strict=True):
        mean = table[row[row < 50]].sum(axis=0) / max(1, len(ngrams(text, [3, 4])))
        expected = torch.from_numpy(weight @ mean + bias)
        torch.testing.assert_close(found.detach().double(), expected, atol=1e-5, rtol=1e-5)


def test_a_text_is_the_same_however_many_bytes_are_kept() -> None:
    encoder = encoder_of([3, 4, 5], buckets=999, width=7).eval()
    short, long = (encoder(encode_texts(TEXTS, size).float()) for size in (LENGTH, 64))
    torch.testing.assert_close(short, long)


def test_what_is_exported_takes_any_number_of_texts() -> None:
    encoder = encoder_of([3, 4], buckets=50, width=7).eval()
    images = encode_texts(TEXTS, LENGTH).float()
    number = torch.export.Dim("number")
    exported = torch.export.export(encoder, (images[:2],), dynamic_shapes=({0: number},)).module()
    torch.testing.assert_close(exported(images), encoder(images))


def test_arguments_out_of_range_are_refused() -> None:
    for lengths in ([], [0], [8]):
        with pytest.raises(ValueError, match="from 1 to 7 bytes"):
            ByteNgrams(lengths, 9, 9, 0.0, 6, None, False)
    with pytest.raises(ValueError, match="at least 1, not 0 and 9"):
        ByteNgrams([3], 0, 9, 0.0, 6, None, False)
