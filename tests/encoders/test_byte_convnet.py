import numpy as np
import pytest
import torch
from scipy.signal import correlate

from src.data.texts import encode_texts
from src.encoders.byte_convnet import ByteConvNet

TEXTS = ["a tool for C++", "tool", "", "Größe", "x" * 20]


def make_encoder() -> ByteConvNet:
    torch.manual_seed(0)
    return ByteConvNet(6, 3, 0.5, 4, radius=None, batch_norm=False).eval()


def test_embeddings_are_maxima_of_convolutions_of_the_bytes() -> None:
    encoder = make_encoder().double()
    vectors = encoder.vectors.weight.detach().numpy()
    weight, bias = (value.detach().numpy() for value in encoder.layers[1].parameters())
    embeddings = encoder(encode_texts(TEXTS, 20).double()).detach()
    for text, embedding in zip(TEXTS, embeddings, strict=True):
        maps = vectors[list(f" {text}".encode())].T  # of this text alone
        for convolution in encoder.convolutions:
            kernels, biases = (value.detach().numpy() for value in convolution.parameters())
            rows = [
                sum(correlate(channel, k, "same") for channel, k in zip(maps, kernel, strict=True))
                for kernel in kernels
            ]
            maps = np.stack(rows) + biases[:, None]
            maps = np.where(maps > 0, maps, 0.01 * maps)
        torch.testing.assert_close(embedding, torch.from_numpy(weight @ maps.max(axis=1) + bias))


def test_a_text_is_the_same_however_many_bytes_are_kept() -> None:
    short, long = (make_encoder()(encode_texts(TEXTS, size).float()) for size in (20, 64))
    torch.testing.assert_close(short, long)


def test_arguments_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="kernel an odd number, not 6 and 4"):
        ByteConvNet(6, 4, 0.5, 4, None, False)
