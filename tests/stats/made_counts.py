"""Make up counts of which everything is known: a number of images that are right, each a group of its own."""

import numpy as np

from lowres_ssl.stats.intervals import Counts
from lowres_ssl.stats.paired_tests import ContrastPart, MethodCounts
from speed.simulated import World, alike, unlike

REPETITIONS = 400
LEAST = 0.92  # of intervals called 95%: three standard errors of a simulation with so many repetitions
WORLDS = {
    "three seeds": World(alike(40, 5), seeds=3),
    "three seeds that differ much": World(alike(40, 5), seeds=3, seed=0.5),
    "two seeds that err on other images": World(alike(150, 1), seeds=2, seed=0.1, noise=0.8),
    "groups of very different size": World(unlike(30), seeds=3),
}


def count_right(*right: int, images: int = 400) -> Counts:
    """A seed a number of images that are recognised, out of `images` in as many groups: int64 [S, G, 2, 2]."""
    counts = np.zeros((len(right), images, 2, 2), dtype=np.int64)
    for seed, number in enumerate(right):
        counts[seed, :number, 0, 0] = 1
        counts[seed, number:, 0, 1] = 1
    return counts


def part(*right: int, images: int = 400, depends_on_seed: bool = True) -> ContrastPart:
    """The same by accuracy."""
    return MethodCounts(count_right(*right, images=images), depends_on_seed).make_part(accuracy=1.0)
