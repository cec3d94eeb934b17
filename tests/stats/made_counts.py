"""Make up counts of which everything is known: a number of images that are right, each a group of its own."""

import numpy as np

from lowres_ssl.stats.intervals import Counts
from lowres_ssl.stats.paired_tests import ContrastPart, MethodCounts


def count_right(*right: int, images: int = 400) -> Counts:
    """A seed a number of images that are recognised, out of `images` in as many groups: int64 [S, G, 2, 2]."""
    counts = np.zeros((len(right), images, 2, 2), dtype=np.int64)
    for seed, number in enumerate(right):
        counts[seed, :number, 0, 0] = 1
        counts[seed, number:, 0, 1] = 1
    return counts


def part(*right: int, images: int = 400, depends_on_seed: bool = True) -> ContrastPart:
    """The same by accuracy."""
    counts = MethodCounts(count_right(*right, images=images), tuple(range(len(right))), depends_on_seed)
    return counts.make_part(accuracy=1.0)
