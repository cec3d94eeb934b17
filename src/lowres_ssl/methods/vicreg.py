"""VICReg: Bardes, Ponce and LeCun, Variance-Invariance-Covariance Regularization, 2022 (arXiv 2105.04906)."""

from collections.abc import Sequence

from torch import Tensor

from lowres_ssl.methods import losses
from lowres_ssl.methods.base import Method, Outputs, mlp


class VICReg(Method):
    """Invariance, variance and covariance (equation 6) of the output of an expander; the terms are shown unweighted.

    Deviation from the paper: an expander of 2 layers of 4096, not 3 of 8192, as the ICIP paper has it.
    `average_variance=False` is what that paper's released code does.
    """

    def __init__(
        self,
        features: int,
        expander_hidden: int,
        expander_output: int,
        invariance: float,
        variance: float,
        covariance: float,
        average_variance: bool,
    ) -> None:
        super().__init__()
        self.weights = {"invariance": invariance, "variance": variance, "covariance": covariance}
        losses.check_weights(**self.weights)
        # A shift of all embeddings changes none of the terms; the reference code has no bias there, either.
        self.expander = mlp(features, expander_hidden, expander_output, output_bias=False)
        self.average_variance = average_variance

    def embed(self, features: Tensor) -> Outputs:
        return (self.expander(features),)

    def loss(self, outputs: Sequence[Outputs], labels: Tensor | None) -> dict[str, Tensor]:
        (z1,), (z2,) = outputs
        return losses.vicreg(z1, z2, self.weights, average_variance=self.average_variance)
