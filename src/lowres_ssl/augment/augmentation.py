"""Views of a batch: the settings, what is drawn for each image, and having it done where the images are."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lowres_ssl.augment import crop
from lowres_ssl.augment.apply_where import copy_array_to_device
from lowres_ssl.augment.blur import compute_kernel_size
from lowres_ssl.augment.crop import crop_by_matrices, crop_one_by_one, pack_crop_axes, scale_boxes_to_store
from lowres_ssl.augment.pipeline import ROW_MODE, FixedShapeAugmentation, ViewSteps, augment, normalise, per_channel
from lowres_ssl.augment.sampling import (
    JITTER_ORDERS,
    AugmentationParameters,
    DrawRow,
    JitterOperation,
    draw_uniforms,
    hash_image_ids,
    sample_between,
    sample_crop_boxes,
    sample_factors,
    sample_whole_numbers,
)
from lowres_ssl.errors import ConfigError


def require_setting(ok: bool, key: str, got: object, wanted: str) -> None:
    if not ok:
        raise ConfigError(f"{key}={got}: wanted {wanted}")


def require_probability(key: str, value: float) -> None:
    require_setting(0 <= value <= 1, key, value, "a probability from 0 to 1")


def require_strength(key: str, value: float, high: float = math.inf) -> None:
    wanted = "a number of at least 0" if high == math.inf else f"a number from 0 to {high:g}"
    require_setting(0 <= value <= high and math.isfinite(value), key, value, wanted)


def require_range(key: str, values: Sequence[float], high: float = math.inf) -> None:
    """Two numbers, from and to, both above 0."""
    ok = len(values) == 2 and 0 < values[0] <= values[1] <= high and math.isfinite(values[1])
    limit = "" if high == math.inf else f" and at most {high:g}"
    require_setting(ok, key, list(values), f"two numbers above 0{limit}, the smaller first")


def require_statistics(mean: Sequence[float], std: Sequence[float]) -> None:
    """Normalisation: one number or three, every deviation above 0."""
    require_setting(
        len(mean) in (1, 3) and all(map(math.isfinite, mean)), "images.mean", list(mean), "one number or three"
    )
    ok = len(std) in (1, 3) and all(math.isfinite(value) and value > 0 for value in std)
    require_setting(ok, "images.std", list(std), "one number above 0 or three")


__all__ = ["Augmentation", "hash_image_ids", "make_evaluation_view"]

# On a CPU the pipeline runs over as many images at a time as stay in its cache.
CPU_CHUNK_VALUES = 2**21


class Augmentation:
    """Random views of a batch: crop, flips, right angles, rotation, jitter, grey, blur, solarise, normalise.

    image_size: pixels a side of a view, S. mean, std: of the values in 0..1, three numbers or one; a one-channel image
    takes the first. seed: with the epoch, the view and the image's key it decides every draw, nothing else does.
    crop_scale: the crop's share of the original's area, from and to; crop_ratio: its width over its height, likewise.
    horizontal_flip, vertical_flip, jitter, grey, blur, solarise: probabilities. right_angles: turned by 0, 90, 180 or
    270 degrees, each as likely. rotation_degrees: turned by any angle up to this, either way; rotation_padding: "zeros"
    or "reflection". brightness, contrast, saturation, hue: strengths as in torchvision's ColorJitter, applied in an
    order drawn for each image. blur_kernel_fraction, blur_sigma_fraction (from and to): the Gaussian kernel's width and
    standard deviation as shares of S, so that a blur is as wide on the image at any size. solarise_threshold: of 255.

    Raises `ConfigError` for a value out of its range.
    """

    def __init__(
        self,
        *,
        image_size: int,
        mean: Sequence[float],
        std: Sequence[float],
        seed: int,
        crop_scale: tuple[float, float],
        crop_ratio: tuple[float, float],
        horizontal_flip: float,
        vertical_flip: float,
        right_angles: bool,
        rotation_degrees: float,
        rotation_padding: str,
        jitter: float,
        brightness: float,
        contrast: float,
        saturation: float,
        hue: float,
        grey: float,
        blur: float,
        blur_kernel_fraction: float,
        blur_sigma_fraction: tuple[float, float],
        solarise: float,
        solarise_threshold: int,
    ) -> None:
        require_setting(image_size >= 2, "image_size", image_size, "at least 2 pixels")
        require_statistics(mean, std)
        require_setting(0 <= seed < 2**64, "seed", seed, "a whole number from 0 to 2**64 - 1")
        require_range("views.crop_scale", crop_scale, high=1.0)
        require_range("views.crop_ratio", crop_ratio)
        require_probability("views.horizontal_flip", horizontal_flip)
        require_probability("views.vertical_flip", vertical_flip)
        require_strength("views.rotation_degrees", rotation_degrees, high=180.0)
        paddings = crop.PADDING_CHOICES
        require_setting(rotation_padding in paddings, "views.rotation_padding", rotation_padding, " or ".join(paddings))
        require_probability("views.jitter", jitter)
        require_strength("views.brightness", brightness)
        require_strength("views.contrast", contrast)
        require_strength("views.saturation", saturation)
        require_strength("views.hue", hue, high=0.5)
        require_probability("views.grey", grey)
        require_probability("views.blur", blur)
        fraction = blur_kernel_fraction
        require_setting(0 < fraction <= 1, "views.blur_kernel_fraction", fraction, "a number above 0 and at most 1")
        require_range("views.blur_sigma_fraction", blur_sigma_fraction, high=1.0)
        require_probability("views.solarise", solarise)
        threshold = solarise_threshold
        require_setting(0 <= threshold <= 255, "views.solarise_threshold", threshold, "a whole number from 0 to 255")

        self.image_size, self.mean, self.std, self.seed = image_size, tuple(mean), tuple(std), seed
        self.crop_scale, self.crop_ratio = (crop_scale[0], crop_scale[1]), (crop_ratio[0], crop_ratio[1])
        self.horizontal_flip, self.vertical_flip, self.right_angles = horizontal_flip, vertical_flip, right_angles
        self.rotation_degrees, self.rotation_padding = rotation_degrees, rotation_padding
        self.jitter, self.brightness, self.contrast = jitter, brightness, contrast
        self.saturation, self.hue, self.grey = saturation, hue, grey
        self.blur, self.blur_kernel = blur, compute_kernel_size(image_size, fraction)
        self.blur_sigma = (blur_sigma_fraction[0] * image_size, blur_sigma_fraction[1] * image_size)  # in pixels
        self.solarise, self.solarise_threshold = solarise, solarise_threshold
        self.functions: dict[tuple[int, torch.device], FixedShapeAugmentation] = {}

    def parameters(
        self, sizes: NDArray[np.int64], keys: NDArray[np.uint64], *, epoch: int, view: int
    ) -> AugmentationParameters:
        """Draw what will be done to each image. sizes: [B, 2] (height, width) of the originals; keys: [B]."""
        return self.sample(draw_uniforms(seed=self.seed, epoch=epoch, view=view, keys=keys, count=DrawRow.COUNT), sizes)

    def sample(self, draws: NDArray[np.float64], sizes: NDArray[np.int64]) -> AugmentationParameters:
        """Turn uniform draws, [Draw.COUNT, B], into what will be done to each image; sizes as in `parameters`."""
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
            sigma=sample_between(draws[DrawRow.SIGMA], *self.blur_sigma),
            solarise=draws[DrawRow.SOLARISE] < self.solarise,
        )

    def steps(self, channels: int) -> ViewSteps:
        """List what can be done to images of so many channels: grey ones have neither hue nor saturation."""
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
            blur_kernel=self.blur_kernel if self.blur > 0 else 0,
            solarise_threshold=self.solarise_threshold if self.solarise > 0 else None,
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
        """Compute what `FixedShapes` takes of these V views of a batch of images of this shape, [B, C, R, R]: [B V, K].

        sizes and keys as in `__call__`.
        """
        _, channels, storage_size, _ = shape
        drawn = [
            draw_uniforms(seed=self.seed, epoch=epoch, view=view, keys=keys, count=DrawRow.COUNT) for view in views
        ]
        sizes = np.repeat(sizes, len(views), axis=0)
        parameters = self.sample(np.stack(drawn, axis=2).reshape(DrawRow.COUNT, -1), sizes)
        boxes = scale_boxes_to_store(parameters.boxes, sizes, storage_size)
        crop = pack_crop_axes(boxes, parameters.flips(), self.image_size)
        return np.concatenate([crop, self.steps(channels).pack(parameters)], axis=1, dtype=np.float32)

    def fixed_shapes(self, channels: int, device: torch.device) -> FixedShapeAugmentation:
        """Return the function that makes views of stored images and what `pack` computes, on this device."""
        if (channels, device) not in self.functions:
            function = FixedShapeAugmentation(self.steps(channels), self.mean, self.std)
            self.functions[channels, device] = function.to(device)
        return self.functions[channels, device]

    def pair(
        self, images: Tensor, sizes: NDArray[np.int64], keys: NDArray[np.uint64], *, epoch: int
    ) -> tuple[Tensor, Tensor]:
        """Make both views of each image; otherwise as `__call__`."""
        first, second = self.make(images, sizes, keys, epoch=epoch, views=(0, 1))
        return first, second

    def __call__(
        self, images: Tensor, sizes: NDArray[np.int64], keys: NDArray[np.uint64], *, epoch: int, view: int
    ) -> Tensor:
        """Make one random view of each image: [B, 3, S, S] float32 `channels_last`, normalised, on the images' device.

        images: [B, C, R, R] uint8, C 3 or 1, each squashed into its square; sizes: [B, 2] int64, the originals'
        (height, width); keys: [B] uint64 from `image_keys`.
        """
        (made,) = self.make(images, sizes, keys, epoch=epoch, views=(view,))
        return made

    def make(
        self,
        images: Tensor,
        sizes: NDArray[np.int64],
        keys: NDArray[np.uint64],
        *,
        epoch: int,
        views: Sequence[int],
    ) -> Sequence[Tensor]:
        """Make these views of each image, see `__call__`: on a CPU, where arithmetic is dear, by rows."""
        if images.device.type == "cpu":
            return [
                self.make_by_rows(images, sizes, self.parameters(sizes, keys, epoch=epoch, view=view)) for view in views
            ]
        packed = self.pack(sizes, keys, images.shape, epoch=epoch, views=views)
        function = self.fixed_shapes(images.shape[1], images.device)
        made: Tensor = function(images, copy_array_to_device(packed, images.device))
        return made.unbind()

    @torch.no_grad()
    def make_by_rows(self, images: Tensor, sizes: NDArray[np.int64], parameters: AugmentationParameters) -> Tensor:
        """Make a view of each image with these parameters; a step takes arithmetic only for what it changes."""
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
    """The whole image, resampled and normalised, nothing random: [B, 3, S, S] float32 on the images' device.

    images: [B, C, R, R] uint8, C 3 or 1; mean and std as in `ViewMaker`, but that a grey image is normalised three
    times where they differ by channel, as weights trained on colour expect it.
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
