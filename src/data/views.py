"""Random views of images, for losses that relate views of one image."""

from kornia.augmentation import (
    AugmentationSequential,
    ColorJitter,
    RandomGrayscale,
    RandomHorizontalFlip,
    RandomResizedCrop,
)
from torch import Tensor, nn

ASPECT_RATIOS = (3 / 4, 4 / 3)  # usual ratios of a crop's width to its height
HUE_SHARE = 1 / 4  # share of the jitter's strength, as in SimCLR


class RandomViews(nn.Module):
    """Random crops, flips and, for colour images, changes of colour, drawn for each image.

    The augmentations of SimCLR [0] for small images, which leave out its blur.

    Args:
        min_area: Smallest share of an image that a crop covers; it is scaled back to full size.
        flip: Probability of a horizontal flip; 0 where left and right tell classes apart.
        jitter: Probability of changing brightness, contrast, saturation and hue of a colour image.
        jitter_strength: Largest such change, as a share; hue changes by a quarter of it.
        grey: Probability that a colour image loses its colours.

    Raises:
        ValueError: If min_area is outside (0, 1], or jitter_strength or a probability is outside
            [0, 1].

    References:
        [0] Chen et al., *A Simple Framework for Contrastive Learning of Visual Representations*,
        ICML 2020, https://arxiv.org/abs/2002.05709
    """

    def __init__(
        self, min_area: float, flip: float, jitter: float, jitter_strength: float, grey: float
    ) -> None:
        super().__init__()
        if not 0 < min_area <= 1:
            raise ValueError(f"min_area must be above 0 and at most 1, not {min_area}")
        shares = {"flip": flip, "jitter": jitter, "jitter_strength": jitter_strength, "grey": grey}
        for name, share in shares.items():
            if not 0 <= share <= 1:
                raise ValueError(f"{name} must be between 0 and 1, not {share}")
        self.min_area = min_area
        self.flip = RandomHorizontalFlip(p=flip)
        strength = jitter_strength
        self.colour = AugmentationSequential(
            ColorJitter(strength, strength, strength, HUE_SHARE * strength, p=jitter),
            RandomGrayscale(p=grey),
            data_keys=["input"],
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map pixels (N, channels, height, width), float in [0, 255], to random views of them."""
        height, width = images.shape[-2:]
        crop = RandomResizedCrop(
            (height, width), (self.min_area, 1), ASPECT_RATIOS, cropping_mode="resample"
        )
        views = self.flip(crop(images))
        if images.shape[1] == 3:
            views = self.colour(views / 255) * 255
        return views
