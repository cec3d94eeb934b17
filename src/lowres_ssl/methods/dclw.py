"""DCLW: Yeh et al., Decoupled Contrastive Learning, 2022 (arXiv 2110.06848), with weighted positives."""

import math
from collections.abc import Sequence

from torch import Tensor

from lowres_ssl.methods import losses
from lowres_ssl.methods.base import Method, Outputs, mlp


class DCLW(Method):
    """The decoupled loss with von Mises-Fisher weights (equations 7 and 8) on the output of a 2-layer projector.

    `detach_weights=False` and `symmetric=False` are what the ICIP paper's released code does under the name of DCL.
    """

    def __init__(
        self,
        features: int,
        projector_hidden: int,
        projector_output: int,
        temperature: float,
        sigma: float,
        detach_weights: bool,
        symmetric: bool,
    ) -> None:
        super().__init__()
        losses.check_positive("temperature", temperature)
        losses.check_positive("sigma", sigma)
        self.projector = mlp(features, projector_hidden, projector_output)
        self.temperature = temperature
        self.sigma = sigma
        self.detach_weights = detach_weights
        self.symmetric = symmetric

    def embed(self, features: Tensor) -> Outputs:
        return (self.projector(features),)

    def loss(self, outputs: Sequence[Outputs], labels: Tensor | None) -> dict[str, Tensor]:
        (z1,), (z2,) = outputs
        how = {"detach_weights": self.detach_weights, "symmetric": self.symmetric}
        return {"loss": losses.dclw(z1, z2, self.temperature, self.sigma, **how)}

    def chance_loss(self, batch_size: int) -> float:
        return math.log(2 * batch_size - 2)  # as of `dcl`: equal similarities have equal weights
