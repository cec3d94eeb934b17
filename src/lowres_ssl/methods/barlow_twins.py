"""Barlow Twins: Zbontar et al., Self-Supervised Learning via Redundancy Reduction, 2021 (arXiv 2103.03230)."""

from collections.abc import Sequence

from torch import Tensor

from lowres_ssl.methods import losses
from lowres_ssl.methods.base import Method, Outputs, mlp


class BarlowTwins(Method):
    """The correlation of the two views' dimensions, brought to the identity (equations 1 and 2).

    Deviations from the paper: a projector of 2 layers and 256 outputs, not 3 and 8192. `loss_scale` multiplies the
    loss, as the reference code does (0.024 there), since it is a sum over the dimensions.
    """

    def __init__(
        self, features: int, projector_hidden: int, projector_output: int, redundancy: float, loss_scale: float
    ) -> None:
        super().__init__()
        losses.check_positive("loss_scale", loss_scale)
        losses.check_weights(redundancy=redundancy)
        self.projector = mlp(features, projector_hidden, projector_output, output_bias=False)
        self.redundancy, self.loss_scale = redundancy, loss_scale

    def embed(self, features: Tensor) -> Outputs:
        return (self.projector(features),)

    def loss(self, outputs: Sequence[Outputs], labels: Tensor | None) -> dict[str, Tensor]:
        (z1,), (z2,) = outputs
        terms = losses.barlow_twins(z1, z2, self.redundancy)
        return terms | {"loss": self.loss_scale * terms["loss"]}
