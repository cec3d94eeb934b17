"""Use no encoder at all: the mean colour and the size of each image are a row that exposes shortcuts."""

from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn

from lowres_ssl.encoders.base import Encoder, FixedEncoder


class MeanColourEncoder(FixedEncoder):
    """Take the mean of each channel, and the logarithms of the original's height and width, standardised on the
    training images. What scores well by these is separated by the scanner, the stain or the cropping, and not by the
    tissue.
    """

    adds_size: ClassVar[bool] = True
    depends_on_seed: ClassVar[bool] = False
    brings_architecture: ClassVar[bool] = True

    def architecture(self, backbone: Callable[[], Encoder]) -> Encoder:
        return MeanColour(), 3


class MeanColour(nn.Module):
    """Average [B, 3, S, S] to float32 [B, 3]."""

    def forward(self, images: Tensor) -> Tensor:
        return images.float().mean(dim=(2, 3))
