"""Write the answer of a benchmark: which method to use, how sure that is, and what weakens it.

The numbers are those of `benchmark/decision.py`. A sentence claims no more than its numbers show: what is not
significant is not called equal, and every p in a paragraph is corrected for the same comparisons.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lowres_ssl.benchmark.decision import SHORTCUT_BASELINE, Comparison, Decision, Verdict, choose_method
from lowres_ssl.console import pluralise
from lowres_ssl.runs.collapse import RUN_MARKS
from lowres_ssl.runs.query import ResultColumn
from lowres_ssl.stats.bootstrap import TOO_FEW_GROUPS_NOTE
from lowres_ssl.stats.paired_tests import Difference

METHOD_TITLES = {
    "random": "random initialisation",
    "random_calibrated": "random initialisation with calibrated BatchNorm",
    SHORTCUT_BASELINE: "mean colour and size",
}
RELIABLE_SEEDS = 3  # with fewer, a difference has to be huge to be significant


@dataclass(frozen=True)
class Recommendation:
    """`method`: the one that validation chose, "" where there is nothing to compare. `lines`: all of it in words, the
    answer first."""

    verdict: Verdict
    method: str
    lines: tuple[str, ...]


def write_recommendation(
    columns: Mapping[str, ResultColumn], methods: Sequence[str], chosen_by: str, seeds: Sequence[int]
) -> Recommendation:
    """Answer by the results of the probe `chosen_by`, with a line for each other probe.

    columns: by probe, each with the results of `seeds`; random encoders may have more. Raises `KeyError` if there are
    none by `chosen_by`.
    """
    found = choose_method(columns[chosen_by], methods, seeds)
    if found is None:
        return Recommendation("cannot tell", "", ("Cannot tell. There are no results to compare.",))
    lines = [
        format_headline(found),
        *format_other_methods(found),
        *list_caveats(found),
        format_accuracies(found),
        *format_other_gains(found),
    ]
    for probe, column in columns.items():
        if probe != chosen_by and (other := choose_method(column, methods, seeds, found.chosen)) is not None:
            lines.append(format_other_probe(other))
    return Recommendation(found.verdict, found.chosen, (*lines, *list_warnings(found, columns[chosen_by])))


def format_headline(found: Decision) -> str:
    """The answer, and the two numbers that it rests on."""
    start, chosen = METHOD_TITLES[found.start], found.chosen
    own, its = (format_seed_count(each) for each in (len(found.seeds), found.intervals[found.start].seeds))
    best, beside = (f"{found.validated[entry]:.3f}" for entry in (chosen, found.start))
    answers = {"use": f"Use {chosen}.", "none": "Use none of the methods.", "cannot tell": "Cannot tell."}
    if found.on_validation.high < 0:
        where = (
            f"On the validation images {start} is measurably better than the best method, {chosen}: {beside} by "
            f"{found.label}, {its}, against {best}{'' if own == its else f', {own}'}, difference "
            f"{format_gain_interval(found.on_validation)}."
        )
    else:
        where = (
            f"{'It' if found.verdict == 'use' else chosen} is the best method on the validation images ({best} by "
            f"{found.label}, {own}; {start} {beside}{'' if own == its else f', {its}'})."
        )
    return f"{answers[found.verdict]} {where} {format_test_gain(found)}"


def format_test_gain(found: Decision) -> str:
    """The comparison of the chosen method with random initialisation on the test images."""
    own, start, name = found.gain, METHOD_TITLES[found.start], found.chosen
    if own.p is None:
        return (
            f"On the test images it differs from {start} by {own.difference.value:+.3f}; with one seed nobody knows by "
            "how much another seed would differ, so nothing is tested."
        )
    numbers = f"{format_gain_interval(own.difference)}, {format_gain_p(own)} {format_correction(found.comparisons)}"
    if own.is_significant:
        above = "above" if own.is_better else "below"
        return f"On the test images {name} is significantly {above} {start}: {numbers}."
    sentence = f"On the test images there is no significant difference between {name} and {start}: {numbers}."
    if own.difference.low > 0 or own.difference.high < 0:
        sentence += (
            " The interval, which is of this one comparison, leaves out 0; the p of several comparisons does not."
        )
    return sentence


def list_caveats(found: Decision) -> Iterator[str]:
    """What the answer leaves open."""
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


def format_accuracies(found: Decision) -> str:
    """The accuracies on the test images, each with its interval."""
    intervals = {METHOD_TITLES.get(each, each): found.intervals[each] for each in (found.chosen, found.start)}
    named = [f"{name} {own.value:.3f} ({own.low:.3f} to {own.high:.3f})" for name, own in intervals.items()]
    images = f"{pluralise(found.images, 'image')} in {pluralise(found.groups, 'group')}"
    return f"Test accuracy with 95% intervals: {', '.join(named)}; {images}."


def format_other_methods(found: Decision) -> Iterator[str]:
    """The chosen method compared with the others, in the family of comparisons that the headline belongs to."""
    behind, ahead, neither = group_by_significance(found.ahead)
    if behind:
        yield f"Significantly behind {found.chosen} after Holm correction (chosen minus other): {behind}."
    if ahead:
        yield (
            f"Significantly ahead of {found.chosen} on the test images, though not on validation, after Holm "
            f"correction (chosen minus other): {ahead}."
        )
    if neither:
        yield f"No significant difference after Holm correction (chosen minus other): {neither}."


def format_other_gains(found: Decision) -> Iterator[str]:
    """The methods that validation did not choose, compared with random initialisation."""
    better, worse, neither = group_by_significance(found.others_gain)
    titles = ("significantly above it", "significantly below it", "no significant difference")
    parts = [f"{title}: {own}" for title, own in zip(titles, (better, worse, neither), strict=True) if own]
    if parts:
        yield (
            f"The other methods minus {METHOD_TITLES[found.start]} on the test images, "
            f"{format_correction(len(found.others_gain))}: {'; '.join(parts)}."
        )
    if better and found.verdict != "use":
        yield (
            "Validation did not choose what is above random initialisation there. To choose it now would be to choose "
            "by the test images: more seeds, or another split_seed, can show whether it holds."
        )


def group_by_significance(compared: Mapping[str, Comparison]) -> tuple[str, str, str]:
    """Those that are significantly above 0, those below, and the others that were tested, each as
    "dcl (+0.010, p = 0.42)". Without intervals: those are of one comparison each, and p is of all."""

    def listed(means: Callable[[Comparison], bool]) -> str:
        tested = {name: own for name, own in compared.items() if own.p is not None and means(own)}
        return ", ".join(f"{name} ({own.difference.value:+.3f}, {format_gain_p(own)})" for name, own in tested.items())

    return (
        listed(lambda own: own.is_better),
        listed(lambda own: own.is_worse),
        listed(lambda own: not own.is_significant),
    )


def format_other_probe(found: Decision) -> str:
    """The gain of the chosen method by a probe that has chosen nothing."""
    own = found.gain
    said = f"By {found.label}: {found.chosen} minus {METHOD_TITLES[found.start]} {own.difference.value:+.3f}"
    if own.p is None:
        return f"{said}, one seed."
    word = "significant" if own.is_significant else "not significant"
    return f"{said}, {format_gain_p(own)} {format_correction(found.comparisons)}: {word}."


def list_warnings(found: Decision, column: ResultColumn) -> Iterator[str]:
    """What makes the answer weaker than it sounds."""
    beside = found.against_shortcut
    if beside is not None and beside.low <= 0:
        own, theirs = found.intervals[found.chosen].value, found.intervals[SHORTCUT_BASELINE].value
        shortcut = "Mean colour and size alone, without any encoder,"
        if theirs >= own:
            yield (
                f"{shortcut} reach {theirs:.3f} on the test images, no less than {found.chosen} ({own:.3f}): what "
                "distinguishes the classes may be a shortcut."
            )
        else:
            yield (
                f"{shortcut} reach {theirs:.3f} on the test images. {found.chosen} ({own:.3f}) is not measurably above "
                f"that: {format_gain_interval(beside)}."
            )
    for key, mark in RUN_MARKS.items():
        marked = sorted(set(column.rows.loc[column.rows[key].astype(bool), "entry"]))
        if marked:
            said = f"{mark.word.capitalize()} in at least one seed, so their views or rate do not fit"
            yield f"{said}: {', '.join(marked)}."
    if len(found.seeds) < RELIABLE_SEEDS:
        yield (
            f"{pluralise(len(found.seeds), 'seed').capitalize()}: too few to show a difference between methods; "
            f"{RELIABLE_SEEDS} are the least with which much can be shown."
        )
    if not found.intervals[found.chosen].reliable:
        yield f"The test groups tell {TOO_FEW_GROUPS_NOTE}: no interval here is reliable."


def format_correction(comparisons: int) -> str:
    return f"after Holm correction for {comparisons} comparisons" if comparisons > 1 else "in one comparison"


def format_gain_interval(found: Difference) -> str:
    return f"{found.value:+.3f} (95% interval {found.low:+.3f} to {found.high:+.3f})"


def format_gain_p(compared: Comparison) -> str:
    assert compared.p is not None, "only what is tested has a p"
    return f"p = {compared.p:.3f}" if compared.p >= 0.001 else "p < 0.001"


def format_seed_count(seeds: int) -> str:
    return "one seed" if seeds == 1 else f"mean of {seeds} seeds"
