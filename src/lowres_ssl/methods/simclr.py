"""SimCLR: Chen et al., A Simple Framework for Contrastive Learning of Visual Representations, 2020 (2002.05709)."""

import math
from collections.abc import Sequence

from torch import Tensor

from lowres_ssl.methods import losses
from lowres_ssl.methods.base import Method, Outputs, mlp


class SimCLR(Method):
    """NT-Xent (equation 1) on the output of a 2-layer projector. The default sizes are the ICIP paper's."""

    def __init__(self, features: int, projector_hidden: int, projector_output: int, temperature: float) -> None:
        super().__init__()
        losses.check_positive("temperature", temperature)
        self.projector = mlp(features, projector_hidden, projector_output)
        self.temperature = temperature

    def embed(self, features: Tensor) -> Outputs:
        return (self.projector(features),)

    def loss(self, outputs: Sequence[Outputs], labels: Tensor | None) -> dict[str, Tensor]:
        (z1,), (z2,) = outputs
        return {"loss": losses.nt_xent(z1, z2, self.temperature)}

    def chance_loss(self, batch_size: int) -> float:
        return math.log(2 * batch_size - 1)  # the partner is one of 2B - 1 rows
