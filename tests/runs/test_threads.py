from pathlib import Path

import pytest
import torch
from conftest import train
from threadpoolctl import threadpool_limits

from src.encoders.convnet import ConvNet
from src.runs.threads import choose_threads, count_multiplications

SMALL, LARGE = torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 28, 28)


def network(image: torch.Tensor) -> ConvNet:
    return ConvNet(tuple(image.shape[1:]), 10, radius=None, batch_norm=False)


def test_multiplications_are_counted_by_hand() -> None:
    # 3 x 3 filters over 26 and 24 positions a side, then 9,216 to 128 to 10
    convolutions = 32 * 9 * 26**2 + 64 * 32 * 9 * 24**2
    assert count_multiplications(network(LARGE), LARGE) == convolutions + 9216 * 128 + 128 * 10


def test_counting_leaves_the_network_as_it_was() -> None:
    encoder = network(SMALL).train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    count_multiplications(encoder, SMALL)
    assert torch.equal(torch.rand(3), expected)
    assert encoder.training
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert not any(layer._forward_hooks for layer in encoder.modules())


@pytest.mark.parametrize(
    ("asked", "environment", "work", "processes", "expected"),
    [
        (3, None, 0.0, 1, 3),
        (3, "2", 1e12, 1, 3),
        (None, "2", 0.0, 1, torch.get_num_threads()),
        (None, None, 0.0, 1, 1),
        (None, None, 1e12, 1, 6),
        (None, None, 1e12, 2, 3),
        (None, None, 1e12, 10, 1),
    ],
)
def test_small_steps_take_one_thread_unless_told_otherwise(
    asked: int | None,
    environment: str | None,
    work: float,
    processes: int,
    expected: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("src.runs.threads.AVAILABLE", 6)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if environment is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", environment)
    assert choose_threads(asked, lambda: work, processes) == expected


def test_each_job_of_a_process_chooses_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    fast = ["debug=fast", "logger=none", "~callbacks.report", "~callbacks.spectra"]
    try:
        train(tmp_path / "asked", *fast, "trainer.threads=2")
        assert torch.get_num_threads() == 2
        train(tmp_path / "small", *fast)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
        threadpool_limits(before)
