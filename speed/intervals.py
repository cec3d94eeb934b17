"""How often intervals cover the truth, and how often `compare` errs and finds what is there: simulations.

    python -m speed.intervals                        prints the tables, in about ten minutes on one core
    python -m speed.intervals --into docs/statistics.md

`--into` writes them between the lines "<!-- simulated -->" and "<!-- end -->" of a page. The worlds are those of
`speed/simulated.py`.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from lowres_ssl.config.experiment_schema import RANDOM_SEEDS
from lowres_ssl.stats.intervals import MIN_RELIABLE_GROUPS, compute_interval
from lowres_ssl.stats.paired_tests import MethodCounts, compute_differences, compute_p_values, correct_holm
from speed.simulated import Patients, World, alike
from speed.table import markdown

BEGIN, END = "<!-- simulated -->", "<!-- end -->"
REFERENCE, EVERY = "against one", "each against each"
GROUPS = {
    "15 x 5": alike(15, 5),
    "20 x 1": alike(20, 1),
    "26 x 1": alike(26, 1),
    "26 x 5": alike(26, 5),
    "40 x 5": alike(40, 5),
    "128 x 1": alike(128, 1),
    "300 x 1": alike(300, 1),
    "1000 x 1": alike(1000, 1),
}
IMAGES = alike(200, 1)
PATIENTS = [(0.5, 0.0), (0.5, 0.4), (1.0, 0.0), (1.0, 0.2), (1.0, 0.4)]  # spread of the log size, harder
GAINS = (0.04, 0.08, 0.12, 0.20)
# Standard deviations of the accuracy of five methods' seeds; the first method is the one that all are tested against.
SPREADS: dict[str, float | tuple[float, ...]] = {
    "all alike, 0.02": 0.02,
    "all alike, 0.08": 0.08,
    "no spread": 1e-6,
    "the reference 0.05, others 0.01": (0.05, 0.01, 0.01, 0.01, 0.01),
    "the reference 0.1, others none": (0.1, 1e-6, 1e-6, 1e-6, 1e-6),
    "the reference none, others 0.05": (1e-6, 0.05, 0.05, 0.05, 0.05),
    "one other 0.08, the rest 0.01": (0.01, 0.08, 0.01, 0.01, 0.01),
}


def coverage(world: World, name: str, repetitions: int) -> float:
    """How often the interval of one method's score has the truth in it; with one seed that of this seed."""
    random = np.random.default_rng(0)
    truth, covered = world.truth(name), 0
    for _ in range(repetitions):
        counts, shifts = world.draw(random)
        found = compute_interval(counts[0], name)
        wanted = world.truth(name, float(shifts[0, 0])) if world.seeds == 1 else truth
        covered += found.low <= wanted <= found.high
    return covered / repetitions


def coverage_of_difference(world: World, name: str, repetitions: int) -> float:
    """The same of the difference between the first two of five methods that are equal, the seeds of all pooled."""
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(repetitions):
        methods = {number: method.make_part(**{name: 1.0}) for number, method in world.scored(random, 5).items()}
        (found,) = compute_differences(methods, [(0, 1)])
        covered += found.low <= 0 <= found.high
    return covered / repetitions


def coverage_of_patients(patients: Patients, accuracy: float, repetitions: int) -> float:
    """How often the interval of one encoder has the truth in it where patients differ in size."""
    random = np.random.default_rng(0)
    ease, covered = patients.find_ease(accuracy), 0
    for _ in range(repetitions):
        found = compute_interval(patients.draw(random, ease), "accuracy")
        covered += found.low <= accuracy <= found.high
    return covered / repetitions


def stars(
    world: World, methods: int, family: str, repetitions: int, better: float = 0.0, of_ten: int = 0
) -> Iterator[list[bool]]:
    """For each repetition which of the pairs of a family get a star; the last method has `better` more ease, the first
    `of_ten` have ten seeds, as random encoders do, whatever the others have."""
    random = np.random.default_rng(0)
    pairs = [pair for pair in combinations(range(methods), 2) if family == EVERY or pair[0] == 0]
    drawn_from = replace(world, seeds=RANDOM_SEEDS) if of_ten else world
    for seed in range(repetitions):
        scored = drawn_from.scored(random, methods, better)
        fewer = {number: first_seeds(own, world.seeds) for number, own in scored.items() if number >= of_ten}
        yield starred(scored | fewer, pairs, seed)


def first_seeds(scored: MethodCounts, seeds: int) -> MethodCounts:
    return replace(scored, counts=scored.counts[:seeds])


