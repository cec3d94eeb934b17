"""Make random views of a batch: check the settings, draw for each image, and compute on the images' device."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lowres_ssl.augment.crop import crop_by_matrices, crop_one_by_one, pack_crop_axes, scale_boxes_to_store
from lowres_ssl.augment.operations import PADDING_CHOICES, compute_kernel_size
from lowres_ssl.augment.pipeline import ROW_MODE, FixedShapeAugmentation, ViewSteps, augment, normalise, per_channel
from lowres_ssl.augment.sampling import (
    CONTROL_POINTS,
    JITTER_ORDERS,
    AugmentationParameters,
    DrawRow,
    JitterOperation,
    ViewKind,
    draw_uniforms,
    sample_between,
    sample_crop_boxes,
    sample_displacements,
    sample_exponents,
    sample_factors,
    sample_whole_numbers,
)
from lowres_ssl.config.check import require
from lowres_ssl.device import copy_array_to_device

# On a CPU the pipeline processes as many images at a time as fit into its cache.
CPU_CHUNK_VALUES = 2**21
PROBABILITIES = ("horizontal_flip", "vertical_flip", "jitter", "grey", "blur", "solarise", "elastic", "stain", "gamma")
MAX_STRENGTHS = {"brightness": math.inf, "contrast": math.inf, "saturation": math.inf, "hue": 0.5}
MAX_STRENGTHS |= {"rotation_degrees": 180.0, "elastic_strength": 0.1, "stain_strength": 1.0, "gamma_strength": math.inf}
MAX_IN_RANGES = {"crop_scale": 1.0, "crop_ratio": math.inf, "blur_sigma_fraction": 1.0}


@dataclass(eq=False)
class Augmentation:
    """Make random views of a batch: crop and flip, take the steps that `pipeline.augment` lists, normalise.

    image_size: pixels a side of a view, S. mean, std: of the values in 0..1, three numbers or one; a one-channel image
    takes the first. seed: with the epoch, the view and the image's key it alone decides every draw.
    crop_scale: the crop's share of the original's area, from and to; crop_ratio: its width over its height, likewise.
    horizontal_flip, vertical_flip, jitter, grey, blur, solarise: probabilities. right_angles: turned by 0, 90, 180 or
    270 degrees, each as likely. rotation_degrees: turned by any angle up to this, either way; rotation_padding: "zeros"
    or "reflection". brightness, contrast, saturation, hue: strengths as in torchvision's ColorJitter, applied in an
    order drawn for each image. blur_kernel_fraction, blur_sigma_fraction (from and to): the Gaussian kernel's width and
    standard deviation as shares of S, so that a blur is as wide on the image at any size. solarise_threshold: of 255.
    elastic, stain, gamma: probabilities. elastic_strength: the farthest that a control point of the deformation moves
    along an axis, as a share of S. stain_strength: the stains of a colour image are multiplied by up to 1 +- this, and
    up to +- this is added (Tellez et al., arXiv 1808.07380). gamma_strength: the exponent is log-uniform from
    1 / (1 + this) to 1 + this.

    Raises `ConfigError` for a value out of its range.
    """

    image_size: int
    mean: Sequence[float]
    std: Sequence[float]
    seed: int
    crop_scale: Sequence[float]
    crop_ratio: Sequence[float]
    horizontal_flip: float
    vertical_flip: float
    right_angles: bool
    rotation_degrees: float
    rotation_padding: str
    jitter: float
    brightness: float
    contrast: float
    saturation: float
    hue: float
    grey: float
    blur: float
    blur_kernel_fraction: float
    blur_sigma_fraction: Sequence[float]
    solarise: float
    solarise_threshold: int
    elastic: float
    elastic_strength: float
    stain: float
    stain_strength: float
    gamma: float
    gamma_strength: float
    functions: dict[tuple[int, torch.device], FixedShapeAugmentation] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        require(self.image_size >= 2, "image_size", self.image_size, "at least 2 pixels")
        require(0 <= self.seed < 2**64, "seed", self.seed, "a whole number from 0 to 2**64 - 1")
        for key, values, above in (("mean", self.mean, -math.inf), ("std", self.std, 0)):
            ok = len(values) in (1, 3) and all(math.isfinite(value) and value > above for value in values)
            wanted = "one number above 0 or three" if above == 0 else "one number or three"
            require(ok, f"images.{key}", list(values), wanted)
        for key in PROBABILITIES:
            value = getattr(self, key)
            require(0 <= value <= 1, f"views.{key}", value, "a probability from 0 to 1")
        for key, most in MAX_STRENGTHS.items():
            value = getattr(self, key)
            wanted = "a number of at least 0" if most == math.inf else f"a number from 0 to {most:g}"
            require(0 <= value <= most and math.isfinite(value), f"views.{key}", value, wanted)
        for key, most in MAX_IN_RANGES.items():
            values = getattr(self, key)
            ok = len(values) == 2 and 0 < values[0] <= values[1] <= most and math.isfinite(values[1])
            limit = "" if most == math.inf else f" and at most {most:g}"
            require(ok, f"views.{key}", list(values), f"two numbers above 0{limit}, the smaller first")
        fraction, padding, threshold = self.blur_kernel_fraction, self.rotation_padding, self.solarise_threshold
        require(0 < fraction <= 1, "views.blur_kernel_fraction", fraction, "a number above 0 and at most 1")
        require(padding in PADDING_CHOICES, "views.rotation_padding", padding, " or ".join(PADDING_CHOICES))
        require(0 <= threshold <= 255, "views.solarise_threshold", threshold, "a whole number from 0 to 255")

    def of_kind(self, kind: ViewKind) -> "Augmentation":
        """Return the same augmentation for views of this kind."""
        size = max(2, round(kind.size * self.image_size))
        return replace(self, image_size=size, crop_scale=kind.crop_scale or self.crop_scale)

    def sample(
        self, sizes: NDArray[np.int64], keys: NDArray[np.uint64], *, epoch: int, views: Sequence[int]
    ) -> AugmentationParameters:
        """Draw the parameters of each image's V views, [B V]. sizes: [B, 2] (height, width) of the originals; keys:
        [B]."""
        drawn = [
            draw_uniforms(seed=self.seed, epoch=epoch, view=view, keys=keys, count=DrawRow.COUNT) for view in views
        ]
        draws, sizes = np.stack(drawn, axis=2).reshape(DrawRow.COUNT, -1), np.repeat(sizes, len(views), axis=0)
        low, high = (share * self.image_size for share in self.blur_sigma_fraction)  # in pixels
        displacements = draws[DrawRow.DISPLACEMENT : DrawRow.DISPLACEMENT + 2 * CONTROL_POINTS**2]
        stain_factors = draws[DrawRow.STAIN_FACTOR : DrawRow.STAIN_SHIFT]
        stain_shifts = draws[DrawRow.STAIN_SHIFT : DrawRow.ELASTIC]
        return AugmentationParameters(
            boxes=sample_crop_boxes(draws, sizes, scale=self.crop_scale, ratio=self.crop_ratio),
            horizontal_flip=draws[DrawRow.HORIZONTAL_FLIP] < self.horizontal_flip,
            vertical_flip=draws[DrawRow.VERTICAL_FLIP] < self.vertical_flip,
            quarter_turns=sample_whole_numbers(draws[DrawRow.QUARTER_TURNS], 4 if self.right_angles else 1),
            angle=sample_between(draws[DrawRow.ANGLE], -self.rotation_degrees, self.rotation_degrees),
            jitter=draws[DrawRow.JITTER] < self.jitter,
            order=JITTER_ORDERS[sample_whole_numbers(draws[DrawRow.ORDER], len(JITTER_ORDERS))],
            brightness=sample_factors(draws[DrawRow.BRIGHTNESS], self.brightness),
            contrast=sample_factors(draws[DrawRow.CONTRAST], self.contrast),
            saturation=sample_factors(draws[DrawRow.SATURATION], self.saturation),
            hue=sample_between(draws[DrawRow.HUE], -self.hue, self.hue),
            grey=draws[DrawRow.GREY] < self.grey,
            blur=draws[DrawRow.BLUR] < self.blur,
            sigma=sample_between(draws[DrawRow.SIGMA], low, high),
            solarise=draws[DrawRow.SOLARISE] < self.solarise,
            elastic=draws[DrawRow.ELASTIC] < self.elastic,
            displacements=sample_displacements(displacements, self.elastic_strength),
            stain=draws[DrawRow.STAIN] < self.stain,
            stain_factors=sample_factors(stain_factors, self.stain_strength).T,
            stain_shifts=sample_between(stain_shifts, -self.stain_strength, self.stain_strength).T,
            gamma=draws[DrawRow.GAMMA] < self.gamma,
            exponent=sample_exponents(draws[DrawRow.EXPONENT], self.gamma_strength),
        )

    def steps(self, channels: int) -> ViewSteps:
        """List what can be done to images of so many channels: grey ones have no hue, saturation and stains."""
        strengths = {
            JitterOperation.BRIGHTNESS: self.brightness,
            JitterOperation.CONTRAST: self.contrast,
            JitterOperation.SATURATION: self.saturation if channels == 3 else 0,
            JitterOperation.HUE: self.hue if channels == 3 else 0,
        }
        return ViewSteps(
            size=self.image_size,
            channels=channels,
            transposing=self.right_angles,
            rotation=self.rotation_padding if self.rotation_degrees > 0 else None,
            operations=tuple(each for each, strength in strengths.items() if strength > 0 and self.jitter > 0),
            grey=self.grey > 0 and channels == 3,
            blur_kernel=compute_kernel_size(self.image_size, self.blur_kernel_fraction) if self.blur > 0 else 0,
            solarise_threshold=self.solarise_threshold if self.solarise > 0 else None,
            elastic=self.elastic > 0 and self.elastic_strength > 0,
            stain=self.stain > 0 and self.stain_strength > 0 and channels == 3,
            gamma=self.gamma > 0 and self.gamma_strength > 0,
        )

    def pack(
        self,
        sizes: NDArray[np.int64],
        keys: NDArray[np.uint64],
        shape: torch.Size,
        *,
        epoch: int,
        views: Sequence[int],
    ) -> NDArray[np.float32]:
        """Pack the numbers of V views for `FixedShapeAugmentation`: [B V, K].

        shape: the images', [B, C, R, R]; sizes and keys as in `__call__`.
        """
        _, channels, storage_size, _ = shape
        parameters = self.sample(sizes, keys, epoch=epoch, views=views)
        boxes = scale_boxes_to_store(parameters.boxes, np.repeat(sizes, len(views), axis=0), storage_size)
        crop = pack_crop_axes(boxes, parameters.flips(), self.image_size)
        return np.concatenate([crop, self.steps(channels).pack(parameters)], axis=1, dtype=np.float32)

    def fixed_shapes(self, channels: int, device: torch.device) -> FixedShapeAugmentation:
        """Return the function that makes views of stored images and the array of `pack`, on this device."""
        if (channels, device) not in self.functions:
            function = FixedShapeAugmentation(self.steps(channels), self.mean, self.std)
            self.functions[channels, device] = function.to(device)
        return self.functions[channels, device]

    def __call__(
        self,
        images: Tensor,
        sizes: NDArray[np.int64],
        keys: NDArray[np.uint64],
        *,
        epoch: int,
        views: Sequence[int],
    ) -> Sequence[Tensor]:
        """Make these random views of each image: of each view [B, 3, S, S] float32 `channels_last`, normalised, on the
        images' device; on a CPU, where arithmetic is slow, by rows.

        images: [B, C, R, R] uint8, C 3 or 1, each resized to a square; sizes: [B, 2] int64, the originals' (height,
        width); keys: [B] uint64 from `hash_image_ids`.
        """
        if images.device.type == "cpu":
            drawn = [self.sample(sizes, keys, epoch=epoch, views=[view]) for view in views]
            return [self.make_by_rows(images, sizes, parameters) for parameters in drawn]
        packed = self.pack(sizes, keys, images.shape, epoch=epoch, views=views)
        function = self.fixed_shapes(images.shape[1], images.device)
        made: Tensor = function(images, copy_array_to_device(packed, images.device))
        return made.unbind()

    @torch.no_grad()
    def make_by_rows(self, images: Tensor, sizes: NDArray[np.int64], parameters: AugmentationParameters) -> Tensor:
        """Make a view of each image with these parameters; a step computes only the images that it changes."""
        count, channels, side = len(images), images.shape[1], self.image_size
        boxes, flips = scale_boxes_to_store(parameters.boxes, sizes, images.shape[2]), parameters.flips()
        steps, mean, std = self.steps(channels), per_channel(self.mean, channels), per_channel(self.std, channels)
        packed = torch.from_numpy(steps.pack(parameters).astype(np.float32))
        views = torch.empty(count, 3, side, side, memory_format=torch.channels_last)
        chunk = max(1, CPU_CHUNK_VALUES // (channels * side * side))
        with torch.autocast("cpu", enabled=False):
            for start in range(0, count, chunk):
                rows = slice(start, start + chunk)
                cropped = crop_one_by_one(images[rows], boxes[rows], flips[rows], side)
                augmented = augment(cropped, steps.read(packed[rows]), steps, ROW_MODE)
                views[rows] = normalise(augmented, mean, std, out=augmented)
        return views


@torch.no_grad()
def make_evaluation_view(images: Tensor, *, image_size: int, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Resample and normalise the whole image, nothing random: [B, 3, S, S] float32 on the images' device.

    images: [B, C, R, R] uint8, C 3 or 1; mean and std as in `Augmentation`, but a grey image is normalised three times
    where they differ by channel, as weights trained on colour expect it.
    """
    count, channels, side, _ = images.shape
    boxes, flips = np.tile(np.array([0, 0, side, side]), (count, 1)), np.zeros((count, 2), dtype=np.bool_)
    if images.device.type == "cpu":
        views = crop_one_by_one(images, boxes, flips, image_size)
    else:
        with torch.autocast(images.device.type, enabled=False):
            numbers = pack_crop_axes(boxes, flips, image_size).astype(np.float32)
            views = crop_by_matrices(images, copy_array_to_device(numbers, images.device), image_size)
    if len(set(mean)) > 1 or len(set(std)) > 1:
        views, channels = views.expand(-1, 3, -1, -1), 3
    shift, scale = (per_channel(values, channels).to(images.device, non_blocking=True) for values in (mean, std))
    return normalise(views, shift, scale, out=torch.empty_like(views)).expand(-1, 3, -1, -1)
