"""MoCo v3: Chen, Xie and He, An Empirical Study of Training Self-Supervised Vision Transformers, 2021 (2104.02057)."""

import math
from collections.abc import Sequence

from torch import Tensor, nn

from lowres_ssl.methods import losses
from lowres_ssl.methods.base import Outputs, mlp
from lowres_ssl.methods.teacher import TeacherMethod


class MoCoV3(TeacherMethod):
    """Contrast each view's prediction with a moving average's projections of the batch's other views (algorithm 1).

    The teacher's momentum rises from `momentum` to 1 along a cosine. Deviations from the paper: a projector of 2
    layers, not 3, and smaller heads (4096 and 256 there); a transformer's patch projection is trained as well: the
    paper keeps it as it was initialised, as `frozen_stages=1` does, together with class token and positions.
    """

    def __init__(
        self,
        features: int,
        projector_hidden: int,
        projector_output: int,
        predictor_hidden: int,
        temperature: float,
        momentum: float,
    ) -> None:
        super().__init__(momentum)
        losses.check_positive("temperature", temperature)
        self.projector = mlp(features, projector_hidden, projector_output, output_batch_norm=True)
        self.predictor = mlp(projector_output, predictor_hidden, projector_output, output_batch_norm=True)
        self.temperature = temperature

    def predictor_parameters(self) -> Sequence[nn.Parameter]:
        return list(self.predictor.parameters())

    def embed(self, features: Tensor) -> Outputs:
        projection = self.projector(features)
        return projection, self.predictor(projection)

    def loss(self, outputs: Sequence[Outputs], labels: Tensor | None) -> dict[str, Tensor]:
        (_, q1, k1), (_, q2, k2) = outputs
        return {"loss": losses.info_nce(q1, k2, self.temperature) + losses.info_nce(q2, k1, self.temperature)}

    def chance_loss(self, batch_size: int) -> float:
        return 4 * self.temperature * math.log(batch_size)  # two directions of 2 t log B
