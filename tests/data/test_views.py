import pytest
import torch
from torch import Tensor

from src.data.digits import Digits
from src.data.views import RandomViews


def views(
    min_area: float = 0.3,
    flip: float = 0.5,
    jitter: float = 0.8,
    jitter_strength: float = 0.4,
    grey: float = 0.2,
) -> RandomViews:
    return RandomViews(min_area, flip, jitter, jitter_strength, grey)


def colour_images(num: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (num, 3, 32, 32), generator=generator).float()


def draw(transform: RandomViews, images: Tensor, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    return transform(images)


@pytest.mark.parametrize("channels", [1, 3])
def test_each_image_is_drawn_by_itself_and_by_the_seed(channels: int) -> None:
    images = colour_images(1)[:, :channels].repeat(20, 1, 1, 1)
    first = draw(views(), images)
    assert first.shape == images.shape
    assert len(first.flatten(1).unique(dim=0)) == 20
    assert torch.equal(draw(views(), images), first)
    assert not torch.equal(draw(views(), images, seed=1), first)


def test_pixels_keep_their_range() -> None:
    seen = draw(views(jitter=1), colour_images(50))
    assert seen.min() >= 0
    assert 200 < seen.max() <= 255


def test_crops_stay_inside_the_image() -> None:
    flat = torch.full((30, 3, 32, 32), 77.0)
    torch.testing.assert_close(draw(views(jitter=0, grey=0), flat), flat, atol=1e-2, rtol=0)


def test_a_crop_covers_at_least_the_area_asked_for() -> None:
    ramp = torch.arange(64.0).expand(200, 1, 64, 64)
    seen = draw(views(min_area=0.5, flip=0), ramp)
    widths = (seen[..., -1] - seen[..., 0]).flatten(1).mean(dim=1)
    heights = draw(views(min_area=0.5, flip=0), ramp.transpose(2, 3))
    heights = (heights[:, :, -1] - heights[:, :, 0]).flatten(1).mean(dim=1)
    # Drawn with the same seed, they are width and height of the same crops.
    areas = (widths + 1) * (heights + 1) / 64**2
    assert areas.min() > 0.45
    assert areas.min() < 0.6 < 0.9 < areas.max()


def test_flips_are_as_frequent_as_asked_for() -> None:
    ramp = torch.arange(64.0).expand(400, 1, 64, 64)
    for flip in (0.0, 0.5, 1.0):
        seen = draw(views(flip=flip), ramp)
        falling = (seen[:, 0, 0, 0] > seen[:, 0, 0, -1]).double().mean()
        assert float(falling) == pytest.approx(flip, abs=0.08 if flip == 0.5 else 0)


def test_grey_takes_the_colours() -> None:
    seen = draw(views(grey=1), colour_images(10))
    torch.testing.assert_close(seen[:, :1].expand_as(seen), seen)


def test_jitter_changes_colours_and_its_absence_does_not() -> None:
    flat = torch.tensor([200.0, 100.0, 50.0]).view(1, 3, 1, 1).expand(40, 3, 32, 32)
    changed = (draw(views(jitter=1, grey=0), flat) - flat).abs().amax(dim=(1, 2, 3)) > 1
    assert changed.all()
    slight = draw(views(jitter=1, jitter_strength=0.01, grey=0), flat)
    assert 0 < (slight - flat).abs().max() < 20


def test_grey_images_are_cropped_and_flipped_only() -> None:
    images = Digits(0).splits["train"].images[:20].float()
    plain = draw(views(jitter=0, grey=0), images)
    assert torch.equal(draw(views(jitter=1, grey=1), images), plain)
