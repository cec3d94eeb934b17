"""Which method for these images: chosen on the validation images, told by the test images. Stored results -> words.

The rule: of the random encoders and the methods that every seed has a result of, the one with the highest mean
validation accuracy by one probe, of equals the one named first. On the test images it then has one comparison, with
the better of the random encoders (by validation, too), whose 95% interval decides between the three answers. Knows no
torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lowres_ssl.results.collapse import MARKS
from lowres_ssl.results.findings import Findings
from lowres_ssl.results.selection import Column, better_start
from lowres_ssl.schemas.experiment import RANDOM_STARTS
from lowres_ssl.statistics.comparison import Difference
from lowres_ssl.statistics.uncertainty import TOO_FEW, Interval
from lowres_ssl.terminal import count

SHORTCUT = "trivial"
NAMES = {
    "random": "random initialisation",
    "random_calibrated": "random initialisation, its BatchNorm calibrated,",
}
METRIC = "accuracy"


@dataclass(frozen=True)
class Answer:
    """`verdict`: "use", "none" (a random encoder is best on validation, or the method is below it on test) or
    "cannot tell". `method`: the one that validation chose. `lines`: all of it in words, the answer first."""

    verdict: str
    method: str
    lines: tuple[str, ...]


def answer(found: Mapping[str, Findings], methods: Sequence[str], chosen_by: str, seeds: Sequence[int]) -> Answer:
    """`found`: by probe, each with the results of `seeds` alone, random encoders with more of them where there are.

    Raises `KeyError` if there are none by `chosen_by`.
    """
    judge = found[chosen_by]
    validated = validation(judge.column, methods, seeds)
    label = str(judge.column.rows["label"].iloc[0])
    bar = better_start(judge.column)
    validated = {each: score for each, score in validated.items() if each == bar or each not in RANDOM_STARTS}
    if bar not in validated or len(validated) < 2:
        return Answer("cannot tell", bar or RANDOM_STARTS[0], ("Cannot tell. There are no results to compare.",))
    best = max(validated, key=lambda method: validated[method])
    own_seeds = list(judge.column.rows.loc[judge.column.rows["entry"] == best, "seed"])
    chosen = f"best on the validation images ({validated[best]:.3f} by {label}, {seeds_text(own_seeds)})"
    if best == bar:
        second = max((each for each in validated if each != bar), key=lambda method: validated[method])
        score = validated[second]
        runner_up = f"{second} is as good" if score == validated[best] else f"the next is {second}, {score:.3f}"
        first = (
            f"None of them. R{NAMES[bar][1:]} is {chosen}; {runner_up}. With this much training, pre-training "
            "bought nothing that shows."
        )
        return Answer("none", best, (first, *values(judge, best, bar), *others(judge, best), *doubts(judge, best)))
    compared = between(judge, best, bar)
    verdict = "cannot tell" if compared is None else verdict_of(compared)
    gain = "" if compared is None else f"{NAMES[bar]} by {difference(compared)}"
    match verdict:
        case "use":
            first = f"Use {best}. It is {chosen}; on the test images it is above {gain}, more than chance explains."
        case "none":
            first = f"None of them. {best} is {chosen}, but on the test images below {gain}."
        case _:
            told = "" if compared is None else f"; on the test images it differs from {gain}, which may be chance"
            first = f"Cannot tell. {best} is {chosen}{told}."
    lines = [first, *values(judge, best, bar), *others(judge, best), *beside(found, best, chosen_by)]
    return Answer(verdict, best, (*lines, *doubts(judge, best)))


def validation(column: Column, methods: Sequence[str], seeds: Sequence[int]) -> dict[str, float]:
    """Mean validation accuracy of each candidate, in the order of `methods`; of those alone that have every seed."""
    means = {}
    for method in dict.fromkeys((*RANDOM_STARTS, *methods)):  # both random encoders stand beside every method
        rows = column.rows[column.rows["entry"] == method]
        accuracies = rows["validation_accuracy"].astype(float)
        if method != SHORTCUT and set(rows["seed"]) >= set(seeds) and not accuracies.isna().any():
            means[method] = round(float(accuracies.mean()), 12)
    return means


def verdict_of(compared: Difference) -> str:
    return "use" if compared.low > 0 else "none" if compared.high < 0 else "cannot tell"


def between(found: Findings, one: str, other: str) -> Difference | None:
    """One minus the other on the test images, whichever the findings have first; None if one is not there."""
    for pair in found.pairs:
        if (pair.first[0], pair.second[0]) == (one, other):
            return pair.found
        if (pair.first[0], pair.second[0]) == (other, one):
            return pair.found.reversed()
    return None


def values(found: Findings, best: str, bar: str) -> list[str]:
    """What is reported on the test images, with its interval."""
    own = {entry: interval for (entry, _), interval in found.intervals.items()}
    named = [f"{name} {value_text(own[name])}" for name in dict.fromkeys((best, bar)) if name in own]
    images = f"{count(found.images, 'image')} in {count(found.groups, 'group')}"
    return [f"Test accuracy: {', '.join(named)}; {images}; in brackets 95% intervals."]


def others(found: Findings, best: str) -> list[str]:
    """Every other method against the chosen one on the test images: told apart, after Holm's correction, or not."""
    alike, behind, ahead = list[str](), list[str](), list[str]()
    for pair in found.pairs:
        names = (pair.first[0], pair.second[0])
        if best not in names or {*RANDOM_STARTS, SHORTCUT} & set(names) - {best}:
            continue
        other = names[1] if names[0] == best else names[0]
        compared = between(found, best, other)
        assert compared is not None
        text = f"{other} ({difference(compared)})"
        (alike if not pair.significant else behind if compared.value > 0 else ahead).append(text)
    lines = [f"Behind it on the test images: {', '.join(behind)}."] if behind else []
    lines += [f"Ahead of it on the test images, though not on validation: {', '.join(ahead)}."] if ahead else []
    told = "Not told apart from it, after Holm's correction (its accuracy less theirs)"
    return lines + ([f"{told}: {', '.join(alike)}."] if alike else [])


