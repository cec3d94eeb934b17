"""`lowres-ssl compare`: test each method against the better random encoder, and check the paper's claims."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pandas as pd
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from lowres_ssl.command_line.mistyped import heard_of
from lowres_ssl.command_line.overrides import command_line
from lowres_ssl.config import read_config, require
from lowres_ssl.errors import ConfigError
from lowres_ssl.results.findings import ALL, SIGNIFICANT, Findings, Pair, findings
from lowres_ssl.results.ledger import ledger
from lowres_ssl.results.selection import Filters, columns_of
from lowres_ssl.schemas.compare import CompareConfig
from lowres_ssl.statistics.claims import Judgement, Key, named
from lowres_ssl.statistics.comparison import Difference
from lowres_ssl.statistics.uncertainty import TOO_FEW, Interval
from lowres_ssl.tables.formats import comma_separated_frame
from lowres_ssl.terminal import columns, count, say, warn

OF_A_PAIR = (
    "metric",
    "first",
    "second",
    "first_value",
    "second_value",
    "difference",
    "low",
    "high",
    "p",
    "p_corrected",
    "first_seeds",
    "second_seeds",
)
OF_A_CLAIM = ("seeds", "reliable", "claim", "verdict", "missing")


def main(cfg: DictConfig) -> None:
    config = read_config(cfg, CompareConfig)
    size = config.batch_size
    is_size = isinstance(size, int) and not isinstance(size, bool) and size >= 2
    require(size == "best" or is_size, "batch_size", size, "best, or a number of at least 2")
    require(100 <= config.draws <= 100_000, "draws", config.draws, "from 100 to 100000")
    reference = entries_named(config.reference)
    frame, problems = ledger(Path(config.output_dir))
    filters = Filters.of(config.filters)
    for problem in [*problems, *heard_of(filters, frame)]:
        warn(problem)
    chosen = columns_of(frame, filters)
    if not chosen:
        raise ConfigError(
            f"{config.output_dir}: no stored results of that kind; see what there is with lowres-ssl runs, or make "
            "some: lowres-ssl pretrain dataset=phantom"
        )
    sets = "one set" if len(chosen) == 1 else f"{len(chosen)} sets"
    say(f"comparing {config.metric.name} in {sets} of results, {config.draws:,} draws or more for each p")
    found = [
        findings(column, config.metric.name, size, imagenet=config.imagenet, draws=config.draws, reference=reference)
        for column in chosen
    ]
    for note in dict.fromkeys(note for each in found for note in each.notes):
        warn(note)
    match config.format.name:
        case "csv":
            table = pd.DataFrame([record for each in found for record in records(each)])
            print(comma_separated_frame(table.convert_dtypes()), end="")  # whole numbers stay whole beside empty cells
        case "json":
            print(json.dumps([record for each in found for record in records(each)], indent=2, ensure_ascii=False))
        case _:
            print("\n\n".join(page(each) for each in found))


def entries_named(reference: object) -> str | list[str]:
    """One entry or "bar", several, or "all". Raises `ConfigError` for what names none."""
    names = [reference] if isinstance(reference, str) else reference
    is_named = isinstance(names, Sequence) and len(names) > 0 and all(isinstance(name, str) and name for name in names)
    require(is_named, "reference", reference, "bar, an entry such as random, several such as [bar,trivial], or all")
    several = list(cast(Sequence[str], names))
    return ALL if several == [ALL] else several


def page(found: Findings) -> str:
    """The matrix, the sentences, the claims."""
    parts = [heading(found)]
    if found.pairs:
        parts += [matrix(found), *sentences(found)]
        parts += ["What becomes of the paper's claims:", claims(found)] if found.judgements else []
    else:
        (only,) = found.intervals
        parts.append(f"Only {named(only)}: {interval_text(found.intervals[only])}; nothing to compare it with.")
    return "\n\n".join(parts)


def heading(found: Findings) -> str:
    rows = found.column.rows
    trained = rows[rows["batch_size"].notna()]
    own = (trained if len(trained) else rows).iloc[0]
    training = f"recipe {own['recipe']}, {count(int(own['epochs']), 'epoch')}, " if len(trained) else ""
    reliable = next(iter(found.intervals.values())).reliable
    doubt = "" if reliable else f"; {TOO_FEW}, so nothing here is reliable"
    return (
        f"{own['title']}, {own['label']}: {words(found.metric)} on {count(found.images, 'test image')} in "
        f"{count(found.groups, 'group')}{doubt}\n"
        f"{training}{own['backbone']} at {own['image_size']} px, split {own['split']} (split_seed {own['split_seed']}, "
        f"digest {own['split_digest'][:8]})"
    )


def matrix(found: Findings) -> str:
    """Row minus column in points, and each method's own value; the best first."""
    differences: dict[tuple[Key, Key], str] = {}
    for pair in found.pairs:
        mark = "*" if pair.significant else " "
        points = round(100 * pair.found.value, 1)
        # Adding 0 makes a zero of what would be a minus zero.
        differences[pair.first, pair.second] = f"{points + 0:+.1f}{mark}"
        differences[pair.second, pair.first] = f"{-points + 0:+.1f}{mark}"
    rows = [
        [named(row), interval_text(own), *(differences.get((row, column), "") for column in found.intervals)]
        for row, own in found.intervals.items()
    ]
    heads = ["", words(found.metric), *(entry for entry, _ in found.intervals)]
    legend = "Row minus column in points."
    if found.tests:
        legend = f"{legend[:-1]}; * where p < {SIGNIFICANT} after Holm's correction of {comparisons(found)}."
    return columns(heads, rows, right=range(2, len(heads))) + f"\n{legend}"


