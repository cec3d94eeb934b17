"""The simple path: a view made of one image by torchvision's functions, with the parameters that ours drew."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from lowres_ssl.augment.sampling import AugmentationParameters, JitterOperation


def select(parameters: AugmentationParameters, rows: slice | NDArray[np.int64]) -> AugmentationParameters:
    """The parameters of some of the images, in the order of `rows`."""
    fields = dataclasses.fields(parameters)
    return AugmentationParameters(**{field.name: getattr(parameters, field.name)[rows] for field in fields})


def by_torchvision(
    image: Tensor, box: list[int], parameters: AugmentationParameters, settings: dict[str, Any]
) -> Tensor:
    """One image through torchvision's functions, in our order, on floats after the crop.

    image: [C, R, R] uint8, whose crop is then rounded to whole levels, or float in 0..1, whose crop is not.
    """
    side = settings["image_size"]
    view = tv.resized_crop(image, *box, [side, side], antialias=True)
    view = view if view.is_floating_point() else view.float() / 255
    view = tv.horizontal_flip(view) if parameters.horizontal_flip[0] else view
    view = tv.vertical_flip(view) if parameters.vertical_flip[0] else view
    view = tv.rotate(view, 90.0 * parameters.quarter_turns[0])
    if settings["rotation_degrees"]:
        view = tv.rotate(view, parameters.angle[0], interpolation=InterpolationMode.BILINEAR)
    adjust = {
        JitterOperation.BRIGHTNESS: lambda view: tv.adjust_brightness(view, parameters.brightness[0]),
        JitterOperation.CONTRAST: lambda view: tv.adjust_contrast(view, parameters.contrast[0]),
        JitterOperation.SATURATION: lambda view: tv.adjust_saturation(view, parameters.saturation[0]),
        JitterOperation.HUE: lambda view: tv.adjust_hue(view, parameters.hue[0]),
    }
    for operation in parameters.order[0] if parameters.jitter[0] else []:
        view = adjust[operation](view)
    if parameters.grey[0]:
        view = tv.rgb_to_grayscale(view, num_output_channels=len(view))
    if parameters.blur[0]:
        kernel = 2 * int(settings["blur_kernel_fraction"] * side / 2) + 1
        view = tv.gaussian_blur(view, [max(kernel, 3)] * 2, [parameters.sigma[0]] * 2)
    if parameters.solarise[0]:
        view = tv.solarize(view, (settings["solarise_threshold"] - 0.5) / 255)
    view = view.expand(3, -1, -1)
    mean, std = settings["mean"], settings["std"]
    return tv.normalize(view, mean, std) if len(image) == 3 else tv.normalize(view, mean[:1] * 3, std[:1] * 3)
