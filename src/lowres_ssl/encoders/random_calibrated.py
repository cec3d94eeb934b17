"""Train nothing: the encoder that the methods start from, its BatchNorm statistics taken from the training images."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lowres_ssl.encoders.base import FixedEncoder
from lowres_ssl.errors import ConfigError


class CalibratedRandomEncoder(FixedEncoder):
    """Show the training images once to a randomly initialised encoder's BatchNorm layers. No weight is learnt.

    A trained encoder normalises with statistics of the images; `random` normalises with mean 0 and variance 1. So part
    of what a method gains over `random` may be these statistics, which cost one forward pass without a gradient. The
    better of the two, by validation accuracy, is what a method has to beat.
    """

    def adapt(self, encoder: nn.Module, images: Iterable[Tensor]) -> None:
        """Replace the running statistics of each BatchNorm layer by averages over the batches `images`.

        Each batch, float32 [B, 3, S, S], goes once through the encoder in training mode (so each layer sees what the
        layers before it normalised by the batch), and every batch counts the same: the cumulative average of
        `momentum=None` in PyTorch. As "precise BatchNorm" (Wu and Johnson, Rethinking "Batch" in BatchNorm, 2021, arXiv
        2105.07576, section 3), but for the variance, which is the mean of those within batches. Afterwards the encoder
        is in evaluation mode. Raises `ConfigError` for an encoder without BatchNorm.
        """
        layers = [module for module in encoder.modules() if isinstance(module, _BatchNorm)]
        if not layers:
            raise ConfigError(
                "method=random_calibrated: this encoder has no BatchNorm layer, so it would be that of method=random; "
                "type method=random"
            )
        momenta = [layer.momentum for layer in layers]
        encoder.eval()
        for layer in layers:
            layer.reset_running_stats()
            layer.train()
        with torch.no_grad():
            for number, batch in enumerate(images, start=1):
                for layer in layers:
                    layer.momentum = 1 / number  # with None, PyTorch asks the device for the number
                encoder(batch)
        encoder.eval()
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
