"""Write the differences between methods as a matrix, sentences, claims and records."""

from collections.abc import Iterator, Sequence
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig

from lowres_ssl.config.check import require
from lowres_ssl.config.overrides import format_command
from lowres_ssl.console import format_table, pluralise
from lowres_ssl.reporting.cells import METRIC_TITLES, describe_rows
from lowres_ssl.runs.pairwise import ComparedPair, ComparisonFindings
from lowres_ssl.stats.intervals import TOO_FEW_GROUPS_NOTE, Interval
from lowres_ssl.stats.paired_tests import SIGNIFICANCE_LEVEL, Difference
from lowres_ssl.stats.paper_claims import CellKey, format_cell_key

ALL_PAIRS = "all"  # as a reference: every method is tested against every other
# Of a record, beside what the results share.
RECORD_KEYS = (
    *("metric", "first", "second", "first_value", "second_value", "difference", "low", "high", "p", "p_corrected"),
    *("first_seeds", "second_seeds", "seeds", "reliable", "claim", "verdict", "missing"),
)


def parse_reference(reference: object) -> list[str]:
    """Read one entry or "bar", or several; none for "all". Raises `ConfigError` for what names none."""
    names = [reference] if isinstance(reference, str) else reference
    is_named = isinstance(names, Sequence) and len(names) > 0 and all(isinstance(name, str) and name for name in names)
    require(is_named, "reference", reference, "bar, an entry such as random, several such as [bar,trivial], or all")
    several = list(cast(Sequence[str], names))
    return [] if several == [ALL_PAIRS] else several


def format_findings(found: ComparisonFindings) -> str:
    """Format the matrix, the sentences, the claims."""
    parts = [format_findings_heading(found)]
    if found.pairs:
        parts += [format_matrix(found), *list_pair_sentences(found)]
        parts += ["What becomes of the paper's claims:", format_claims(found)] if found.judgements else []
    else:
        (only,) = found.intervals
        parts.append(
            f"Only {format_cell_key(only)}: {format_value_interval(found.intervals[only])}; nothing to compare it with."
        )
    return "\n\n".join(parts)


def format_findings_heading(found: ComparisonFindings) -> str:
    rows = found.column.rows
    reliable = next(iter(found.intervals.values())).reliable
    doubt = "" if reliable else f"; {TOO_FEW_GROUPS_NOTE}, so nothing here is reliable"
    return (
        f"{rows['title'].iloc[0]}, {rows['label'].iloc[0]}: {METRIC_TITLES[found.metric]} on {format_test_set(found)}"
        f"{doubt}\n{describe_rows(rows)}"
    )


def format_test_set(found: ComparisonFindings) -> str:
    return f"{pluralise(found.images, 'test image')} in {pluralise(found.groups, 'group')}"


def format_matrix(found: ComparisonFindings) -> str:
    """Format row minus column in points, and each method's own value; the best first."""
    differences: dict[tuple[CellKey, CellKey], str] = {}
    for pair in found.pairs:
        points, mark = 100 * pair.found.value, "*" if pair.significant else " "
        differences[pair.first, pair.second] = f"{points:+z.1f}{mark}"
        differences[pair.second, pair.first] = f"{-points:+z.1f}{mark}"
    rows = []
    for row, own in found.intervals.items():
        cells = [differences.get((row, column), "") for column in found.intervals]
        rows.append([format_cell_key(row), format_value_interval(own), *cells])
    heads = ["", METRIC_TITLES[found.metric], *(entry for entry, _ in found.intervals)]
    legend = "Row minus column in points"
    if found.test_count:
        legend += f"; * where p < {SIGNIFICANCE_LEVEL} after Holm's correction of {format_comparison_count(found)}"
    return f"{format_table(heads, rows, right=range(2, len(heads)))}\n{legend}."


def list_pair_sentences(found: ComparisonFindings) -> Iterator[str]:
    """Write a sentence for each difference that chance does not explain, one for all that it may, one for what was not
    tested."""
    few: list[str] = []
    others: list[str] = []
    leaves_out_0 = False  # the interval of a pair that has no star
    for pair in found.pairs:
        if pair.significant:
            yield format_pair_sentence(found, pair)
        elif pair.corrected is not None:
            difference = f"{format_difference_interval(pair.found)}, p = {format_corrected_p(pair)}"
            text = f"{format_cell_key(pair.first)} and {format_cell_key(pair.second)} ({difference})"
            (few if pair.corrected < SIGNIFICANCE_LEVEL else others).append(text)
            leaves_out_0 |= pair.found.low > 0 or pair.found.high < 0
    if few:
        yield f"Not marked, since p is too small too often with two seeds of a method: {'; '.join(few)}."
    if others:
        yield (
            f"On {format_dataset_and_probe(found)}, these differences in {METRIC_TITLES[found.metric]} cannot be told "
            f"from chance (p after Holm's correction of {format_comparison_count(found)}): {'; '.join(others)}."
        )
        if found.test_count > 1 and leaves_out_0:
            yield "An interval is of its one comparison: it may leave out 0 where the corrected p does not."
    if found.references and 0 < found.test_count < len(found.pairs):
        yield (
            f"Tested against {' and '.join(found.references)} alone. To test each against each, with p corrected for "
            f"all of them, type {format_command('compare', *typed_with(f'reference={ALL_PAIRS}'))}"
        )
    if found.one_seed:
        yield (
            f"Not tested, for want of a second seed: {', '.join(map(format_cell_key, found.one_seed))}. Nothing here "
            "says what another seed would have given; three seeds are the least with which much can be shown."
        )


