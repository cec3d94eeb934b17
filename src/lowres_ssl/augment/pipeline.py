"""Apply the steps of views between crop and normalisation; each view's numbers travel in one array, in one copy."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from lowres_ssl.augment import operations
from lowres_ssl.augment.crop import AXIS_NUMBERS, crop_by_matrices
from lowres_ssl.augment.operations import compute_blend_numbers
from lowres_ssl.augment.sampling import CONTROL_POINTS, STAINS, AugmentationParameters, FloatArray, JitterOperation


def apply_to_rows(images: Tensor, chosen: Tensor, operation: Callable[..., Tensor], *numbers: Tensor) -> Tensor:
    """Apply `operation` to the images where `chosen` ([B] bool) is true; the others take no arithmetic.

    The operation gets the chosen images and their rows of each tensor in `numbers` ([B, ...]), and returns as many
    images of the same shape. `images` ([B, C, S, S]) may be overwritten. For a CPU: shapes depend on the number chosen.
    """
    rows = chosen.nonzero()[:, 0]
    if len(rows) == 0:
        return images
    if len(rows) == len(images):
        return operation(images, *numbers).contiguous()
    changed = operation(images.index_select(0, rows), *(each.index_select(0, rows) for each in numbers))
    return images.index_copy_(0, rows, changed)


def apply_by_mask(images: Tensor, chosen: Tensor, operation: Callable[..., Tensor], *numbers: Tensor) -> Tensor:
    """Apply `operation` to all images and take its result for the chosen ones: no shape depends on their number.
    For a GPU or a compiler; otherwise as `apply_to_rows`."""
    return torch.where(chosen[:, None, None, None], operation(images, *numbers), images)


FLAGS = ("transposed", "rotated", "hue_turned", "solarised", "deformed", "stained")


@dataclass(frozen=True)
class ViewSteps:
    """Describe the possible steps, which depend on the settings and the number of channels alone.

    size: pixels a side, S; channels: C; transposing, grey: whether there are any; rotation: the padding of rotations by
    any angle, None: there are none; operations: those of the jitter that change anything; blur_kernel: the full
    kernel's width in pixels, 0: no blur; solarise_threshold: of 255, None: no solarisation; elastic, stain, gamma:
    whether there are any.
    """

    size: int
    channels: int
    transposing: bool
    rotation: str | None
    operations: tuple[JitterOperation, ...]
    grey: bool
    blur_kernel: int
    solarise_threshold: int | None
    elastic: bool
    stain: bool
    gamma: bool

    @property
    def blending(self) -> list[JitterOperation]:
        return [operation for operation in self.operations if operation != JitterOperation.HUE]

    @property
    def turns_hue(self) -> bool:
        return JitterOperation.HUE in self.operations

    @property
    def taps(self) -> int:
        return self.blur_kernel // 2 + 2

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each of a view's numbers, in the order in which they are packed.

        flags: above 0 where each step of `FLAGS` is done; direction: cosine and sine of the angle for `rotate`;
        offsets: for `turn_hue`; blends: each for `blend`, those before the hue is turned and as many after it, none
        after it where it never is; grey: for `mix`; weights: for a blur; displacements: for `deform`; stains: for
        `jitter_stains`; exponents: for `apply_gamma`. A blend, grey step, blur or gamma whose first number is 1 changes
        nothing.
        """
        return {
            "flags": (len(FLAGS),),
            "direction": (2,),
            "offsets": (3,),
            "blends": (1 + self.turns_hue, len(self.blending), self.channels + 1, self.channels),
            "grey": (self.channels, self.channels),
            "weights": (self.taps,),
            "displacements": (2, CONTROL_POINTS, CONTROL_POINTS),
            "stains": (STAINS, 4),
            "exponents": (1,),
        }

    def pack(self, parameters: AugmentationParameters) -> FloatArray:
        """Pack the numbers of B views, [B, K]: K depends on the steps alone."""
        count, angle = len(parameters), np.deg2rad(parameters.angle)
        flags = [
            parameters.quarter_turns % 2 == 1,
            parameters.angle != 0,
            parameters.jitter & (parameters.hue != 0),
            parameters.solarise,
            parameters.elastic,
            parameters.stain,
        ]
        is_grey = parameters.grey.astype(np.float64)
        unblurred = np.zeros(self.taps)
        unblurred[0] = 1
        kernels = operations.compute_kernels(parameters.sigma, self.blur_kernel)
        numbers = {
            "flags": np.stack(flags, axis=1),
            "direction": np.stack([np.cos(angle), np.sin(angle)], axis=1),
            "offsets": operations.compute_hue_offsets(parameters.hue),
            "blends": self.pack_blends(parameters),
            "grey": compute_blend_numbers(1 - is_grey, np.zeros(count), is_grey, self.channels)[:, :-1],
            "weights": np.where(parameters.blur[:, None], kernels, unblurred),
            "displacements": 2 * parameters.displacements,  # in half sides
            "stains": operations.compute_stain_numbers(parameters.stain_factors, parameters.stain_shifts),
            "exponents": np.where(parameters.gamma, parameters.exponent, 1.0),
        }
        packed = [numbers[name].reshape(count, math.prod(shape)) for name, shape in self.shapes.items()]
        return np.concatenate(packed, axis=1)

    def pack_blends(self, parameters: AugmentationParameters) -> FloatArray:
        """Pack each view's blends in the order drawn for it, [B, *blends]; where it has none, the identity."""
        count, blending = len(parameters), self.blending
        factor = np.ones((count, *self.shapes["blends"][:2]))
        mean_weight, luma_weight = np.zeros_like(factor), np.zeros_like(factor)
        place = parameters.order.argsort(axis=1)  # [B, 4], of each operation in the order
        after = (place > place[:, [JitterOperation.HUE]]) & self.turns_hue
        for operation, drawn, weight in (
            (JitterOperation.BRIGHTNESS, parameters.brightness, None),
            (JitterOperation.CONTRAST, parameters.contrast, mean_weight),
            (JitterOperation.SATURATION, parameters.saturation, luma_weight),
        ):
            if operation not in blending:
                continue
            same_side = after[:, blending] == after[:, [operation]]
            earlier = (place[:, blending] < place[:, [operation]]) & same_side
            slot = np.arange(count), after[:, operation].astype(np.int64), earlier.sum(axis=1)
            factor[slot] = value = np.where(parameters.jitter, drawn, 1.0)
            if weight is not None:
                weight[slot] = 1 - value
        return compute_blend_numbers(factor, mean_weight, luma_weight, self.channels)

    def read(self, packed: Tensor) -> dict[str, Tensor]:
        """Unpack the array of `pack`, [n, K] float32, on the device of the pixels: [n, ...] each by the names in
        `shapes`, and [n] bool by those in `FLAGS`."""
        shapes = self.shapes
        parts = packed.split([math.prod(shape) for shape in shapes.values()], dim=1)
        numbers = {name: part.unflatten(1, shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
        return numbers | dict(zip(FLAGS, (numbers["flags"] > 0).unbind(1), strict=True))


ViewStep = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class StepMode:
    """Hold how to compute. change: `apply_to_rows` or `apply_by_mask`; adjust: for a step whose numbers change nothing
    where they start with 1; blur: `blur_by_shifts`, or another function of images and weights; deform: of images and
    displacements."""

    change: Callable[..., Tensor]
    adjust: Callable[[Tensor, ViewStep, Tensor], Tensor]
    blur: ViewStep
    deform: ViewStep


def adjust_rows(images: Tensor, operation: ViewStep, numbers: Tensor) -> Tensor:
    return apply_to_rows(images, numbers.flatten(1)[:, 0] != 1, operation, numbers)


def augment(images: Tensor, numbers: dict[str, Tensor], steps: ViewSteps, way: StepMode) -> Tensor:
    """Apply all steps between crop and normalisation to [n, C, S, S] float32 in 0..1, which may be overwritten.

    numbers: of `ViewSteps.read`.
    """
    change = way.change
    if steps.transposing:
        images = change(images, numbers["transposed"], operations.transpose)
    if steps.elastic:
        images = change(images, numbers["deformed"], way.deform, numbers["displacements"])
    if steps.rotation is not None:
        rotate = partial(operations.rotate, padding=steps.rotation)
        images = change(images, numbers["rotated"], rotate, numbers["direction"])
    if steps.stain:
        images = change(images, numbers["stained"], operations.jitter_stains, numbers["stains"])
    if steps.gamma:
        images = way.adjust(images, operations.apply_gamma, numbers["exponents"])
    sides = numbers["blends"].unbind(1)
    for blend in sides[0].unbind(1):
        images = way.adjust(images, operations.blend, blend)
    if steps.turns_hue:
        images = change(images, numbers["hue_turned"], operations.turn_hue, numbers["offsets"])
        for blend in sides[1].unbind(1):
            images = way.adjust(images, operations.blend, blend)
    if steps.grey:
        images = way.adjust(images, operations.mix, numbers["grey"])
    if steps.blur_kernel:
        images = way.adjust(images, way.blur, numbers["weights"])
    if steps.solarise_threshold is not None:
        solarise = partial(operations.solarise, threshold=steps.solarise_threshold)
        images = change(images, numbers["solarised"], solarise)
    return images


def normalise(images: Tensor, mean: Tensor, std: Tensor, *, out: Tensor) -> Tensor:
    """Compute (images - mean) / std into `out`."""
    return torch.sub(images, mean, out=out).div_(std)


def per_channel(values: Sequence[float], channels: int) -> Tensor:
    """Return [C, 1, 1] float32. A grey image takes the first value."""
    return torch.tensor(values[:channels], dtype=torch.float32)[:, None, None]


ROW_MODE = StepMode(apply_to_rows, adjust_rows, operations.blur_by_shifts, operations.deform_images)


class FixedShapeAugmentation(nn.Module):
    """Make views of stored images: one function of two tensors in which no shape depends on a draw.

    It compiles with `torch.compile(..., fullgraph=True, dynamic=False)`. docs/speed.md counts its launches.
    """

    scale: Tensor
    shift: Tensor
    distances: Tensor
    curves: Tensor  # None where nothing is deformed, as are the centres
    centres: Tensor

    def __init__(self, steps: ViewSteps, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.steps = steps
        scale = 1 / per_channel(std, steps.channels)
        self.register_buffer("scale", scale)
        self.register_buffer("shift", -per_channel(mean, steps.channels) * scale)
        distances = operations.compute_mirrored_distances(steps.size if steps.blur_kernel else 0, steps.taps)
        self.register_buffer("distances", distances)
        curves, centres = operations.compute_deformation_basis(steps.size) if steps.elastic else (None, None)
        self.register_buffer("curves", curves)
        self.register_buffer("centres", centres)

    @torch.no_grad()
    def forward(self, images: Tensor, packed: Tensor) -> Tensor:
        """Make V views of each image: [V, B, 3, S, S] float32, normalised, `channels_last`.

        images: uint8 [B, C, R, R]; packed: float32 [B V, K], the numbers of `pack_crop_axes` and after them those of
        `ViewSteps.pack`, an image's views side by side; both on the module's device.
        """
        steps, count = self.steps, len(images)
        blur = partial(operations.blur_by_matrices, distances=self.distances)
        deform = partial(operations.deform, curves=self.curves, centres=self.centres)
        way = StepMode(apply_by_mask, lambda images, operation, numbers: operation(images, numbers), blur, deform)
        # Matrix products in bfloat16, as a training step's autocast would have them, lose levels.
        with torch.autocast(images.device.type, enabled=False):
            cropped = crop_by_matrices(images, packed[:, : 2 * AXIS_NUMBERS], steps.size)
            views = augment(cropped, steps.read(packed[:, 2 * AXIS_NUMBERS :]), steps, way)
            normalised = torch.addcmul(self.shift, views, self.scale).expand(-1, 3, -1, -1)
            by_image: Tensor = normalised.unflatten(0, (count, -1))  # [B, V, 3, S, S]
            return by_image.permute(1, 0, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
