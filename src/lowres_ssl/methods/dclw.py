"""DCLW: Yeh et al., Decoupled Contrastive Learning, 2022 (arXiv 2110.06848), with weighted positives."""

import math

from torch import Tensor

from lowres_ssl import losses
from lowres_ssl.methods import Method, mlp


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

    def embed(self, features: Tensor) -> tuple[Tensor, ...]:
        return (self.projector(features),)

    def loss(self, first: tuple[Tensor, ...], second: tuple[Tensor, ...]) -> dict[str, Tensor]:
        loss = losses.dclw(
            first[0],
            second[0],
            self.temperature,
            self.sigma,
            detach_weights=self.detach_weights,
            symmetric=self.symmetric,
        )
        return {"loss": loss}

    def chance_loss(self, batch_size: int) -> float:
        return math.log(2 * batch_size - 2)  # as of `dcl`: equal similarities have equal weights
