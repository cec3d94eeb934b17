"""The order of the steps after the crop, and the two ways to take them.

On a CPU a step's arithmetic is done for those images alone that it changes. On a GPU it is done for all, so that no
shape depends on a draw: few launches, no waiting, and one function that a compiler can fuse and a CUDA graph can hold.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from lowres_ssl.views import colour, geometry
from lowres_ssl.views.blur import blur_by_matrices, blur_by_shifts, mirrored_distances
from lowres_ssl.views.crop import AXIS, crop_by_matrices
from lowres_ssl.views.rows import change_by_mask, change_rows
from lowres_ssl.views.steps import Numbers, Steps

Step = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Way:
    """How a step is taken.

    change: `change_rows` or `change_by_mask`; adjust: a step whose numbers change nothing where they start with 1;
    blur: `blur_by_shifts`, or another that takes images and weights.
    """

    change: Callable[..., Tensor]
    adjust: Callable[[Tensor, Step, Tensor], Tensor]
    blur: Step


def adjust_rows(images: Tensor, operation: Step, numbers: Tensor) -> Tensor:
    return change_rows(images, numbers.flatten(1)[:, 0] != 1, operation, numbers)


def adjust_all(images: Tensor, operation: Step, numbers: Tensor) -> Tensor:
    return operation(images, numbers)


def augment(images: Tensor, numbers: Numbers, steps: Steps, way: Way) -> Tensor:
    """Do everything between crop and normalisation, on [n, C, S, S] float32 in 0..1, which may be overwritten."""
    change = way.change
    if steps.transposing:
        images = change(images, numbers.transposed, geometry.transpose)
    if steps.rotation is not None:
        rotate = partial(geometry.rotate, padding=steps.rotation)
        images = change(images, numbers.rotated, rotate, numbers.direction)
    for blend in numbers.before:
        images = way.adjust(images, colour.blend, blend)
    if steps.turns_hue:
        images = change(images, numbers.hue_turned, colour.turn_hue, numbers.offsets)
    for blend in numbers.after:
        images = way.adjust(images, colour.blend, blend)
    if steps.grey:
        images = way.adjust(images, colour.mix, numbers.grey)
    if steps.blur_kernel:
        images = way.adjust(images, way.blur, numbers.weights)
    if steps.solarise_threshold is not None:
        solarise = partial(colour.solarise, threshold=steps.solarise_threshold)
        images = change(images, numbers.solarised, solarise)
    return images


def normalise(images: Tensor, mean: Tensor, std: Tensor, *, out: Tensor) -> Tensor:
    """Compute (images - mean) / std into `out`."""
    return torch.sub(images, mean, out=out).div_(std)


def per_channel(values: Sequence[float], channels: int) -> Tensor:
    """[C, 1, 1] float32. A grey image takes the first."""
    return torch.tensor(values[:channels], dtype=torch.float32)[:, None, None]


BY_ROWS = Way(change_rows, adjust_rows, blur_by_shifts)


class FixedShapes(nn.Module):
    """Stored images to views, as one function of two tensors in which no shape depends on a draw.

    `torch.compile(..., fullgraph=True, dynamic=False)` takes it whole. docs/benchmarks.md has its launches.
    """

    scale: Tensor
    shift: Tensor
    distances: Tensor

    def __init__(self, steps: Steps, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.steps = steps
        scale = 1 / per_channel(std, steps.channels)
        self.register_buffer("scale", scale)
        self.register_buffer("shift", -per_channel(mean, steps.channels) * scale)
        self.register_buffer("distances", mirrored_distances(steps.size if steps.blur_kernel else 0, steps.taps))

    @torch.no_grad()
    def forward(self, images: Tensor, packed: Tensor) -> Tensor:
        """Make V views of each image: [V, B, 3, S, S] float32, normalised, `channels_last`.

        images: uint8 [B, C, R, R]; packed: float32 [B V, K], the numbers of `crop.axes` and after them those of
        `Steps.pack`, an image's views side by side; both on the module's device.
        """
        steps, count = self.steps, len(images)
        way = Way(change_by_mask, adjust_all, partial(blur_by_matrices, distances=self.distances))
        # Matrix products in bfloat16, as a training step's autocast would have them, lose levels.
        with torch.autocast(images.device.type, enabled=False):
            cropped = crop_by_matrices(images, packed[:, : 2 * AXIS], steps.size)
            views = augment(cropped, steps.read(packed[:, 2 * AXIS :]), steps, way)
            normalised = torch.addcmul(self.shift, views, self.scale).expand(-1, 3, -1, -1)
            by_image: Tensor = normalised.unflatten(0, (count, -1))  # [B, V, 3, S, S]
            return by_image.permute(1, 0, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
