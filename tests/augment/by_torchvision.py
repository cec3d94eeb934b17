"""The simple path: a view made of one image by torchvision's functions, or by plain NumPy where it has none, with the
parameters that ours drew."""

import dataclasses
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from lowres_ssl.augment.sampling import AugmentationParameters, JitterOperation


def select(parameters: AugmentationParameters, rows: slice | NDArray[np.int64]) -> AugmentationParameters:
    """The parameters of some of the images, in the order of `rows`."""
    fields = dataclasses.fields(parameters)
    return AugmentationParameters(**{field.name: getattr(parameters, field.name)[rows] for field in fields})


def get_cubic_weight(distance: float) -> float:
    """Keys, Cubic Convolution Interpolation for Digital Image Processing, 1981, with a = -0.75."""
    a, x = -0.75, abs(distance)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def deform_one(image: Tensor, displacements: NDArray[np.float64]) -> Tensor:
    """image: [C, S, S] float; displacements: [2, 4, 4], right and down, as shares of the side."""
    side = image.shape[1]
    weights = np.zeros((side, 4))
    for pixel in range(side):
        place = pixel * 3 / (side - 1)
        for point in range(int(place) - 1, int(place) + 3):
            weights[pixel, min(max(point, 0), 3)] += get_cubic_weight(place - point)
    right, down = (side * weights @ each @ weights.T for each in displacements)
    rows, columns = np.mgrid[:side, :side]
    sampled = [
        map_coordinates(each, [rows + down, columns + right], order=1, mode="reflect")
        for each in image.double().numpy()
    ]
    return torch.from_numpy(np.stack(sampled)).float()


def stain_one(image: Tensor, factors: NDArray[np.float64], shifts: NDArray[np.float64]) -> Tensor:
    """image: [3, S, S] float in 0..1; factors, shifts: [3], of haematoxylin, eosin and DAB."""
    colours = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
    colours = np.stack([colour / np.sqrt((colour**2).sum()) for colour in colours])
    stained = np.zeros(image.shape)
    for row, column in np.ndindex(*image.shape[1:]):
        pixel = image[:, row, column].double().numpy()
        seen = np.maximum(pixel, 1 / 255)
        amounts = np.linalg.solve(colours.T, -np.log10(seen))
        density = colours.T @ (factors * amounts + shifts)
        stained[:, row, column] = np.minimum(10**-density * pixel / seen, 1)
    return torch.from_numpy(stained).float()


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
    if parameters.elastic[0]:
        view = deform_one(view, parameters.displacements[0])
    if settings["rotation_degrees"]:
        view = tv.rotate(view, parameters.angle[0], interpolation=InterpolationMode.BILINEAR)
    if parameters.stain[0] and len(view) == 3:
        view = stain_one(view, parameters.stain_factors[0], parameters.stain_shifts[0])
    if parameters.gamma[0]:
        view = tv.adjust_gamma(view, parameters.exponent[0])
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
