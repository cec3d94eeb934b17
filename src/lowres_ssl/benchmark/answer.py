"""Put into words which method to use for these images, how sure that is, and what speaks against it. No numbers of its
own: those are `benchmark/decision.py`'s.

A sentence claims no more than its numbers show. What is not significant is not called equal, and every p in a paragraph
is corrected for the same comparisons.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lowres_ssl.benchmark.decision import SHORTCUT, Compared, Decision, Verdict, decide
from lowres_ssl.results.collapse import MARKS
from lowres_ssl.results.selection import Column
from lowres_ssl.statistics.comparison import Difference
from lowres_ssl.statistics.uncertainty import TOO_FEW, Interval
from lowres_ssl.terminal import count

NAMES = {
    "random": "random initialisation",
    "random_calibrated": "random initialisation with calibrated BatchNorm",
    SHORTCUT: "mean colour and size",
}
FEWEST_SEEDS = 3  # with fewer, a difference has to be huge to be significant


@dataclass(frozen=True)
class Answer:
    """`method`: the one that validation chose, "" where there is nothing to compare. `lines`: all of it in words, the
    answer first."""

    verdict: Verdict
    method: str
    lines: tuple[str, ...]


def answer(columns: Mapping[str, Column], methods: Sequence[str], chosen_by: str, seeds: Sequence[int]) -> Answer:
    """Answer by the results of the probe `chosen_by`, with a line for each other probe.

    columns: by probe, each with the results of `seeds`, of random encoders with more of them where there are. Raises
    `KeyError` if there are none by `chosen_by`.
    """
    found = decide(columns[chosen_by], methods, seeds)
    if found is None:
        return Answer("cannot tell", "", ("Cannot tell. There are no results to compare.",))
    lines = [headline(found), *against_others(found), *limits(found), values(found), *gains_of_others(found)]
    for probe, column in columns.items():
        if probe != chosen_by and (other := decide(column, methods, seeds, found.chosen)) is not None:
            lines.append(by_another_probe(other))
    return Answer(found.verdict, found.chosen, (*lines, *doubts(found, columns[chosen_by])))


def headline(found: Decision) -> str:
    """The answer, and the two numbers that it rests on."""
    start, seeds, its_seeds = NAMES[found.start], len(found.seeds), found.intervals[found.start].seeds
    best, beside = (f"{found.validated[entry]:.3f}" for entry in (found.chosen, found.start))
    own, its = ("", "") if seeds == its_seeds else (f", {seeds_text(seeds)}", f", {seeds_text(its_seeds)}")
    match found.verdict:
        case "use":
            first, name = f"Use {found.chosen}.", "It"
        case "none":
            first, name = "Use none of the methods.", found.chosen
        case _:
            first, name = "Cannot tell.", found.chosen
    if found.on_validation.high < 0:
        where = (
            f"On the validation images {start} is measurably better than the best method, {found.chosen}: {beside} "
            f"by {found.label}, {seeds_text(its_seeds)}, against {best}{own}, difference "
            f"{interval_text(found.on_validation)}."
        )
    else:
        where = (
            f"{name} is the best method on the validation images ({best} by {found.label}, {seeds_text(seeds)}; "
            f"{start} {beside}{its})."
        )
    return f"{first} {where} {gain_on_test(found)}"


def gain_on_test(found: Decision) -> str:
    """The comparison of the chosen method with random initialisation on the test images."""
    own, start = found.gain, NAMES[found.start]
    if own.p is None:
        return (
            f"On the test images it differs from {start} by {own.difference.value:+.3f}; with one seed nobody knows by "
            "how much another seed would differ, so nothing is tested."
        )
    numbers = f"{interval_text(own.difference)}, {p_text(own)} {corrected(found.comparisons)}"
    name = found.chosen
    if own.is_significant:
        above = "above" if own.is_better else "below"
        return f"On the test images {name} is significantly {above} {start}: {numbers}."
    sentence = f"On the test images there is no significant difference between {name} and {start}: {numbers}."
    if own.difference.low > 0 or own.difference.high < 0:
        sentence += (
            " The interval, which is of this one comparison, leaves out 0; the p of several comparisons does not."
        )
    return sentence


def limits(found: Decision) -> Iterator[str]:
    """What the answer does not say."""
    gain = found.gain
    if gain.p is not None and found.none_is_better:
        yield "No method measurably beat random initialisation at this training length." + (
            f" That does not show that they are equal: a gain of {found.chosen} up to {gain.difference.high:.3f} is "
            "compatible with these results."
            if gain.difference.high > 0
            else ""
        )
    if found.verdict == "cannot tell" and gain.is_better:
        yield "Validation and test images contradict each other; look at how they were divided."
    if found.left_out_gain is not None:
        yield (
            f"The same seeds chose {found.chosen} and measured it, which on average makes a gain look larger than it "
            "is. With each seed measured by the method that the other seeds choose, the gain is "
            f"{found.left_out_gain:+.3f}."
        )


def values(found: Decision) -> str:
    """The accuracies on the test images, each with its interval."""
    named = [f"{NAMES.get(each, each)} {value_text(found.intervals[each])}" for each in (found.chosen, found.start)]
    images = f"{count(found.images, 'image')} in {count(found.groups, 'group')}"
    return f"Test accuracy with 95% intervals: {', '.join(named)}; {images}."


def against_others(found: Decision) -> Iterator[str]:
    """The chosen method compared with the others, in the family of comparisons that the headline belongs to."""
    behind, ahead, neither = sorted_out(found.ahead)
    if behind:
        yield f"Significantly behind {found.chosen} after Holm correction (chosen minus other): {behind}."
    if ahead:
        yield (
            f"Significantly ahead of {found.chosen} on the test images, though not on validation, after Holm "
            f"correction (chosen minus other): {ahead}."
        )
    if neither:
        yield f"No significant difference after Holm correction (chosen minus other): {neither}."


def gains_of_others(found: Decision) -> Iterator[str]:
    """The methods that validation did not choose, compared with random initialisation."""
    better, worse, neither = sorted_out(found.others_gain)
    parts = [f"significantly above it: {better}"] if better else []
    parts += [f"significantly below it: {worse}"] if worse else []
    parts += [f"no significant difference: {neither}"] if neither else []
    if parts:
        yield (
            f"The other methods minus {NAMES[found.start]} on the test images, {corrected(len(found.others_gain))}: "
            f"{'; '.join(parts)}."
        )
    if better and found.verdict != "use":
        yield (
            "Validation did not choose what is above random initialisation there. To choose it now would be to choose "
            "by the test images: more seeds, or another split_seed, can show whether it holds."
        )


def sorted_out(compared: Mapping[str, Compared]) -> tuple[str, str, str]:
    """Those that are significantly above 0, those below, and the others, each as "dcl (+0.010, p = 0.42)".

    What was not tested is in none. Without intervals: those are of one comparison each, and p is of all.
    """
    texts: tuple[list[str], list[str], list[str]] = ([], [], [])
    for name, own in compared.items():
        if own.p is None:
            continue
        place = 0 if own.is_better else 1 if own.is_worse else 2
        texts[place].append(f"{name} ({own.difference.value:+.3f}, {p_text(own)})")
    above, below, neither = (", ".join(each) for each in texts)
    return above, below, neither


def by_another_probe(found: Decision) -> str:
    """The gain of the chosen method by a probe that has chosen nothing."""
    own = found.gain
    said = f"By {found.label}: {found.chosen} minus {NAMES[found.start]} {own.difference.value:+.3f}"
    if own.p is None:
        return f"{said}, one seed."
    word = "significant" if own.is_significant else "not significant"
    return f"{said}, {p_text(own)} {corrected(found.comparisons)}: {word}."


def doubts(found: Decision, column: Column) -> Iterator[str]:
    """What makes the answer weaker than it sounds."""
    beside = found.against_shortcut
    if beside is not None and beside.low <= 0:
        own, theirs = found.intervals[found.chosen].value, found.intervals[SHORTCUT].value
        shortcut = "Mean colour and size alone, without any encoder,"
        if theirs >= own:
            yield (
                f"{shortcut} reach {theirs:.3f} on the test images, no less than {found.chosen} ({own:.3f}): what "
                "distinguishes the classes may be a shortcut."
            )
        else:
            yield (
                f"{shortcut} reach {theirs:.3f} on the test images. {found.chosen} ({own:.3f}) is not measurably above "
                f"that: {interval_text(beside)}."
            )
    for key, mark in MARKS.items():
        marked = sorted(set(column.rows.loc[column.rows[key].astype(bool), "entry"]))
        if marked:
            said = f"{mark.word.capitalize()} in at least one seed, so their views or rate do not fit"
            yield f"{said}: {', '.join(marked)}."
    if len(found.seeds) < FEWEST_SEEDS:
        yield (
            f"{count(len(found.seeds), 'seed').capitalize()}: too few to show a difference between methods; "
            f"{FEWEST_SEEDS} are the least with which much can be shown."
        )
    if not found.intervals[found.chosen].reliable:
        yield f"The test groups tell {TOO_FEW}: no interval here is reliable."


def corrected(comparisons: int) -> str:
    return f"after Holm correction for {comparisons} comparisons" if comparisons > 1 else "in one comparison"


def value_text(found: Interval) -> str:
    return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"


def interval_text(found: Difference) -> str:
    return f"{found.value:+.3f} (95% interval {found.low:+.3f} to {found.high:+.3f})"


def p_text(compared: Compared) -> str:
    assert compared.p is not None, "only what is tested has a p"
    return f"p = {compared.p:.3f}" if compared.p >= 0.001 else "p < 0.001"


def seeds_text(seeds: int) -> str:
    return "one seed" if seeds == 1 else f"mean of {seeds} seeds"