def starred(methods: dict[int, MethodCounts], pairs: Sequence[tuple[int, int]], seed: int) -> list[bool]:
    parts = {number: method.make_part(accuracy=1.0) for number, method in methods.items()}
    return [p < 0.05 for p in correct_holm(compute_p_values(parts, pairs, draws=1000, seed=seed))]


def error(world: World, family: str, repetitions: int, methods: int = 5, of_ten: int = 0) -> float:
    """How often any star is there where all methods are equal."""
    return float(np.mean([any(found) for found in stars(world, methods, family, repetitions, of_ten=of_ten)]))


def power(world: World, accuracy: float, family: str, repetitions: int, methods: int = 5, of_ten: int = 0) -> float:
    """How often the last method, with this accuracy, gets a star against the first."""
    found = stars(world, methods, family, repetitions, world.better(accuracy), of_ten)
    return float(np.mean([own[methods - 2] for own in found]))


def error_beside_ten(spread: float | tuple[float, ...], repetitions: int) -> float:
    """`error` of four methods of three seeds and two random encoders of ten; `spread`: as in `SPREADS`, whose reference
    is either of the two."""
    both = spread if isinstance(spread, float) else (spread[0], *spread)
    world = World.at(0.75, IMAGES, seeds=3, spread=both)
    return error(world, REFERENCE, repetitions, methods=6, of_ten=2)


def power_beside_ten(gain: float, repetitions: int) -> float:
    world = World.at(0.7, IMAGES, seeds=3, spread=0.02)
    return power(world, 0.7 + gain, REFERENCE, repetitions, methods=6, of_ten=2)


@dataclass(frozen=True)
class Simulated:
    """A table: what it shows, its heads, and its rows, which are computed when they are asked for."""

    title: str
    heads: Sequence[str]
    rows: Iterable[list[str]]


def coverage_rows(
    measure: Callable[[World, str, int], float],
    seeds_and_spreads: Sequence[tuple[int, float]],
    accuracies: Sequence[float],
    repetitions: int,
) -> Iterator[list[str]]:
    """A row for each number and spread of seeds and each true accuracy, a column for each of `GROUPS`."""
    for seeds, spread in seeds_and_spreads:
        for accuracy in accuracies:
            worlds = [World.at(accuracy, own, seeds=seeds, spread=spread) for own in GROUPS.values()]
            shares = [text(measure(world, "accuracy", repetitions)) for world in worlds]
            yield [seeds_text(seeds, spread), f"{accuracy:g}", *shares]


def class_rows(few: Sequence[int], repetitions: int) -> Iterator[list[str]]:
    """A row for each other metric, a column for each number of images of the second class."""
    for name in ("balanced_accuracy", "macro_f1", "weighted_f1"):
        for seeds, spread in ((1, 0.02), (3, 0.01)):
            for accuracy in (0.8, 0.95):
                worlds = [World.at(accuracy, IMAGES, seeds=seeds, spread=spread, second=second) for second in few]
                shares = [text(coverage(world, name, repetitions)) for world in worlds]
                yield [name, seeds_text(seeds, spread), f"{accuracy:g}", *shares]


def patient_rows(repetitions: int) -> Iterator[list[str]]:
    """A row for each number of patients, accuracy and correlation, a column for each of `PATIENTS`."""
    for number in (30, 60, 150):
        for accuracy in (0.8, 0.9, 0.95):
            for alike_by in (0.2, 0.6):
                drawn = [Patients(number, *own, correlation=alike_by) for own in PATIENTS]
                shares = [text(coverage_of_patients(own, accuracy, repetitions)) for own in drawn]
                yield [str(number), f"{accuracy:g}", f"{alike_by:g}", *shares]


def error_rows(asked: Sequence[tuple[int, str]], repetitions: int) -> Iterator[list[str]]:
    for name, spread in SPREADS.items():
        worlds = [(World.at(0.75, IMAGES, seeds=seeds, spread=spread), family) for seeds, family in asked]
        yield [name, *(text(error(world, family, repetitions)) for world, family in worlds)]


def power_rows(asked: Sequence[tuple[int, str]], repetitions: int) -> Iterator[list[str]]:
    for gain in GAINS:
        worlds = [(World.at(0.7, IMAGES, seeds=seeds, spread=0.02), family) for seeds, family in asked]
        shares = [text(power(world, 0.7 + gain, family, repetitions)) for world, family in worlds]
        yield [f"0.70 against {0.7 + gain:.2f}", *shares]


