"""Directions between spherical caps, against a search over the sphere."""

import numpy as np
import pytest
import torch
from batches import random_rotation

from src.readouts.text import between_caps

DEGREE = np.pi / 180


def spread_over_sphere(num: int) -> np.ndarray:
    """Directions in space, (num, 3), at even distances along a spiral."""
    heights = 1 - (2 * np.arange(num) + 1) / num
    turns = np.pi * (1 + 5**0.5) * np.arange(num)
    widths = np.sqrt(1 - heights**2)
    return np.stack([widths * np.cos(turns), widths * np.sin(turns), heights], axis=1)


def pair(degrees: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Two directions in space at this angle, anywhere."""
    angle = degrees * DEGREE
    rows = torch.tensor([[1, 0, 0], [np.cos(angle), np.sin(angle), 0]], dtype=torch.float64)
    near, avoided = rows @ random_rotation(3)
    return near, avoided


@pytest.mark.parametrize("radius", [20, 45, 70, 90])
@pytest.mark.parametrize("angle", [10, 35, 60, 100, 170])
def test_no_direction_is_farther_from_the_edges_of_the_region(radius: int, angle: int) -> None:
    near, avoided = pair(angle)
    found = between_caps(near[None], avoided[None], float(np.cos(radius * DEGREE)))[0]
    assert float(found.norm()) == pytest.approx(1)

    def margins(directions: np.ndarray) -> np.ndarray:
        """Degrees to the edge of the region in one cap and out of the other; negative outside."""
        to_near, to_avoided = (
            np.arccos(np.clip(directions @ end.numpy(), -1, 1)) / DEGREE for end in (near, avoided)
        )
        return np.minimum(radius - to_near, to_avoided - radius)

    margin = float(margins(found.numpy()[None])[0])
    assert margin == pytest.approx(min(angle / 2, radius), abs=1e-4)
    assert margins(spread_over_sphere(40_000)).max() <= margin + 1e-4


def test_caps_that_do_not_meet_leave_the_direction_as_it_is() -> None:
    near, avoided = pair(90)
    torch.testing.assert_close(between_caps(near[None], avoided[None], 0.9)[0], near)


def test_hemispheres_give_the_difference() -> None:
    near, avoided = pair(40)
    expected = (near - avoided) / (near - avoided).norm()
    torch.testing.assert_close(between_caps(near[None], avoided[None], 0.0)[0], expected)


def test_a_direction_that_is_to_be_avoided_itself_has_none() -> None:
    near, _ = pair(0)
    assert between_caps(near[None], near[None], 0.9).tolist() == [[0.0, 0.0, 0.0]]