def typed_with(word: str) -> list[str]:
    """Return what was typed, with another value of this word's key."""
    typed = HydraConfig.get().overrides.task if HydraConfig.initialized() else []
    key = word.partition("=")[0]
    return [*(str(each) for each in typed if each.partition("=")[0] != key), word]


def format_pair_sentence(found: ComparisonFindings, pair: ComparedPair) -> str:
    first, second = (found.intervals[key] for key in (pair.first, pair.second))
    above = "above" if pair.found.value > 0 else "below"
    seeds = dict.fromkeys(pluralise(own.seeds, "seed") for own in (first, second))
    return (
        f"On {format_dataset_and_probe(found)}, {format_cell_key(pair.first)} ({format_value_interval(first)}) is "
        f"{above} {format_cell_key(pair.second)} ({format_value_interval(second)}): difference in "
        f"{METRIC_TITLES[found.metric]} {format_difference_interval(pair.found)}, p = {format_corrected_p(pair)} after "
        f"Holm's correction of {format_comparison_count(found)}; {' and '.join(seeds)}, {format_test_set(found)}."
    )


def format_claims(found: ComparisonFindings) -> str:
    rows = []
    for judged in found.judgements:
        lines = [f"wanted {', '.join(judged.missing)}"] if judged.missing else []
        lines += [f"{text}, {format_difference_interval(difference, sign='+')}" for text, difference in judged.found]
        rows += [[judged.verdict, f"{judged.claim}: {line}"] for line in lines]
    text = format_table(None, rows)
    if any("imagenet" in judged.missing for judged in found.judgements):
        text += '\nAnother entry may stand for ImageNet features: lowres-ssl compare "imagenet=pretrained NAME"'
    return text


def list_comparison_records(found: ComparisonFindings) -> Iterator[dict[str, Any]]:
    """List a pair each, then a claim's difference each; all with the same keys."""
    own = found.column.rows.iloc[0]
    about: dict[str, Any] = {
        **{key: str(own[key]) for key in ("dataset", "probe", "label", "split")},
        "split_seed": int(own["split_seed"]),
        "split_digest": str(own["split_digest"]),
        "images": found.images,
        "groups": found.groups,
    }
    about |= dict.fromkeys(RECORD_KEYS)
    for pair in found.pairs:
        own_pair = {"metric": found.metric, "p": pair.p, "p_corrected": pair.corrected}
        for name, key in (("first", pair.first), ("second", pair.second)):
            interval = found.intervals[key]
            own_pair |= {name: format_cell_key(key), f"{name}_value": interval.value, f"{name}_seeds": interval.seeds}
        yield about | build_difference_record(pair.found) | own_pair
    for judged in found.judgements:
        own_claim = about | {"claim": judged.claim, "verdict": judged.verdict}
        if judged.missing:
            yield own_claim | {"missing": ", ".join(judged.missing)}
        for text, difference in judged.found:
            yield own_claim | build_difference_record(difference) | {"first": text}


def build_difference_record(found: Difference) -> dict[str, Any]:
    """Build the numbers of a difference. `seeds`: the fewest of a method that depends on one. Of one seed there is no
    interval."""
    low, high = (None, None) if found.is_of_one_seed else (found.low, found.high)
    return {"difference": found.value, "low": low, "high": high, "seeds": found.seeds, "reliable": found.reliable}


def format_dataset_and_probe(found: ComparisonFindings) -> str:
    own = found.column.rows.iloc[0]
    return f"{own['title']} by {own['label']}"


def format_comparison_count(found: ComparisonFindings) -> str:
    """Format "4 comparisons with random", or "all 10 comparisons"."""
    count = pluralise(found.test_count, "comparison")
    if found.references:
        return f"{count} with {' and '.join(found.references)}"
    return f"all {count}" if found.test_count > 1 else count


def format_value_interval(found: Interval) -> str:
    return f"{found.value:.3f}, 95% {found.low:.3f} to {found.high:.3f}"


def format_difference_interval(found: Difference, sign: str = "") -> str:
    ends = "one seed, no interval" if found.is_of_one_seed else f"{found.low:{sign}.3f} to {found.high:{sign}.3f}"
    return f"{found.value:{sign}.3f} ({ends})"


def format_corrected_p(pair: ComparedPair) -> str:
    assert pair.corrected is not None, "only what was tested has a p"
    return f"{pair.corrected:.3f}" if pair.corrected >= 0.001 else f"{pair.corrected:.1g}"