def sentences(found: Findings) -> Iterator[str]:
    """One for each difference that chance does not explain, one for all that it may, one for what was not tested."""
    for pair in found.pairs:
        if pair.significant:
            yield sentence(found, pair)
    others = [
        f"{named(pair.first)} and {named(pair.second)} ({difference_text(pair.found)}, p = {p_text(pair)})"
        for pair in found.pairs
        if pair.corrected is not None and not pair.significant
    ]
    if others:
        yield (
            f"On {place(found)}, these differences in {words(found.metric)} cannot be told from chance (p after Holm's "
            f"correction of {comparisons(found)}): {'; '.join(others)}."
        )
        if found.tests > 1 and any(leaves_out_0(pair) for pair in found.pairs):
            yield "An interval is of its one comparison: it may leave out 0 where the corrected p does not."
    if found.references and len(found.pairs) > found.tests:
        yield (
            f"Tested against {' and '.join(found.references)} alone. To test each against each, with p corrected for "
            f"all of them, type {command_line('compare', *typed_with(f'reference={ALL}'))}"
        )
    if found.one_seed:
        yield (
            f"Not tested, for want of a second seed: {', '.join(map(named, found.one_seed))}. Nothing here says what "
            "another seed would have given; three seeds are the least with which much can be shown."
        )


def leaves_out_0(pair: Pair) -> bool:
    """Whether the interval of a pair that has no star does."""
    return pair.corrected is not None and not pair.significant and (pair.found.low > 0 or pair.found.high < 0)


def typed_with(word: str) -> list[str]:
    """What was typed, with another value of this word's key."""
    typed = HydraConfig.get().overrides.task if HydraConfig.initialized() else []
    key = word.partition("=")[0]
    return [*(str(each) for each in typed if each.partition("=")[0] != key), word]


def sentence(found: Findings, pair: Pair) -> str:
    first, second = (found.intervals[key] for key in (pair.first, pair.second))
    above = "above" if pair.found.value > 0 else "below"
    seeds = [count(own.seeds, "seed") for own in (first, second)]
    return (
        f"On {place(found)}, {named(pair.first)} ({interval_text(first)}) is {above} {named(pair.second)} "
        f"({interval_text(second)}): difference in {words(found.metric)} {difference_text(pair.found)}, p = "
        f"{p_text(pair)} after Holm's correction of {comparisons(found)}; {' and '.join(dict.fromkeys(seeds))}, "
        f"{count(found.images, 'test image')} in {count(found.groups, 'group')}."
    )


def claims(found: Findings) -> str:
    text = columns(None, [[judged.verdict, line] for judged in found.judgements for line in claim_lines(judged)])
    if any("imagenet" in judged.missing for judged in found.judgements):
        text += '\nAnother entry may stand for ImageNet features: lowres-ssl compare "imagenet=pretrained NAME"'
    return text


def claim_lines(judged: Judgement) -> Iterator[str]:
    if judged.missing:
        yield f"{judged.claim}: wanted {', '.join(judged.missing)}"
    for text, difference in judged.found:
        yield f"{judged.claim}: {text}, {difference_text(difference, sign='+')}"


def records(found: Findings) -> Iterator[dict[str, Any]]:
    """A pair each, then a claim's difference each; all with the same keys."""
    own = found.column.rows.iloc[0]
    about = {
        **{key: str(own[key]) for key in ("dataset", "probe", "label", "split")},
        "split_seed": int(own["split_seed"]),
        "split_digest": str(own["split_digest"]),
        "images": found.images,
        "groups": found.groups,
    }
    empty = dict.fromkeys(OF_A_PAIR + OF_A_CLAIM)
    for pair in found.pairs:
        first, second = (found.intervals[key] for key in (pair.first, pair.second))
        yield (
            about
            | empty
            | {
                "metric": found.metric,
                "first": named(pair.first),
                "second": named(pair.second),
                "first_value": first.value,
                "second_value": second.value,
                **numbers(pair.found),
                "p": pair.p,
                "p_corrected": pair.corrected,
                "first_seeds": first.seeds,
                "second_seeds": second.seeds,
            }
        )
    for judged in found.judgements:
        said = {"claim": judged.claim, "verdict": judged.verdict}
        if judged.missing:
            yield about | empty | said | {"missing": ", ".join(judged.missing)}
        for text, difference in judged.found:
            yield about | empty | said | {"first": text, **numbers(difference)}


def numbers(found: Difference) -> dict[str, Any]:
    """`seeds`: the fewest of a method that depends on one. Of one seed there is no interval."""
    low, high = (None, None) if found.is_of_one_seed else (found.low, found.high)
    return {"difference": found.value, "low": low, "high": high, "seeds": found.seeds, "reliable": found.reliable}


def place(found: Findings) -> str:
    own = found.column.rows.iloc[0]
    return f"{own['title']} by {own['label']}"


def words(metric: str) -> str:
    return metric.replace("_", " ").replace("f1", "F1")


def comparisons(found: Findings) -> str:
    """ "4 comparisons with random", or "all 10 comparisons"."""
    if not found.references:
        return f"all {count(found.tests, 'comparison')}" if found.tests > 1 else count(found.tests, "comparison")
    return f"{count(found.tests, 'comparison')} with {' and '.join(found.references)}"


def interval_text(found: Interval) -> str:
    return f"{found.value:.3f}, 95% {found.low:.3f} to {found.high:.3f}"


def difference_text(found: Difference, sign: str = "") -> str:
    ends = "one seed, no interval" if found.is_of_one_seed else f"{found.low:{sign}.3f} to {found.high:{sign}.3f}"
    return f"{found.value:{sign}.3f} ({ends})"


def p_text(pair: Pair) -> str:
    assert pair.corrected is not None, "only what was tested has a p"
    return f"{pair.corrected:.3f}" if pair.corrected >= 0.001 else f"{pair.corrected:.1g}"