def simulated(repetitions: int) -> Iterator[Simulated]:
    spreads = ((1, 0.02), (2, 0.01), (3, 0.002), (3, 0.01), (3, 0.02), (5, 0.01))
    yield Simulated(
        "Share of the intervals called 95% that contain the true accuracy, by test groups x images in each",
        ["seeds (their spread)", "true accuracy", *GROUPS],
        coverage_rows(coverage, spreads, (0.8, 0.9, 0.95, 0.98), repetitions),
    )
    few = (6, 10, 25, 50, 100)
    yield Simulated(
        "The same of other metrics, by how many of 200 images, each a group, are of the second class (†: below 25)",
        ["metric", "seeds (their spread)", "true accuracy of each class", *(f"{n}{mark(n)}" for n in few)],
        class_rows(few, repetitions),
    )
    yield Simulated(
        "Share of the intervals of one encoder's accuracy that contain it where patients have unequal numbers of "
        "images, by the spread of the log number and how much harder it makes them",
        ["patients", "true accuracy", "correlation", *(f"{spread:g}, {harder:g}" for spread, harder in PATIENTS)],
        patient_rows(repetitions),
    )
    spreads = ((2, 0.02), (3, 0.002), (3, 0.02), (5, 0.02))
    yield Simulated(
        "Share of the intervals of a difference that contain it, two of five equal methods, by test groups x images",
        ["seeds (their spread)", "true accuracy", *GROUPS],
        coverage_rows(coverage_of_difference, spreads, (0.8, 0.95), repetitions),
    )
    asked = [(2, REFERENCE), (3, REFERENCE), (5, REFERENCE), (3, EVERY)]
    yield Simulated(
        "How often five equal methods have a star at all, 200 test images: wanted at most 0.05",
        ["spread of the seeds", *(f"{seeds} seeds, {family}" for seeds, family in asked)],
        error_rows(asked, repetitions),
    )
    asked = [(2, REFERENCE), (3, REFERENCE), (5, REFERENCE), (10, REFERENCE), (3, EVERY)]
    yield Simulated(
        "How often a true difference to the reference has its star, five methods, 200 test images, spread 0.02",
        ["accuracy", *(f"{seeds} seeds, {family}" for seeds, family in asked)],
        power_rows(asked, repetitions),
    )
    nine = World.at(0.73, alike(260, 1), seeds=3, spread=0.02)
    yield Simulated(
        "The same of nine methods, 260 test images, three seeds, 0.73 against 0.94",
        ["family", "star"],
        ([family, text(power(nine, 0.94, family, repetitions, 9))] for family in (REFERENCE, EVERY)),
    )
    yield Simulated(
        "How often six equal methods have a star where two, random encoders, have ten seeds and the others three, "
        "against one of the two, 200 test images",
        ["spread of the seeds, the random encoders being the reference", "star"],
        ([name, text(error_beside_ten(spread, repetitions))] for name, spread in SPREADS.items()),
    )
    yield Simulated(
        "How often a true difference has its star there, spread 0.02",
        ["accuracy", "star"],
        ([f"0.70 against {0.7 + gain:.2f}", text(power_beside_ten(gain, repetitions))] for gain in GAINS),
    )


def mark(groups: int) -> str:
    return "" if groups >= MIN_RELIABLE_GROUPS else "†"


def seeds_text(seeds: int, spread: float) -> str:
    return "1" if seeds == 1 else f"{seeds} ({spread:g})"


def text(share: float) -> str:
    return f"{share:.3f}"


def page(repetitions: int) -> Iterator[str]:
    """Each table as Markdown, below its title."""
    for table in simulated(repetitions):
        yield f"**{table.title}**\n\n{markdown(table.heads, list(table.rows))}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=500, help="simulated test sets a number (default 500)")
    parser.add_argument("--into", metavar="PAGE", help=f"a page to write the tables into, between {BEGIN} and {END}")
    asked = parser.parse_args()
    parts = [
        f"{asked.repetitions:,} test sets a number: a share of 0.95 has a standard error of "
        f"{(0.95 * 0.05 / asked.repetitions) ** 0.5:.3f}."
    ]
    for part in page(asked.repetitions):
        print(f"{part}\n", flush=True)
        parts.append(part)
    if asked.into:
        path = Path(asked.into)
        before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        written = "\n\n".join([f"{before}{BEGIN}", *parts, f"{END}{after}"])
        path.write_text(written, encoding="utf-8")


if __name__ == "__main__":
    main()
