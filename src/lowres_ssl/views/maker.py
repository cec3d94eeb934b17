"""The augmentation pipeline: its settings, what it draws for each image, and the order in which that is applied."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lowres_ssl.views import colour, geometry
from lowres_ssl.views.blur import gaussian_blur, kernel_size
from lowres_ssl.views.crop import boxes_in_store, crop_and_resize
from lowres_ssl.views.draws import image_keys, uniforms
from lowres_ssl.views.parameters import ORDERS, Draw, Operation, ViewParameters, between, factors, sample_boxes, whole
from lowres_ssl.views.ranges import require, require_probability, require_range, require_statistics, require_strength
from lowres_ssl.views.rows import change_rows, column

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

    def parameters(
        self, sizes: NDArray[np.int64], keys: NDArray[np.uint64], *, epoch: int, view: int
    ) -> ViewParameters:
        """What will be done to each image. sizes: [B, 2] (height, width) of the originals; keys: [B]."""
        draws = uniforms(seed=self.seed, epoch=epoch, view=view, keys=keys, count=Draw.COUNT)  # [Draw.COUNT, B]
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

    @torch.no_grad()
    def __call__(
        self,
        images: Tensor,
        sizes: Tensor | NDArray[np.int64],
        keys: NDArray[np.uint64],
        *,
        epoch: int,
        view: int,
    ) -> Tensor:
        """One random view of each image: [B, 3, S, S] float32, normalised, on the images' device.

        images: [B, C, R, R] uint8, C 3 or 1, each squashed into its square; sizes: [B, 2], the originals' (height,
        width), on the CPU; keys: [B] uint64 from `image_keys`. A one-channel batch comes back with three channels that
        share memory: not to be written to.
        """
        sizes = np.asarray(sizes, dtype=np.int64)
        parameters = self.parameters(sizes, keys, epoch=epoch, view=view)
        boxes = boxes_in_store(parameters.boxes, sizes, images.shape[2])
        count, channels, side = len(images), images.shape[1], self.image_size
        views = torch.empty(count, channels, side, side, device=images.device)
        chunk = max(1, CPU_CHUNK_VALUES // (channels * side * side)) if images.device.type == "cpu" else count
        # Matrix products in bfloat16, as a training step's autocast would have them, lose levels.
        with torch.autocast(images.device.type, enabled=False):
            for start in range(0, count, chunk):
                rows = slice(start, start + chunk)
                cropped = crop_and_resize(images[rows], boxes[rows], side)
                augmented = self.apply(cropped, parameters.select(rows))
                normalise(augmented, self.mean, self.std, out=views[rows])
        return views.expand(-1, 3, -1, -1)

    def apply(self, images: Tensor, parameters: ViewParameters) -> Tensor:
        """Everything between crop and normalisation, on [B, C, S, S] float32 in 0..1, which may be overwritten."""
        images = change_rows(images, parameters.horizontal_flip, geometry.flip_horizontally)
        images = change_rows(images, parameters.vertical_flip, geometry.flip_vertically)
        for quarters in (1, 2, 3):
            chosen = parameters.quarter_turns == quarters
            images = change_rows(images, chosen, lambda rows, quarters=quarters: geometry.turn(rows, quarters))
        images = change_rows(
            images,
            parameters.angle != 0,
            lambda rows, angle: geometry.rotate(rows, angle, self.rotation_padding),
            parameters.angle,
        )
        images = self.apply_jitter(images, parameters)
        if images.shape[1] == 3:
            images = change_rows(images, parameters.grey, colour.to_grey)
        if parameters.blur.any():
            sigma = parameters.sigma[parameters.blur]
            images = change_rows(images, parameters.blur, lambda rows: gaussian_blur(rows, sigma, self.blur_kernel))
        return change_rows(images, parameters.solarise, lambda rows: colour.solarise(rows, self.solarise_threshold))

    def apply_jitter(self, images: Tensor, parameters: ViewParameters) -> Tensor:
        """The jitter's four operations, each image's in its own order: place by place, for all images at once."""
        is_colour = images.shape[1] == 3  # a grey image has neither hue nor saturation
        for place in range(len(Operation)):
            operation = np.where(parameters.jitter, parameters.order[:, place], -1)  # [B]
            if is_colour and self.hue > 0:
                images = change_rows(images, operation == Operation.HUE, colour.adjust_hue, parameters.hue)
            brightness = np.where(operation == Operation.BRIGHTNESS, parameters.brightness, 1.0)
            contrast = np.where(operation == Operation.CONTRAST, parameters.contrast, 1.0)
            saturation = np.where((operation == Operation.SATURATION) & is_colour, parameters.saturation, 1.0)
            factor = brightness * contrast * saturation  # of which two at least are 1
            if (factor != 1).any():
                images = colour.blend(
                    images, column(factor, images), column(1 - contrast, images), column(1 - saturation, images)
                )
        return images


@torch.no_grad()
def evaluation_view(images: Tensor, *, image_size: int, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """The whole image, resampled and normalised, nothing random: [B, 3, S, S] float32 on the images' device.

    images: [B, C, R, R] uint8, C 3 or 1; mean and std as in `ViewMaker`, but that a grey image is normalised three
    times where they differ by channel, as weights trained on colour expect it.
    """
    side = images.shape[2]
    boxes = np.tile(np.array([0, 0, side, side], dtype=np.int64), (len(images), 1))
    with torch.autocast(images.device.type, enabled=False):
        views = crop_and_resize(images, boxes, image_size)
    if len(set(mean)) > 1 or len(set(std)) > 1:
        views = views.expand(-1, 3, -1, -1).contiguous()
    return normalise(views, mean, std, out=views).expand(-1, 3, -1, -1)


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float], *, out: Tensor) -> Tensor:
    """(images - mean) / std, channel by channel, into `out`. A grey image takes the first of mean and std."""
    channels = images.shape[1]
    shift = torch.tensor(mean[:channels], dtype=images.dtype)[:, None, None].to(images.device, non_blocking=True)
    scale = torch.tensor(std[:channels], dtype=images.dtype)[:, None, None].to(images.device, non_blocking=True)
    return torch.sub(images, shift, out=out).div_(scale)