def beside(found: Mapping[str, Findings], best: str, chosen_by: str) -> list[str]:
    """The same method by the other probes, which have chosen nothing."""
    lines = []
    for probe, own in found.items():
        bar = better_start(own.column)
        compared = None if probe == chosen_by or bar is None else between(own, best, bar)
        if compared is not None:
            said = {"use": "more than chance", "none": "worse, and not by chance", "cannot tell": "may be chance"}
            label = own.column.rows["label"].iloc[0]
            lines.append(f"By {label}: {best} {difference(compared)} from {bar}: {said[verdict_of(compared)]}.")
    return lines


def doubts(found: Findings, best: str) -> list[str]:
    """What makes the answer weaker than it sounds."""
    lines = []
    own = {entry: interval for (entry, _), interval in found.intervals.items()}
    shortcut = between(found, best, SHORTCUT)
    if shortcut is not None and shortcut.low <= 0:
        lines.append(
            f"Mean colour and size alone come as far ({own[SHORTCUT].value:.3f}): what tells the classes apart may be "
            "a shortcut."
        )
    for key, mark in MARKS.items():
        marked = sorted(set(found.column.rows.loc[found.column.rows[key].astype(bool), "entry"]))
        if marked:
            said = f"{mark.word.capitalize()} in at least one seed, so their views or rate do not fit"
            lines.append(f"{said}: {', '.join(marked)}.")
    if any(interval.seeds == 1 for interval in own.values() if interval is not own.get(SHORTCUT)):
        lines.append("One seed: nothing here says what another would have given.")
    if not next(iter(own.values())).reliable:
        lines.append(f"The test groups tell {TOO_FEW}: no interval here is reliable.")
    return lines


def value_text(found: Interval) -> str:
    return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"


def difference(found: Difference) -> str:
    ends = "one seed, no interval" if found.is_of_one_seed else f"{found.low:+.3f} to {found.high:+.3f}"
    return f"{found.value:+.3f} ({ends})"


def seeds_text(seeds: Sequence[int]) -> str:
    return "one seed" if len(seeds) == 1 else f"mean of {len(seeds)} seeds"
