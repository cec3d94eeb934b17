"""DINO: Caron et al., Emerging Properties in Self-Supervised Vision Transformers, 2021 (arXiv 2104.14294)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lowres_ssl.augment.sampling import ViewKind
from lowres_ssl.errors import ConfigError
from lowres_ssl.methods import losses
from lowres_ssl.methods.base import Outputs
from lowres_ssl.methods.teacher import TeacherMethod

BOTTLENECK = 256  # of the head, as in the paper's appendix C
CENTRE_DECAY = 0.9  # equation 4
SMALLEST_CROP = 0.05  # share of the image's area


class DINO(TeacherMethod):
    """A student of all crops predicts the prototypes of a teacher that sees the two large ones (equation 1).

    The teacher is a moving average whose momentum rises from `momentum` to 1 along a cosine, and the encoder that is
    kept. Its scores are centred by a moving average over steps. Deviations from the paper: far fewer prototypes (65,536
    there); the teacher's temperature is constant, without a warm-up; the last layer is trained from the first epoch on;
    the centre begins with the first batch, not with zeros.
    Large crops take at least `crop_boundary` of the image's area, small ones at most; these are `small_size` times as
    many pixels a side. `temperatures`: the student's and the teacher's.
    Shown beside the loss: "prototypes", the number of prototypes in use by the teacher
    (`losses.count_prototypes_in_use`).
    """

    head_name = "head"
    centre: Tensor
    steps: Tensor

    def __init__(
        self,
        features: int,
        hidden: int,
        prototypes: int,
        crop_boundary: float,
        small_size: float,
        small_views: int,
        temperatures: list[float],
        momentum: float,
    ) -> None:
        super().__init__(momentum)
        for key, value, is_right, wanted in (
            ("prototypes", prototypes, prototypes >= 2, "at least 2, such as 1024"),
            ("small_size", small_size, 0 < small_size <= 1, "a share of image_size above 0, at most 1, such as 0.43"),
            ("small_views", small_views, small_views >= 0, "a whole number of at least 0, such as 6"),
        ):
            if not is_right:
                raise ConfigError(f"method.{key}={value}: wanted {wanted}")
        self.head = DinoHead(features, hidden, prototypes)
        if not SMALLEST_CROP < crop_boundary < 1:
            raise ConfigError(
                f"method.crop_boundary={crop_boundary}: wanted a share between {SMALLEST_CROP} and 1, such as 0.4"
            )
        if len(temperatures) != 2 or not all(temperature > 0 for temperature in temperatures):
            raise ConfigError(f"method.temperatures={temperatures}: wanted two numbers above 0, such as [0.1,0.04]")
        large, small = ViewKind(1.0, (crop_boundary, 1.0)), ViewKind(small_size, (SMALLEST_CROP, crop_boundary))
        self.kinds = (large, large, *[small] * small_views)
        self.student_temperature, self.teacher_temperature = temperatures
        self.register_buffer("centre", torch.zeros(prototypes))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def view_kinds(self) -> Sequence[ViewKind]:
        return self.kinds

    def embed(self, features: Tensor) -> Outputs:
        bottleneck = self.head.project(features)
        return bottleneck, self.head.score(bottleneck)

    def loss(self, outputs: Sequence[Outputs], labels: Tensor | None) -> dict[str, Tensor]:
        targets = [outputs[0][2], outputs[1][2]]
        both = torch.cat(targets).to(self.centre.dtype)
        centre = torch.where(self.steps == 0, both.mean(dim=0), self.centre)
        pairs = [
            losses.dino(student[1], target, centre, self.student_temperature, self.teacher_temperature)
            for place, target in enumerate(targets)
            for view, student in enumerate(outputs)
            if view != place
        ]
        self.centre.copy_(centre.lerp(both.mean(dim=0), 1 - CENTRE_DECAY))
        self.steps += 1
        in_use = losses.count_prototypes_in_use(both, centre, self.teacher_temperature)
        return {"loss": torch.stack(pairs).mean(), "prototypes": in_use}

    def chance_loss(self, batch_size: int) -> float:
        return math.log(len(self.centre))  # every prototype the same share

    def encoder_to_keep(self, encoder: nn.Module) -> nn.Module:
        trained: nn.Module = self.teacher.network.get_submodule("0")
        return trained


class DinoHead(nn.Module):
    """Three linear layers with GELU, normalised, then a cosine with each prototype: [B, D] -> [B, K] (appendix C)."""

    def __init__(self, features: int, hidden: int, prototypes: int) -> None:
        super().__init__()
        layers = nn.Linear(features, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU()
        self.layers = nn.Sequential(*layers, nn.Linear(hidden, BOTTLENECK))
        self.prototypes = nn.Linear(BOTTLENECK, prototypes, bias=False)

    def project(self, features: Tensor) -> Tensor:
        projected = self.layers(features)
        return F.normalize(projected.to(torch.promote_types(projected.dtype, torch.float32)), dim=1)

    def score(self, bottleneck: Tensor) -> Tensor:
        weights = F.normalize(self.prototypes.weight, dim=1)
        with torch.autocast(bottleneck.device.type, enabled=False):  # bf16 has no digits for temperatures this small
            return F.linear(bottleneck, weights)

    def forward(self, features: Tensor) -> Tensor:
        return self.score(self.project(features))
