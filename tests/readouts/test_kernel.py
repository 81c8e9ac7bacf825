import numpy as np
import torch

from src.readouts.kernel import KernelReadout

MINTERMS = torch.tensor([[0, 1], [1, 0], [1, 1]]).bool()


def fitted(positions: torch.Tensor, index: torch.Tensor) -> KernelReadout:
    """Fitted in two batches, on images of norms that should not matter."""
    readout = KernelReadout(MINTERMS, positions.shape[1] + 1)
    norms = torch.linspace(1, 2, len(positions)).unsqueeze(1)
    embeddings = torch.cat([positions, norms], dim=1)
    for part in (slice(0, 5), slice(5, None)):
        readout.update(embeddings[part], MINTERMS[index[part]])
    readout.fit()
    return readout


def test_probabilities_are_squared_products_with_the_feature_of_the_mean_position() -> None:
    generator = torch.Generator().manual_seed(0)
    positions = torch.randn(12, 3, generator=generator, dtype=torch.float64)
    index = torch.arange(12) % 3
    readout = fitted(positions, index)
    queries = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    x = positions.numpy()
    expected = np.empty((4, 3))
    for row, query in enumerate(queries[:, :3].numpy()):
        for minterm in range(3):
            center = x[minterm::3].mean(axis=0)
            expected[row, minterm] = np.exp(-((query - center) ** 2).sum()) ** 2
    expected /= expected.sum(axis=1, keepdims=True)
    actual = readout.minterm_probabilities(queries)
    torch.testing.assert_close(actual, torch.from_numpy(expected))


def test_a_new_fit_forgets_the_last_and_loaded_centers_answer() -> None:
    index = torch.arange(9) % 3
    first = 3.0 * torch.eye(3)[index].double()
    readout = fitted(first, index)
    assert torch.equal(readout.predict(torch.cat([first, torch.ones(9, 1)], 1)), MINTERMS[index])
    readout.update(torch.cat([-first, torch.ones(9, 1)], 1), MINTERMS[index])
    readout.fit()
    torch.testing.assert_close(readout.centers, -3.0 * torch.eye(3).double())
    loaded = KernelReadout(MINTERMS, 4)
    loaded.load_state_dict(readout.state_dict())
    assert torch.equal(loaded.centers, readout.centers)


def test_a_minterm_without_images_is_impossible() -> None:
    readout = fitted(torch.zeros(8, 3).double(), torch.arange(8) % 2)
    probabilities = readout.minterm_probabilities(torch.zeros(1, 4))
    torch.testing.assert_close(probabilities, torch.tensor([[0.5, 0.5, 0.0]]).double())
