import pytest
import torch

from src.encoders.convnet import ConvNet


def test_embeddings_are_standardised_over_the_batch_and_then_scaled() -> None:
    torch.manual_seed(0)
    plain = ConvNet((1, 8, 8), 6, radius=None, batch_norm=False).double()
    normed = ConvNet((1, 8, 8), 6, radius=None, batch_norm=True).double()
    fixed = ConvNet((1, 8, 8), 6, radius=2.0, batch_norm=True).double()
    assert normed.batch_norm is not None
    normed.load_state_dict(plain.state_dict(), strict=False)
    scale, mean = torch.rand(2, 6, dtype=torch.float64)
    normed.batch_norm.load_state_dict({"weight": scale, "bias": mean}, strict=False)
    fixed.load_state_dict(normed.state_dict())
    images = torch.rand(30, 1, 8, 8, dtype=torch.float64)
    plain.eval()
    for part in (normed, fixed):
        part.eval()  # dropout draws
        assert part.batch_norm is not None
        part.batch_norm.train()
        part.batch_norm.momentum = None  # running statistics are those of all batches
    features = plain(images)
    std = (features.var(dim=0, correction=0) + 1e-5).sqrt()
    expected = scale * (features - features.mean(dim=0)) / std + mean
    torch.testing.assert_close(normed(images), expected)
    torch.testing.assert_close(fixed(images), 2 * expected / 6**0.5)

    normed.batch_norm.eval()
    std = (features.var(dim=0) + 1e-5).sqrt()
    expected = scale * (features[:3] - features.mean(dim=0)) / std + mean
    torch.testing.assert_close(normed(images[:3]), expected)


@pytest.mark.parametrize(("radius", "length"), [(2.0, 2.0), (None, 6**0.5)])
def test_embeddings_normalised_over_the_batch_have_a_mean_square_length(
    radius: float | None, length: float
) -> None:
    encoder = ConvNet((1, 8, 8), 6, radius=radius, batch_norm=True)
    squares = encoder(torch.rand(400, 1, 8, 8)).detach().square().sum(dim=1)
    assert float(squares.mean()) == pytest.approx(length**2, rel=0.05)
    assert float(squares.std()) > 0.1  # lengths of their own
