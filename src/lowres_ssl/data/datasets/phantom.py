"""Generate the phantom: a synthetic tissue set drawn from formulas. It represents no real tissue.

Four classes differ in their nuclei (density, size, eccentricity) and the stroma between them. Forty "patients" differ
in stain, brightness and focus, and have every class, so that colour shows only part of the class. The same bytes each
time.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from lowres_ssl.data.datasets import Listing, Source
from lowres_ssl.data.decode import map_in_threads
from lowres_ssl.data.image_folder import ImageFolder
from lowres_ssl.io.atomic import replacing_folder
from lowres_ssl.io.locks import lock

PHANTOM_SEED = 20230302
PHANTOM_SIZE = 96  # pixels
PATIENT_COUNT = 40
IMAGES_PER_PATIENT = 4  # of each patient in each class

# Optical densities of haematoxylin and eosin in red, green and blue (Ruifrok and Johnston, 2001).
HAEMATOXYLIN = (0.65, 0.70, 0.29)
EOSIN = (0.07, 0.99, 0.11)


@dataclass(frozen=True)
class Tissue:
    """Describe a class. `nuclei`: their number in an image at scale 1. `radius`: mean, in pixels. `spread`: of the
    radius's logarithm. `elongation`: long over short axis. `alignment`: 0 any direction, 1 along the fibres. `fibres`:
    how much of the stroma's texture is drawn out along one direction; `fibre_length`, `fibre_width`: in pixels.
    """

    nuclei: float
    radius: float
    spread: float
    elongation: float
    alignment: float
    fibres: float
    fibre_length: float
    fibre_width: float


TISSUES = {
    "dense": Tissue(88, 2.9, 0.10, 1.10, 0.0, 0.35, 5.0, 2.5),
    "elongated": Tissue(40, 3.4, 0.12, 2.80, 0.9, 0.60, 9.0, 2.0),
    "fibrous": Tissue(16, 3.4, 0.30, 1.35, 0.3, 1.40, 22.0, 1.2),
    "sparse": Tissue(13, 5.6, 0.18, 1.20, 0.0, 0.35, 5.0, 2.5),
}


# What differs between patients and between images, whatever the class. Pairs are ranges of uniform draws.
HAEMATOXYLIN_STRENGTH, EOSIN_STRENGTH = (0.9, 1.3), (0.4, 0.68)
HUE_SPREAD = 0.09  # standard deviation of the logarithm of each stain's density in each colour
BRIGHTNESS = (0.91, 1.05)
FOCUS = (0.3, 0.8)  # pixels of Gaussian blur
SCALE = (0.9, 1.12)  # of an image: everything is larger or smaller
CROWDING = (0.85, 1.15)  # of an image: how many nuclei, on top of the class
MAX_VIGNETTE = 0.10  # darkening from one edge to the other
NOISE = 2.5  # of 255


def generate_phantom(root: Path) -> None:
    """Draw 640 images of 96 x 96 pixels, `<class>/patient-07_2.png`, into `root`, which appears whole or not at all.
    Takes a few seconds. Raises `OSError` if it cannot be written."""
    names = list(product(TISSUES, range(PATIENT_COUNT), range(IMAGES_PER_PATIENT)))
    with replacing_folder(root) as folder:
        for label in TISSUES:
            (folder / label).mkdir()

        def save(name: tuple[str, int, int]) -> None:
            label, patient, number = name
            path = folder / label / f"patient-{patient + 1:02d}_{number + 1}.png"
            Image.fromarray(draw_image(label, patient, number)).save(path)

        list(map_in_threads(save, names))


def make_generator(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64([PHANTOM_SEED, *key]))


def draw_image(label: str, patient: int, number: int) -> NDArray[np.uint8]:
    """Draw one image, uint8 [96, 96, 3], from its own seed: no image depends on another."""
    tissue = TISSUES[label]
    rng = make_generator(0, patient)
    haematoxylin, eosin = (
        np.array(stain) * np.exp(HUE_SPREAD * rng.standard_normal(3)) for stain in (HAEMATOXYLIN, EOSIN)
    )
    haematoxylin, eosin = haematoxylin * rng.uniform(*HAEMATOXYLIN_STRENGTH), eosin * rng.uniform(*EOSIN_STRENGTH)
    brightness, focus = rng.uniform(*BRIGHTNESS), rng.uniform(*FOCUS)
    rng = make_generator(1, list(TISSUES).index(label), patient, number)
    scale = rng.uniform(*SCALE)
    direction = rng.uniform(0, np.pi)
    stroma = make_texture(rng, scale * tissue.fibre_length, scale * tissue.fibre_width, direction)
    pink = np.clip(0.55 + 0.30 * tissue.fibres * stroma, 0.02, None)
    blue = draw_nuclei(rng, tissue, scale, direction)
    density = blue[..., None] * haematoxylin + (pink * (1 - 0.55 * np.minimum(blue, 1)))[..., None] * eosin
    light = 255 * brightness * make_vignette(rng)[..., None] * np.exp(-density)
    image = Image.fromarray(np.clip(np.rint(light), 0, 255).astype(np.uint8))
    blurred = np.asarray(image.filter(ImageFilter.GaussianBlur(focus)), dtype=np.float64)
    noisy = blurred + NOISE * rng.standard_normal(blurred.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def make_texture(rng: np.random.Generator, length: float, width: float, direction: float) -> NDArray[np.float64]:
    """Smooth noise over `length` pixels along `direction`, `width` across: [96, 96], mean 0, standard deviation 1."""
    frequency = 2 * np.pi * np.fft.fftfreq(PHANTOM_SIZE)
    y, x = frequency[:, None], frequency[None, :]
    along = x * np.cos(direction) + y * np.sin(direction)
    across = y * np.cos(direction) - x * np.sin(direction)
    window = np.exp(-0.5 * ((length * along) ** 2 + (width * across) ** 2))
    smooth = np.fft.ifft2(np.fft.fft2(rng.standard_normal((PHANTOM_SIZE, PHANTOM_SIZE))) * window).real
    return np.asarray((smooth - smooth.mean()) / smooth.std())


def make_vignette(rng: np.random.Generator) -> NDArray[np.float64]:
    """Make light that falls off towards one edge, [96, 96], at most 1."""
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, MAX_VIGNETTE)
    steps = np.linspace(0, 1, PHANTOM_SIZE) - 0.5
    slope = np.cos(angle) * steps[None, :] + np.sin(angle) * steps[:, None]
    return np.asarray(1 - strength * (slope - slope.min()))


def draw_nuclei(rng: np.random.Generator, tissue: Tissue, scale: float, direction: float) -> NDArray[np.float64]:
    """Draw the amount of haematoxylin: [96, 96], about 1 inside a nucleus, 0 outside."""
    count = max(4, round(tissue.nuclei * rng.uniform(*CROWDING) / scale**2))
    canvas = np.zeros((PHANTOM_SIZE, PHANTOM_SIZE))
    placed: list[tuple[float, float, float]] = []
    for _ in range(count):
        radius = scale * tissue.radius * float(np.exp(tissue.spread * rng.standard_normal()))
        y, x = choose_centre(rng, placed, radius)
        placed.append((y, x, radius))
        elongation = max(1.0, tissue.elongation * float(np.exp(0.10 * rng.standard_normal())))
        free = rng.uniform(0, np.pi)
        aligned = direction + 0.2 * rng.standard_normal()
        angle = aligned if rng.uniform() < tissue.alignment else free
        draw_nucleus(canvas, rng, y, x, radius * np.sqrt(elongation), radius / np.sqrt(elongation), angle)
    return canvas


def choose_centre(
    rng: np.random.Generator, placed: Sequence[tuple[float, float, float]], radius: float
) -> tuple[float, float]:
    """Choose a centre that overlaps few others: the freest of six draws."""
    candidates = rng.uniform(-3, PHANTOM_SIZE + 3, size=(6, 2))
    if not placed:
        return float(candidates[0, 0]), float(candidates[0, 1])
    others = np.array(placed)
    gaps = (
        np.hypot(candidates[:, None, 0] - others[:, 0], candidates[:, None, 1] - others[:, 1]) - others[:, 2] - radius
    )
    best = candidates[int(np.argmax(np.minimum(gaps.min(axis=1), 1.0)))]
    return float(best[0]), float(best[1])


def draw_nucleus(
    canvas: NDArray[np.float64], rng: np.random.Generator, y: float, x: float, long: float, short: float, angle: float
) -> None:
    """Add one nucleus, an ellipse with a soft edge, a darker rim and mottled inside, to `canvas`."""
    depth = rng.uniform(0.7, 1.15)
    mottle = rng.uniform(-0.15, 0.15, size=4)
    reach = int(np.ceil(long)) + 2
    top, left = max(0, int(y) - reach), max(0, int(x) - reach)
    bottom, right = min(PHANTOM_SIZE, int(y) + reach + 1), min(PHANTOM_SIZE, int(x) + reach + 1)
    if top >= bottom or left >= right:
        return
    dy = np.arange(top, bottom)[:, None] - y
    dx = np.arange(left, right)[None, :] - x
    u = (dx * np.cos(angle) + dy * np.sin(angle)) / long
    v = (dy * np.cos(angle) - dx * np.sin(angle)) / short
    distance = np.sqrt(u**2 + v**2)
    inside = np.clip((1 - distance) * short + 0.5, 0, 1)
    chromatin = 0.8 + 0.25 * distance**2 + mottle[0] * u + mottle[1] * v + mottle[2] * np.cos(5 * u + 7 * v + mottle[3])
    patch = canvas[top:bottom, left:right]
    np.maximum(patch, inside * depth * chromatin, out=patch)


PHANTOM_FILE_NAME = re.compile(r"(?P<patient>patient-\d+)_\d+\.png")


class PhantomReader(Source):
    """Read all images; the group is the synthetic patient, who has images in every class."""

    layout: ClassVar[str] = "nothing: the phantom is generated into a folder that does not exist yet"

    def prepare(self, root: Path) -> None:
        """Generate the set, unless `root` exists."""
        if not root.exists():
            with lock(root, "phantom images"):
                if not root.exists():  # another process may have generated it while this one waited
                    generate_phantom(root)

    def listings(self, folder: ImageFolder) -> list[Listing]:
        return [
            Listing(path=path, id=id, label=id.split("/")[0], group=match["patient"], subset=None)
            for path, id in folder.enter().images
            if (match := PHANTOM_FILE_NAME.fullmatch(path.name)) and id.count("/") == 1
        ]
