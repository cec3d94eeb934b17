"""End to end on the labels: the baseline that self-supervision is measured against, and the only method to see them."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from lowres_ssl.methods.base import Method, Outputs


class SupervisedMethod(Method):
    """A linear classifier on the encoder, both trained with cross-entropy; with `initial_weights=` it is fine-tuning.

    It runs in the same loop as the others, so it sees as many views at the same rate: the loss is the mean over both
    views of each image (batch augmentation, Hoffer et al., 2020, arXiv 1901.09335, with two instances), where usual
    supervised training has one view a step. Only the training images' labels are used.
    """

    sees_labels: ClassVar[bool] = True

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(features, classes)

    def embed(self, features: Tensor) -> Outputs:
        return features, self.classifier(features)

    def loss(self, outputs: Sequence[Outputs], labels: Tensor | None) -> dict[str, Tensor]:
        assert labels is not None
        (_, one), (_, two) = outputs
        return {"loss": (F.cross_entropy(one.float(), labels) + F.cross_entropy(two.float(), labels)) / 2}
