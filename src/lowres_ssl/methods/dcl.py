"""DCL: Yeh et al., Decoupled Contrastive Learning, 2022 (arXiv 2110.06848)."""

import math
from collections.abc import Sequence

from torch import Tensor

from lowres_ssl.methods import losses
from lowres_ssl.methods.base import Method, Outputs, mlp


class DCL(Method):
    """The decoupled loss (equation 6) on the output of a 2-layer projector; without weights: those are `dclw`."""

    def __init__(self, features: int, projector_hidden: int, projector_output: int, temperature: float) -> None:
        super().__init__()
        losses.check_positive("temperature", temperature)
        self.projector = mlp(features, projector_hidden, projector_output)
        self.temperature = temperature

    def embed(self, features: Tensor) -> Outputs:
        return (self.projector(features),)

    def loss(self, outputs: Sequence[Outputs], labels: Tensor | None) -> dict[str, Tensor]:
        (z1,), (z2,) = outputs
        return {"loss": losses.dcl(z1, z2, self.temperature)}

    def chance_loss(self, batch_size: int) -> float:
        return math.log(2 * batch_size - 2)  # both views of the other B - 1 images
