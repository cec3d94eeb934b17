"""TiCo: Zhu et al., Transformation Invariance and Covariance Contrast, 2022 (arXiv 2206.10698)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lowres_ssl.methods import losses
from lowres_ssl.methods.base import Outputs, mlp
from lowres_ssl.methods.teacher import TeacherMethod, check_share


class TiCo(TeacherMethod):
    """Be like a moving average's embedding of the other view, and unlike the directions used most (equation 6).

    The covariance of the embeddings is a moving average over steps, so it is a memory of earlier batches. The loss is
    the mean over both directions. Deviations from the paper: smaller heads (4096 and 256 there), and a covariance of
    both views. The teacher's momentum rises from `momentum` to 1 along a cosine.
    """

    covariance: Tensor

    def __init__(
        self,
        features: int,
        projector_hidden: int,
        projector_output: int,
        contrast: float,
        covariance_decay: float,
        momentum: float,
    ) -> None:
        super().__init__(momentum)
        check_share("covariance_decay", covariance_decay)
        losses.check_weights(contrast=contrast)
        self.projector = mlp(features, projector_hidden, projector_output)
        self.contrast, self.covariance_decay = contrast, covariance_decay
        self.register_buffer("covariance", torch.zeros(projector_output, projector_output))

    def embed(self, features: Tensor) -> Outputs:
        return (self.projector(features),)

    def loss(self, outputs: Sequence[Outputs], labels: Tensor | None) -> dict[str, Tensor]:
        (z1, t1), (z2, t2) = outputs
        covariance = losses.tico_covariance(torch.cat((z1, z2)), self.covariance, self.covariance_decay)
        self.covariance.copy_(covariance)
        both = [losses.tico(z, target, covariance, self.contrast) for z, target in ((z1, t2), (z2, t1))]
        return {name: (both[0][name] + both[1][name]) / 2 for name in both[0]}
