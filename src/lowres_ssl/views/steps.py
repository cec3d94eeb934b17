"""What is done to views after the crop, and each one's numbers for it: one array, so that they travel in one copy."""

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from lowres_ssl.views.blur import kernels
from lowres_ssl.views.colour import blend_numbers, hue_offsets
from lowres_ssl.views.parameters import Array, Operation, ViewParameters


@dataclass(frozen=True)
class Numbers:
    """Of n views, on the device of their pixels. A blend, grey step or blur whose first number is 1 changes nothing.

    transposed, rotated, hue_turned, solarised: [n] bool, whether that is done
    direction: [n, 2], cosine and sine of the angle of `geometry.rotate`
    offsets: [n, 3] for `colour.turn_hue`
    before, after: for `colour.blend`, [n, C + 1, C] each: the blends before the hue is turned, and those after it
    grey: [n, C, C] for `colour.mix`
    weights: [n, T] for a blur
    """

    transposed: Tensor
    rotated: Tensor
    hue_turned: Tensor
    solarised: Tensor
    direction: Tensor
    offsets: Tensor
    before: tuple[Tensor, ...]
    after: tuple[Tensor, ...]
    grey: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Steps:
    """Which steps there can be, decided by settings and the number of channels alone.

    size: pixels a side, S; channels: C; transposing, grey: whether there are any; rotation: the padding of rotations by
    any angle, None: there are none; operations: those of the jitter that change anything; blur_kernel: the full
    kernel's width in pixels, 0: no blur; solarise_threshold: of 255, None: no solarisation.
    """

    size: int
    channels: int
    transposing: bool
    rotation: str | None
    operations: tuple[Operation, ...]
    grey: bool
    blur_kernel: int
    solarise_threshold: int | None

    @property
    def blending(self) -> list[Operation]:
        return [operation for operation in self.operations if operation != Operation.HUE]

    @property
    def turns_hue(self) -> bool:
        return Operation.HUE in self.operations

    @property
    def blends(self) -> tuple[int, int, int, int]:
        """The shape of a view's blends: as many after the hue is turned as before it, or where it never is, none."""
        return 1 + self.turns_hue, len(self.blending), self.channels + 1, self.channels

    @property
    def taps(self) -> int:
        return self.blur_kernel // 2 + 2

    def pack(self, parameters: ViewParameters) -> Array:
        """The numbers of B views, [B, K]: K depends on the steps alone."""
        count, angle = len(parameters), np.deg2rad(parameters.angle)
        flags = [
            parameters.quarter_turns % 2 == 1,
            parameters.angle != 0,
            parameters.jitter & (parameters.hue != 0),
            parameters.solarise,
        ]
        is_grey = parameters.grey.astype(np.float64)
        grey = blend_numbers(1 - is_grey, np.zeros(count), is_grey, self.channels)[:, :-1]
        unblurred = np.zeros(self.taps)
        unblurred[0] = 1
        weights = np.where(parameters.blur[:, None], kernels(parameters.sigma, self.blur_kernel), unblurred)
        packed = [
            np.stack(flags, axis=1),
            np.stack([np.cos(angle), np.sin(angle)], axis=1),
            hue_offsets(parameters.hue),
            self.pack_blends(parameters),
            grey,
            weights,
        ]
        return np.concatenate([each.reshape(count, math.prod(each.shape[1:])) for each in packed], axis=1)

    def pack_blends(self, parameters: ViewParameters) -> Array:
        """[B, *blends]: each view's blends in the order drawn for it, and where it has none, what changes nothing."""
        count, blending = len(parameters), self.blending
        factor = np.ones((count, *self.blends[:2]))
        mean_weight, luma_weight = np.zeros_like(factor), np.zeros_like(factor)
        place = parameters.order.argsort(axis=1)  # [B, len(Operation)], of each operation in the order
        after = (place > place[:, [Operation.HUE]]) & self.turns_hue
        for operation, drawn, weight in (
            (Operation.BRIGHTNESS, parameters.brightness, None),
            (Operation.CONTRAST, parameters.contrast, mean_weight),
            (Operation.SATURATION, parameters.saturation, luma_weight),
        ):
            if operation not in blending:
                continue
            same_side = after[:, blending] == after[:, [operation]]
            earlier = (place[:, blending] < place[:, [operation]]) & same_side
            slot = np.arange(count), after[:, operation].astype(np.int64), earlier.sum(axis=1)
            factor[slot] = value = np.where(parameters.jitter, drawn, 1.0)
            if weight is not None:
                weight[slot] = 1 - value
        return blend_numbers(factor, mean_weight, luma_weight, self.channels)

    def read(self, packed: Tensor) -> Numbers:
        """What `pack` has packed: [n, K] float32, on the device of the pixels."""
        channels = self.channels
        sizes = [4, 2, 3, math.prod(self.blends), channels * channels, self.taps]
        flags, direction, offsets, blends, grey, weights = packed.split(sizes, dim=1)
        transposed, rotated, hue_turned, solarised = (flags > 0).unbind(1)
        sides = [side.unbind(1) for side in blends.unflatten(1, self.blends).unbind(1)]
        return Numbers(
            transposed=transposed,
            rotated=rotated,
            hue_turned=hue_turned,
            solarised=solarised,
            direction=direction,
            offsets=offsets,
            before=sides[0],
            after=sides[1] if self.turns_hue else (),
            grey=grey.unflatten(1, (channels, channels)),
            weights=weights,
        )
