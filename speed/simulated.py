"""Draw test sets with a known truth: images in groups that share what makes them hard, methods whose seeds differ."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from lowres_ssl.stats.intervals import compute_metric
from lowres_ssl.stats.paired_tests import MethodCounts

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
    method, or one for each method; `noise`: of a seed on an image. `ease`: the mean, of the images of each class.
    `second`: how many of the images are of the second class, each at random with probability 0.4 where it is None.
    """

    sizes: Sizes
    seeds: int
    group: float = 0.6
    image: float = 0.5
    own_group: float = 0.3
    seed: float | Sequence[float] = 0.2
    noise: float = 0.4
    ease: tuple[float, float] = (1.2, 0.8)
    second: int | None = None

    @classmethod
    def at(
        cls, accuracy: float, sizes: Sizes, *, seeds: int, spread: float | Sequence[float], second: int | None = None
    ) -> Self:
        """A world with this accuracy in either class, and seeds whose accuracies have this standard deviation (where it
        is small)."""
        plain = cls(sizes, seeds, second=second)
        quantile = float(norm.ppf(accuracy))
        slope = plain.deviation / float(norm.pdf(quantile))
        seed = spread * slope if isinstance(spread, float) else tuple(own * slope for own in spread)
        return cls(sizes, seeds, seed=seed, ease=(quantile * plain.deviation,) * 2, second=second)

    @property
    def deviation(self) -> float:
        """Of what adds to an image, but for seeds."""
        return float(np.sqrt(self.group**2 + self.image**2 + self.own_group**2 + self.noise**2))

    def better(self, accuracy: float) -> float:
        """By how much ease grows from this world's accuracy to another."""
        return float(norm.ppf(accuracy)) * self.deviation - self.ease[0]

    def draw(self, random: np.random.Generator, methods: int = 1, better: float = 0.0) -> Any:
        """Counts int64 [M, S, G, 2, 2] and the seeds' shifts [M, S]; the last method has `better` more ease."""
        sizes = self.sizes(random)
        number = np.repeat(np.arange(len(sizes)), sizes)
        images = len(number)
        if self.second is None:
            labels = (random.uniform(size=images) < 0.4).astype(np.int64)
        else:
            labels = (random.permutation(images) < self.second).astype(np.int64)
        shared = np.array(self.ease)[labels] + self.group * random.standard_normal(len(sizes))[number]
        shared = shared + self.image * random.standard_normal(images)
        own = self.own_group * random.standard_normal((methods, 1, len(sizes)))[..., number]
        spread = np.broadcast_to(np.asarray(self.seed), (methods,))[:, None, None]
        shifts = spread * random.standard_normal((methods, self.seeds, 1))
        shifts[-1] += better
        right = shared + own + shifts + self.noise * random.standard_normal((methods, self.seeds, images)) > 0
        predictions = np.where(right, labels, 1 - labels)
        counts = np.zeros((methods, self.seeds, len(sizes), 2, 2), dtype=np.int64)
        method, seed, _ = np.indices(predictions.shape)
        np.add.at(counts, (method, seed, number, labels, predictions), 1)
        return counts, shifts[..., 0]

    def scored(self, random: np.random.Generator, methods: int, better: float = 0.0) -> dict[int, MethodCounts]:
        """As `draw`, by the number of the method; all with the same seeds."""
        counts, _ = self.draw(random, methods, better)
        return {number: MethodCounts(own) for number, own in enumerate(counts)}

    def truth(self, name: str, shift: float | None = None) -> float:
        """The metric on endless images; mean over seeds, or of the one seed with this shift."""
        seed = float(np.max(self.seed))
        shifts = seed * norm.ppf((np.arange(200) + 0.5) / 200) if shift is None else np.array([shift])
        right = norm.cdf((np.array(self.ease) + shifts[:, None]) / self.deviation)  # [shifts, 2]
        part = 0.4
        if self.second is not None:
            part = self.second / int(self.sizes(np.random.default_rng(0)).sum())
        share = np.array([1 - part, part])
        confusion = np.zeros((len(shifts), 2, 2))
        confusion[:, [0, 1], [0, 1]] = share * right
        confusion[:, [0, 1], [1, 0]] = share * (1 - right)
        return float(compute_metric(confusion, name).mean())


@dataclass(frozen=True)
class Patients:
    """Patients whose numbers of images are log-normal, with a median of 3.3 and this spread of the logarithm.

    harder: by how much each standard deviation of the log number lowers the ease of a patient's images, in standard
    deviations of the ease; correlation: of the ease of two images of a patient.
    """

    number: int
    spread: float
    harder: float
    correlation: float

    def find_ease(self, accuracy: float) -> float:
        """Find the mean ease that gives all images of endless patients this accuracy."""
        number = np.random.default_rng(1).standard_normal(200_000)
        images = self.count_images(number)
        return float(
            brentq(lambda ease: np.average(norm.cdf(ease - self.harder * number), weights=images) - accuracy, -9, 9)
        )

    def count_images(self, number: Any) -> Any:
        return np.maximum(1, np.exp(1.2 + self.spread * number).round()).astype(np.int64)

    def draw(self, random: np.random.Generator, ease: float) -> Any:
        """Counts int64 [1, G, 2, 2] of images that are all of the first class."""
        number = random.standard_normal(self.number)
        images = self.count_images(number)
        own = ease - self.harder * number + self.correlation**0.5 * random.standard_normal(self.number)
        counts = np.zeros((1, self.number, 2, 2), dtype=np.int64)
        counts[0, :, 0, 0] = random.binomial(images, norm.cdf(own / (1 - self.correlation) ** 0.5))
        counts[0, :, 0, 1] = images - counts[0, :, 0, 0]
        return counts
