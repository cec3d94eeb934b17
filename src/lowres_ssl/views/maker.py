"""Views of a batch: the settings, what is drawn for each image, and having it done where the images are."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lowres_ssl.views import geometry
from lowres_ssl.views.blur import kernel_size
from lowres_ssl.views.crop import axes, boxes_in_store, crop_by_matrices, crop_one_by_one
from lowres_ssl.views.draws import image_keys, uniforms
from lowres_ssl.views.parameters import ORDERS, Draw, Operation, ViewParameters, between, factors, sample_boxes, whole
from lowres_ssl.views.pipeline import BY_ROWS, FixedShapes, augment, normalise, per_channel
from lowres_ssl.views.ranges import require, require_probability, require_range, require_statistics, require_strength
from lowres_ssl.views.rows import to_device
from lowres_ssl.views.steps import Steps

__all__ = ["ViewMaker", "evaluation_view", "image_keys"]

# On a CPU the pipeline runs over as many images at a time as stay in its cache.
CPU_CHUNK_VALUES = 2**21


class ViewMaker:
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
        require(image_size >= 2, "image_size", image_size, "at least 2 pixels")
        require_statistics(mean, std)
        require(0 <= seed < 2**64, "seed", seed, "a whole number from 0 to 2**64 - 1")
        require_range("views.crop_scale", crop_scale, high=1.0)
        require_range("views.crop_ratio", crop_ratio)
        require_probability("views.horizontal_flip", horizontal_flip)
        require_probability("views.vertical_flip", vertical_flip)
        require_strength("views.rotation_degrees", rotation_degrees, high=180.0)
        paddings = geometry.PADDINGS
        require(rotation_padding in paddings, "views.rotation_padding", rotation_padding, " or ".join(paddings))
        require_probability("views.jitter", jitter)
        require_strength("views.brightness", brightness)
        require_strength("views.contrast", contrast)
        require_strength("views.saturation", saturation)
        require_strength("views.hue", hue, high=0.5)
        require_probability("views.grey", grey)
        require_probability("views.blur", blur)
        fraction = blur_kernel_fraction
        require(0 < fraction <= 1, "views.blur_kernel_fraction", fraction, "a number above 0 and at most 1")
        require_range("views.blur_sigma_fraction", blur_sigma_fraction, high=1.0)
        require_probability("views.solarise", solarise)
        threshold = solarise_threshold
        require(0 <= threshold <= 255, "views.solarise_threshold", threshold, "a whole number from 0 to 255")

        self.image_size, self.mean, self.std, self.seed = image_size, tuple(mean), tuple(std), seed
        self.crop_scale, self.crop_ratio = (crop_scale[0], crop_scale[1]), (crop_ratio[0], crop_ratio[1])
        self.horizontal_flip, self.vertical_flip, self.right_angles = horizontal_flip, vertical_flip, right_angles
        self.rotation_degrees, self.rotation_padding = rotation_degrees, rotation_padding
        self.jitter, self.brightness, self.contrast = jitter, brightness, contrast
        self.saturation, self.hue, self.grey = saturation, hue, grey
        self.blur, self.blur_kernel = blur, kernel_size(image_size, fraction)
        self.blur_sigma = (blur_sigma_fraction[0] * image_size, blur_sigma_fraction[1] * image_size)  # in pixels
        self.solarise, self.solarise_threshold = solarise, solarise_threshold
        self.functions: dict[tuple[int, torch.device], FixedShapes] = {}

    def parameters(
        self, sizes: NDArray[np.int64], keys: NDArray[np.uint64], *, epoch: int, view: int
    ) -> ViewParameters:
        """Draw what will be done to each image. sizes: [B, 2] (height, width) of the originals; keys: [B]."""
        return self.sample(uniforms(seed=self.seed, epoch=epoch, view=view, keys=keys, count=Draw.COUNT), sizes)

    def sample(self, draws: NDArray[np.float64], sizes: NDArray[np.int64]) -> ViewParameters:
        """Turn uniform draws, [Draw.COUNT, B], into what will be done to each image; sizes as in `parameters`."""
        return ViewParameters(
            boxes=sample_boxes(draws, sizes, scale=self.crop_scale, ratio=self.crop_ratio),
            horizontal_flip=draws[Draw.HORIZONTAL_FLIP] < self.horizontal_flip,
            vertical_flip=draws[Draw.VERTICAL_FLIP] < self.vertical_flip,
            quarter_turns=whole(draws[Draw.QUARTER_TURNS], 4 if self.right_angles else 1),
            angle=between(draws[Draw.ANGLE], -self.rotation_degrees, self.rotation_degrees),
            jitter=draws[Draw.JITTER] < self.jitter,
            order=ORDERS[whole(draws[Draw.ORDER], len(ORDERS))],
            brightness=factors(draws[Draw.BRIGHTNESS], self.brightness),
            contrast=factors(draws[Draw.CONTRAST], self.contrast),
            saturation=factors(draws[Draw.SATURATION], self.saturation),
            hue=between(draws[Draw.HUE], -self.hue, self.hue),
            grey=draws[Draw.GREY] < self.grey,
            blur=draws[Draw.BLUR] < self.blur,
            sigma=between(draws[Draw.SIGMA], *self.blur_sigma),
            solarise=draws[Draw.SOLARISE] < self.solarise,
        )

    def steps(self, channels: int) -> Steps:
        """List what can be done to images of so many channels: grey ones have neither hue nor saturation."""
        strengths = {
            Operation.BRIGHTNESS: self.brightness,
            Operation.CONTRAST: self.contrast,
            Operation.SATURATION: self.saturation if channels == 3 else 0,
            Operation.HUE: self.hue if channels == 3 else 0,
        }
        return Steps(
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
        drawn = [uniforms(seed=self.seed, epoch=epoch, view=view, keys=keys, count=Draw.COUNT) for view in views]
        sizes = np.repeat(sizes, len(views), axis=0)
        parameters = self.sample(np.stack(drawn, axis=2).reshape(Draw.COUNT, -1), sizes)
        boxes = boxes_in_store(parameters.boxes, sizes, storage_size)
        crop = axes(boxes, parameters.flips(), self.image_size)
        return np.concatenate([crop, self.steps(channels).pack(parameters)], axis=1, dtype=np.float32)

    def fixed_shapes(self, channels: int, device: torch.device) -> FixedShapes:
        """Return the function that makes views of stored images and what `pack` computes, on this device."""
        if (channels, device) not in self.functions:
            function = FixedShapes(self.steps(channels), self.mean, self.std)
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
            return [self.by_rows(images, sizes, self.parameters(sizes, keys, epoch=epoch, view=view)) for view in views]
        packed = self.pack(sizes, keys, images.shape, epoch=epoch, views=views)
        function = self.fixed_shapes(images.shape[1], images.device)
        made: Tensor = function(images, to_device(packed, images.device))
        return made.unbind()

    @torch.no_grad()
    def by_rows(self, images: Tensor, sizes: NDArray[np.int64], parameters: ViewParameters) -> Tensor:
        """Make a view of each image with these parameters; a step takes arithmetic only for what it changes."""
        count, channels, side = len(images), images.shape[1], self.image_size
        boxes, flips = boxes_in_store(parameters.boxes, sizes, images.shape[2]), parameters.flips()
        steps, mean, std = self.steps(channels), per_channel(self.mean, channels), per_channel(self.std, channels)
        packed = torch.from_numpy(steps.pack(parameters).astype(np.float32))
        views = torch.empty(count, 3, side, side, memory_format=torch.channels_last)
        chunk = max(1, CPU_CHUNK_VALUES // (channels * side * side))
        with torch.autocast("cpu", enabled=False):
            for start in range(0, count, chunk):
                rows = slice(start, start + chunk)
                cropped = crop_one_by_one(images[rows], boxes[rows], flips[rows], side)
                augmented = augment(cropped, steps.read(packed[rows]), steps, BY_ROWS)
                views[rows] = normalise(augmented, mean, std, out=augmented)
        return views


@torch.no_grad()
def evaluation_view(images: Tensor, *, image_size: int, mean: Sequence[float], std: Sequence[float]) -> Tensor:
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
            numbers = axes(boxes, flips, image_size).astype(np.float32)
            views = crop_by_matrices(images, to_device(numbers, images.device), image_size)
    if len(set(mean)) > 1 or len(set(std)) > 1:
        views, channels = views.expand(-1, 3, -1, -1), 3
    shift, scale = (per_channel(values, channels).to(images.device, non_blocking=True) for values in (mean, std))
    return normalise(views, shift, scale, out=torch.empty_like(views)).expand(-1, 3, -1, -1)
