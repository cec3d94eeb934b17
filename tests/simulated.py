"""Test sets with a known truth: images in groups that share what makes them hard, methods whose seeds differ."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm

from lowres_ssl.statistics.uncertainty import metric

Sizes = Callable[[np.random.Generator], "np.ndarray[Any, Any]"]


def alike(groups: int, images: int) -> Sizes:
    return lambda _: np.full(groups, images)


def unlike(groups: int) -> Sizes:
    """From one image to a dozen and more."""
    return lambda random: np.ceil(random.lognormal(1.0, 0.6, groups)).astype(int)


@dataclass(frozen=True)
class World:
    """An image is recognised if a sum of normals is above 0: standard deviations of what adds to it.

    `group`, `image`: the same for every method and seed; `own_group`: of a method on a group; `seed`: of a seed of a
    method; `noise`: of a seed on an image. `ease`: the mean, of the images of each class.
    """

    sizes: Sizes
    seeds: int
    group: float = 0.6
    image: float = 0.5
    own_group: float = 0.3
    seed: float = 0.2
    noise: float = 0.4
    ease: tuple[float, float] = (1.2, 0.8)

    def draw(self, random: np.random.Generator, methods: int = 1, better: float = 0.0, groups: bool = True) -> Any:
        """Counts int64 [M, S, G, 2, 2] and the seeds' shifts [M, S]; the first method has `better` more ease.

        groups=False: as if every image were its own group.
        """
        sizes = self.sizes(random)
        number = np.repeat(np.arange(len(sizes)), sizes)
        images = len(number)
        labels = (random.uniform(size=images) < 0.4).astype(np.int64)
        shared = np.array(self.ease)[labels] + self.group * random.standard_normal(len(sizes))[number]
        shared = shared + self.image * random.standard_normal(images)
        own = self.own_group * random.standard_normal((methods, 1, len(sizes)))[..., number]
        shifts = self.seed * random.standard_normal((methods, self.seeds, 1))
        shifts[0] += better
        right = shared + own + shifts + self.noise * random.standard_normal((methods, self.seeds, images)) > 0
        predictions = np.where(right, labels, 1 - labels)
        owners = number if groups else np.arange(images)
        counts = np.zeros((methods, self.seeds, owners[-1] + 1, 2, 2), dtype=np.int64)
        method, seed, _ = np.indices(predictions.shape)
        np.add.at(counts, (method, seed, owners, labels, predictions), 1)
        return counts, shifts[..., 0]

    def truth(self, name: str, shift: float | None = None) -> float:
        """The metric on endless images; mean over seeds, or of the one seed with this shift."""
        deviation = np.sqrt(self.group**2 + self.image**2 + self.own_group**2 + self.noise**2)
        shifts = self.seed * norm.ppf((np.arange(200) + 0.5) / 200) if shift is None else np.array([shift])
        right = norm.cdf((np.array(self.ease) + shifts[:, None]) / deviation)  # [shifts, 2]
        share = np.array([0.6, 0.4])
        confusion = np.zeros((len(shifts), 2, 2))
        confusion[:, [0, 1], [0, 1]] = share * right
        confusion[:, [0, 1], [1, 0]] = share * (1 - right)
        return float(metric(confusion, name).mean())
