"""Parametric instance discrimination: Cao et al., Parametric Instance Classification, 2020 (arXiv 2006.14618)."""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from lowres_ssl.methods import losses
from lowres_ssl.methods.base import Method, Outputs, mlp


class Instance(Method):
    """Each training image is a class of its own, with a learnt vector (equation 2); the mean over both views.

    Its negatives are all training images, whatever the batch: what a small set can afford. Deviations from the paper:
    two views of each image in a step, not one; no sliding window over the data set, since every image comes once an
    epoch.
    """

    separates_images: ClassVar[bool] = True

    def __init__(
        self, features: int, images: int, projector_hidden: int, projector_output: int, temperature: float
    ) -> None:
        super().__init__()
        losses.check_positive("temperature", temperature)
        self.projector = mlp(features, projector_hidden, projector_output)
        self.prototypes = nn.Parameter(torch.randn(images, projector_output) / math.sqrt(projector_output))
        self.temperature = temperature

    def embed(self, features: Tensor) -> Outputs:
        return (self.projector(features),)

    def loss(self, outputs: Sequence[Outputs], labels: Tensor | None) -> dict[str, Tensor]:
        assert labels is not None
        both = [losses.instance(z, self.prototypes, labels, self.temperature) for (z,) in outputs]
        return {"loss": torch.stack(both).mean()}

    def chance_loss(self, batch_size: int) -> float:
        return math.log(len(self.prototypes))
