"""How often `lowres-ssl benchmark` names the method that gains something, or one that gains nothing, in simulations.

The table of docs/which_method.md. An image is recognised if a sum of normals is above 0, as in `speed.simulated`;
the validation and the test images share the shifts of the seeds, as those of a trained encoder do.
"""

import argparse
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from lowres_ssl.benchmark.decision import compare_pairs
from lowres_ssl.stats.paired_tests import MethodCounts
from speed.table import markdown

EASE, SHARES = np.array([0.8, 0.5]), np.array([0.6, 0.4])  # of the images of each class
SHARED, OWN, NOISE = 0.78, 0.3, 0.4  # deviations: of an image for all, for a method, for a seed
DEVIATION = (SHARED**2 + OWN**2 + NOISE**2) ** 0.5
METHODS = 4


@dataclass(frozen=True)
class Simulated:
    """Shares of the benchmarks in which the better method is named, and any; mean error of the gain, as measured and
    by the seeds that did not choose."""

    named: float
    any_named: float
    error: float
    fresh_error: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--benchmarks", type=int, default=300)
    parser.add_argument("--validation", type=int, default=128)
    parser.add_argument("--test", type=int, default=1168)
    parser.add_argument("--spread", type=float, nargs="+", default=[0.016, 0.033], help="between seeds, of an accuracy")
    given = parser.parse_args()
    heads = ["gain", "seeds", "spread", "named", "any named", "error of the gain", "by the other seeds"]
    rows = []
    for spread in given.spread:
        for gain in (0.0, 0.05, 0.1):
            for seeds in (3, 5):
                found = simulated(gain, seeds, spread, given)
                numbers = [f"{found.named:.0%}", f"{found.any_named:.1%}"]
                rows.append([f"{gain:.2f}", str(seeds), f"{spread:.3f}", *numbers, *texts(found)])
                print(" | ".join(rows[-1]), flush=True)
    print(markdown(heads, rows))


def texts(found: Simulated) -> list[str]:
    return [f"{found.error:+.4f}", f"{found.fresh_error:+.4f}"]


def simulated(gain: float, seeds: int, spread: float, given: Any) -> Simulated:
    """The first entry is random initialisation, the second gains something, the others nothing."""
    random = np.random.default_rng([seeds, int(1000 * spread), int(1000 * gain)])
    deviation = shift_for(spread)
    gains = np.array([0.0, gain, *[0.0] * (METHODS - 1)])
    shifts = np.array([shift_for(each) for each in gains])
    named, any_named, errors, fresh = [], [], [], []
    for _ in range(given.benchmarks):
        moved = shifts[:, None] + deviation * random.standard_normal((len(gains), seeds))
        _, validated = drawn(random, given.validation, moved)
        counts, accuracies = drawn(random, given.test, moved)
        chosen = 1 + int(validated[1:, 0].argmax())  # by the first seed, as at the last rung
        parts = {str(entry): MethodCounts(own).make_part(accuracy=1.0) for entry, own in enumerate(counts)}
        parts = {entry: parts[entry] for entry in ("0", str(chosen))}
        (first,) = compare_pairs(parts, [(str(chosen), "0")])
        named.append(first.is_better and chosen == 1)
        any_named.append(first.is_better)
        start = accuracies[0].mean()
        errors.append(accuracies[chosen].mean() - start - gains[chosen])
        fresh.append(accuracies[chosen, 1:].mean() - start - gains[chosen])
    return Simulated(*(float(np.mean(each)) for each in (named, any_named, errors, fresh)))


def shift_for(gain: float) -> float:
    """How much easier images must be for an accuracy that is higher by so much."""
    return float(brentq(lambda shift: accuracy(shift) - accuracy(0.0) - gain, -5, 5))


def accuracy(shift: float) -> float:
    return float((SHARES * norm.cdf((EASE + shift) / DEVIATION)).sum())


def drawn(random: np.random.Generator, images: int, shifts: Any) -> tuple[Any, Any]:
    """Counts int64 [entries, S, images, 2, 2], each image a group of its own, and the accuracies [entries, S]."""
    labels = (random.uniform(size=images) < SHARES[1]).astype(np.int64)
    ease = EASE[labels] + SHARED * random.standard_normal(images)
    ease = ease + OWN * random.standard_normal((len(shifts), 1, images))
    right = ease + shifts[..., None] + NOISE * random.standard_normal((*shifts.shape, images)) > 0
    counts = np.zeros((*right.shape, 2, 2), dtype=np.int64)
    entry, seed, image = np.indices(right.shape)
    counts[entry, seed, image, labels, np.where(right, labels, 1 - labels)] = 1
    return counts, right.mean(axis=-1)


if __name__ == "__main__":
    main()
