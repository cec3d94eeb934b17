"""SimSiam: Chen and He, Exploring Simple Siamese Representation Learning, 2021 (arXiv 2011.10566)."""

from collections.abc import Sequence

from torch import Tensor, nn

from lowres_ssl.methods import losses
from lowres_ssl.methods.base import Method, Outputs, mlp


class SimSiam(Method):
    """Half the negative cosine of each view's prediction and the other's projection (equation 4), which is detached.

    Deviations from the paper: a projector of 2 layers, not 3, and of 512 outputs, not 2048, as the ICIP paper has it.
    The predictor's learning rate follows the recipe's schedule unless `predictor_rate=constant`, as the paper has it
    (section 4.2). The two differ under `recipe=tuned`, whose rate falls in a cosine.
    `predictor=False` and `output_batch_norm=False` are what that paper's released code does: without them the
    projections lose their spread within a few hundred steps.
    """

    def __init__(
        self,
        features: int,
        projector_hidden: int,
        projector_output: int,
        output_batch_norm: bool,
        predictor: bool,
        predictor_hidden: int,
    ) -> None:
        super().__init__()
        self.projector = mlp(features, projector_hidden, projector_output, output_batch_norm=output_batch_norm)
        self.predictor = mlp(projector_output, predictor_hidden, projector_output) if predictor else nn.Identity()

    def predictor_parameters(self) -> Sequence[nn.Parameter]:
        return list(self.predictor.parameters())

    def embed(self, features: Tensor) -> Outputs:
        projection = self.projector(features)
        return projection, self.predictor(projection)

    def loss(self, outputs: Sequence[Outputs], labels: Tensor | None) -> dict[str, Tensor]:
        (z1, p1), (z2, p2) = outputs
        return {"loss": (losses.negative_cosine(p1, z2) + losses.negative_cosine(p2, z1)) / 2}
