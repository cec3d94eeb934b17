"""BYOL: Grill et al., Bootstrap Your Own Latent, 2020 (arXiv 2006.07733)."""

from collections.abc import Sequence

from torch import Tensor, nn

from lowres_ssl.methods import losses
from lowres_ssl.methods.base import Outputs, mlp
from lowres_ssl.methods.teacher import TeacherMethod


class BYOL(TeacherMethod):
    """Predict a moving average's projection of the other view: equation 2, summed over both directions.

    The teacher's momentum rises from `momentum` to 1 along a cosine (section 3.2). Deviations from the paper: smaller
    heads (4096 and 256 there); the optimiser is the recipe's SGD, not LARS.
    """

    def __init__(
        self,
        features: int,
        projector_hidden: int,
        projector_output: int,
        predictor_hidden: int,
        momentum: float,
    ) -> None:
        super().__init__(momentum)
        self.projector = mlp(features, projector_hidden, projector_output)
        self.predictor = mlp(projector_output, predictor_hidden, projector_output)

    def predictor_parameters(self) -> Sequence[nn.Parameter]:
        return list(self.predictor.parameters())

    def embed(self, features: Tensor) -> Outputs:
        projection = self.projector(features)
        return projection, self.predictor(projection)

    def loss(self, outputs: Sequence[Outputs], labels: Tensor | None) -> dict[str, Tensor]:
        (_, p1, t1), (_, p2, t2) = outputs
        return {"loss": losses.byol(p1, t2) + losses.byol(p2, t1)}
