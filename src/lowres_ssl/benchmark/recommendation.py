"""Write the answer of a benchmark: which method to use, how sure that is, and what weakens it.

The numbers are those of `benchmark/decision.py`. A sentence claims no more than its numbers show: what is not
significant is not called equal, and every p in a paragraph is corrected for the same comparisons.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from lowres_ssl.benchmark.decision import SHORTCUT_BASELINE, Comparison, Decision, choose_method
from lowres_ssl.console import pluralise
from lowres_ssl.runs.collapse import RUN_MARKS
from lowres_ssl.runs.query import ResultColumn
from lowres_ssl.stats.intervals import TOO_FEW_GROUPS_NOTE
from lowres_ssl.stats.paired_tests import MIN_POOLED_SEEDS, Difference

METHOD_TITLES = {
    "random": "random initialisation",
    "random_calibrated": "random initialisation with calibrated BatchNorm",
    SHORTCUT_BASELINE: "mean colour and size",
}
ANSWERS = {"use": "Use {}.", "none": "Use none of the methods.", "cannot tell": "Cannot tell."}


def write_recommendation(
    columns: Mapping[str, ResultColumn], methods: Sequence[str], chosen_by: str, seeds: Sequence[int]
) -> list[str]:
    """Answer in lines, the answer itself first, by the results of the probe `chosen_by`; a line for each other probe.

    columns: by probe, each with the results of `seeds`; random encoders may have more. Raises `KeyError` if there are
    none by `chosen_by`.
    """
    found = choose_method(columns[chosen_by], methods, seeds)
    if found is None:
        return ["Cannot tell. There are no results to compare."]
    lines = [
        f"{format_headline(found)} {format_test_gain(found)}",
        *format_other_methods(found),
        *list_caveats(found),
        format_accuracies(found),
        *format_other_gains(found),
    ]
    for probe, column in columns.items():
        if probe != chosen_by and (other := choose_method(column, methods, seeds, found.chosen)) is not None:
            lines.append(format_other_probe(other))
    return [*lines, *list_warnings(found, columns[chosen_by])]


def format_headline(found: Decision) -> str:
    """The answer, and the accuracies on the validation images that chose the method."""
    start, chosen, answer = METHOD_TITLES[found.start], found.chosen, ANSWERS[found.verdict].format(found.chosen)
    own, its = (format_seed_count(each) for each in (len(found.seeds), found.intervals[found.start].seeds))
    best, beside = (f"{found.validated[entry]:.3f}" for entry in (chosen, found.start))
    if found.is_random_validated:
        return (
            f"{answer} On the validation images {start} is measurably better than the best method, {chosen}: {beside} "
            f"by {found.label}, {its}, against {best}{'' if own == its else f', {own}'}, difference "
            f"{format_gain_interval(found.on_validation)}."
        )
    return (
        f"{answer} {'It' if found.verdict == 'use' else chosen} is the best method on the validation images ({best} by "
        f"{found.label}, {own}; {start} {beside}{'' if own == its else f', {its}'})."
    )


def format_test_gain(found: Decision) -> str:
    """The comparison of the chosen method with random initialisation on the test images."""
    own, start, name = found.gain, METHOD_TITLES[found.start], found.chosen
    if own.p is None:
        return (
            f"On the test images it differs from {start} by {own.difference.value:+.3f}; with fewer than "
            f"{MIN_POOLED_SEEDS} seeds too little is known of how another seed would differ, so nothing is tested."
        )
    numbers = f"{format_gain_interval(own.difference)}, {format_gain_p(own)} {format_correction(found.comparisons)}"
    if own.is_significant:
        above = "above" if own.is_better else "below"
        return f"On the test images {name} is significantly {above} {start}: {numbers}."
    sentence = f"On the test images there is no significant difference between {name} and {start}: {numbers}."
    if own.difference.low > 0 or own.difference.high < 0:
        sentence += " The interval, which is of this one comparison, leaves out 0; the p of several does not."
    return sentence


def list_caveats(found: Decision) -> Iterator[str]:
    """What the answer leaves open."""
    gain = found.gain
    if gain.p is not None and found.none_is_better:
        left_open = (
            f" That does not show that they are equal: a gain of {found.chosen} up to {gain.difference.high:.3f} is "
            "compatible with these results."
        )
        yield (
            "No method measurably beat random initialisation at this training length."
            f"{left_open if gain.difference.high > 0 else ''}"
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
    corrected = "after Holm correction (chosen minus other)"
    if behind:
        yield f"Significantly behind {found.chosen} {corrected}: {behind}."
    if ahead:
        place = "on the test images, though not on validation,"
        yield f"Significantly ahead of {found.chosen} {place} {corrected}: {ahead}."
    if neither:
        yield f"No significant difference {corrected}: {neither}."


def format_other_gains(found: Decision) -> Iterator[str]:
    """The methods that validation did not choose, compared with random initialisation."""
    groups = group_by_significance(found.others_gain)
    titles = ("significantly above it", "significantly below it", "no significant difference")
    parts = [f"{title}: {own}" for title, own in zip(titles, groups, strict=True) if own]
    if parts:
        yield (
            f"The other methods minus {METHOD_TITLES[found.start]} on the test images, "
            f"{format_correction(len(found.others_gain))}: {'; '.join(parts)}."
        )
    if groups[0] and found.verdict != "use":
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
    gain = f"By {found.label}: {found.chosen} minus {METHOD_TITLES[found.start]} {own.difference.value:+.3f}"
    if own.p is None:
        return f"{gain}, not tested."
    word = "significant" if own.is_significant else "not significant"
    return f"{gain}, {format_gain_p(own)} {format_correction(found.comparisons)}: {word}."


def list_warnings(found: Decision, column: ResultColumn) -> Iterator[str]:
    """What makes the answer weaker than it sounds."""
    beside = found.against_shortcut
    if beside is not None and beside.low <= 0:
        own, theirs = found.intervals[found.chosen].value, found.intervals[SHORTCUT_BASELINE].value
        weak = f"{found.chosen} ({own:.3f}) is not measurably above that: {format_gain_interval(beside)}."
        if theirs >= own:
            weak = f"{found.chosen} reaches {own:.3f}: what distinguishes the classes may be a shortcut."
        yield f"Mean colour and size alone, without any encoder, reach {theirs:.3f} on the test images. {weak}"
    for key, mark in RUN_MARKS.items():
        marked = sorted(set(column.rows.loc[column.rows[key].astype(bool), "entry"]))
        if marked:
            word = mark.word.capitalize()
            yield f"{word} in at least one seed, so their views or rate do not fit: {', '.join(marked)}."
    if len(found.seeds) < MIN_POOLED_SEEDS:
        seeds = pluralise(len(found.seeds), "seed")
        yield f"{seeds}: too few to test a difference between methods; {MIN_POOLED_SEEDS} are the least."
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
