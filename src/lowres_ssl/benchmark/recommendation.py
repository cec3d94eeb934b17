"""Write the answer of a benchmark: which encoder to use, what it gains, how sure that is, what more time would buy.

The numbers are those of `benchmark/decision.py`, in points: right answers more in 100 images. A sentence claims no more
than its numbers show: what is not significant is not called equal, and every p is corrected for those of its probe.
"""

from collections.abc import Iterator, Mapping
from math import sqrt
from statistics import fmean

from lowres_ssl.benchmark.decision import Comparison, Decision, decide, read_validation_scores
from lowres_ssl.benchmark.plan import SHORTCUT_BASELINE, BenchmarkPlan
from lowres_ssl.benchmark.schedule import Race, get_start
from lowres_ssl.console import format_table, pluralise
from lowres_ssl.runs.history import RUN_MARKS
from lowres_ssl.runs.query import ResultColumn, find_better_random
from lowres_ssl.stats.intervals import TOO_FEW_GROUPS_NOTE
from lowres_ssl.stats.paired_tests import MIN_POOLED_SEEDS, Difference

MIN_VALIDATION_GROUPS = 10  # below: a choice hangs on one or two patients
NORMAL_95 = 1.96  # standard errors on both sides of a 95% interval
METHOD_TITLES = {
    "random": "random initialisation",
    "random_calibrated": "random initialisation with calibrated BatchNorm",
    SHORTCUT_BASELINE: "mean colour and size",
}


def write_recommendation(columns: Mapping[str, ResultColumn], plan: BenchmarkPlan) -> list[str]:
    """Answer in lines, the answer itself first, by the results of the probe that chooses; a line for each other probe.

    columns: by probe, as `select_column` makes them.
    """
    race, pretrained, chosen_by = plan.race, [each.name for each in plan.pretrained], plan.asked.chosen_by
    column = columns.get(chosen_by)
    found = None if column is None else decide(column, pretrained, race.finalist)
    if found is None or column is None:
        return [
            "Cannot tell yet: no other encoder was finished that random initialisation could be compared with.",
            *([] if column is None else [*list_untrained_shortcut(column), "", format_scores(column, race, None)]),
        ]
    lines = [format_headline(found, race), format_gain(found), *format_other_network(found, plan)]
    lines += [*format_frozen(found), *list_caveats(found, race)]
    lines += [format_more_time(found, race, column), *format_more_images(found, race), *list_warnings(found, column)]
    for probe, other in columns.items():
        same = decide(other, pretrained, race.finalist, found.named) if probe != chosen_by else None
        if same is not None:
            lines.append(format_other_probe(same))
    return [*lines, "", format_scores(column, race, found)]


def list_untrained_shortcut(column: ResultColumn) -> Iterator[str]:
    """Whether mean colour is level with the better random encoder on the validation images, where nothing else is
    there."""
    scores, start = read_validation_scores(column), find_better_random(column)
    if start is not None and SHORTCUT_BASELINE in scores and scores[SHORTCUT_BASELINE] >= scores[start]:
        yield (
            f"Mean colour and size alone, without any encoder, reach {scores[SHORTCUT_BASELINE]:.3f} on the validation "
            f"images, {METHOD_TITLES[start]} {scores[start]:.3f}: what distinguishes the classes may be a shortcut."
        )


def name_encoder(found: Decision) -> str:
    """What the named encoder is called in a sentence."""
    return found.named if found.is_trained else f"frozen {found.named} features"


def format_headline(found: Decision, race: Race) -> str:
    """The answer, with what it rests on."""
    name, rung = name_encoder(found), race.last_rung
    if found.is_trained and rung is not None:
        name += f", trained on your images for {race.count_views(rung.epochs):,} views"
    beside = f"{METHOD_TITLES[found.start]} {found.validated[found.start]:.3f}"
    name += f" ({found.validated[found.named]:.3f} on the validation images by {found.label}; {beside})."
    if found.verdict == "use":
        return f"Use {name}"
    if found.verdict == "none":
        images = "validation" if found.is_random_validated else "test"
        return (
            f"Use none of these encoders: random initialisation is measurably better on the {images} images. The best "
            f"was {name}"
        )
    if found.validated[found.named] > found.validated[found.start]:
        advice = "" if found.is_contradicted else f" Until more is known use {name_encoder(found)}."
        return f"Cannot tell. Best so far: {name}{advice}"
    advice = "" if found.is_contradicted else f" Until more is known use {METHOD_TITLES[found.start]}."
    return f"Cannot tell. Not better than {METHOD_TITLES[found.start]} on the validation images: {name}{advice}"


def format_gain(found: Decision) -> str:
    """What the named encoder gains over random initialisation on the test images, and how sure that is."""
    own, name, start = found.gain, name_encoder(found), METHOD_TITLES[found.start]
    own_right, their_right = (f"{100 * found.intervals[each].value:.0f}%" for each in (found.named, found.start))
    lead = f"With {name} {own_right} of the {found.images} test images are right, with {start} {their_right}"
    if own.p is None:
        few = f"with fewer than {MIN_POOLED_SEEDS} seeds too little is known of how another seed would differ"
        return f"{lead}; {few}, so nothing is tested."
    lead += f": {format_test(own, found)}: {'significant' if own.is_significant else 'not significant'}."
    if not own.is_significant and own.difference.high > 0:
        lead += f" A gain of up to {100 * own.difference.high:.1f} points is compatible with these results."
    return lead


def format_other_network(found: Decision, plan: BenchmarkPlan) -> Iterator[str]:
    """What else differs between the named encoder and random initialisation, where that is not training alone."""
    if not found.is_trained or get_start(found.named):
        yield (
            f"Random initialisation is {plan.settings.backbone} at {plan.settings.image_size} px, without "
            "pre-trained weights, so this gain is not due to training on your images alone."
        )


def format_frozen(found: Decision) -> Iterator[str]:
    """The finalist beside the best frozen pre-trained encoder."""
    if found.frozen is None or found.finalist is None or found.over_frozen is None or found.ahead is None:
        return
    own, trained = found.validated[found.frozen], found.validated[found.finalist]
    beside = f"{found.finalist} {trained:.3f}, frozen {found.frozen} {own:.3f} on the validation images"
    if len(found.seeds) < MIN_POOLED_SEEDS:
        yield f"What training on your images adds cannot be judged by {pluralise(len(found.seeds), 'seed')}: {beside}."
        return
    did = "added nothing measurable to what others have trained"
    if found.is_trained:
        did = "beats the best frozen encoder"
    elif found.ahead.high < 0:
        did = "was measurably worse than the best frozen encoder"
    yield f"Training on your images {did}: {beside}, {format_points(found.ahead)}."
    if found.over_frozen.p is not None:
        test = format_test(found.over_frozen, found)
        yield f"On the test images {found.finalist} minus frozen {found.frozen}: {test}."


def list_caveats(found: Decision, race: Race) -> Iterator[str]:
    """What the answer leaves open."""
    if found.is_contradicted:
        yield "Validation and test images contradict each other; look at how they were divided."
    if found.is_training_missed:
        yield (
            f"The test images favour {found.finalist}, which the {found.validation_images} validation images did not "
            "show. Test images choose nothing; more images for validation may settle it."
        )
    if found.lacks_seeds:
        yield f"{pluralise(len(found.seeds), 'seed')} of {found.finalist}: {MIN_POOLED_SEEDS} are the least to test."
    elif found.is_trained and found.fresh_gain is not None and any(len(race.rank(rung)) > 1 for rung in race.rungs):
        yield (
            f"Seed 0 chose {found.finalist} among others, which may make its own gain look larger than it is; by the "
            f"other seeds alone the gain is {100 * found.fresh_gain:+.1f} points."
        )


def format_more_time(found: Decision, race: Race, column: ResultColumn) -> str:
    """What the finalist's own learning curve, of seed 0 on the validation images, lets expect of longer training."""
    rungs = [rung for rung in race.rungs if race.is_complete(rung)]
    own = [(rung.epochs, race.find_run(found.finalist or "", rung.epochs)) for rung in rungs]
    curve = [(race.count_views(epochs), run.score) for epochs, run in own if run is not None and run.score is not None]
    if not curve:
        return "More time: no method has been trained for long enough to tell."
    points = ", ".join(f"{views:,} views {score:.3f}" for views, score in curve)
    start = read_start_score(found.finalist or "", column)
    points = points if start is None else f"not trained {start:.3f}, {points}"
    text = f"More time: seed 0 of {found.finalist} on the validation images: {points}."
    if len(curve) < 2:
        return f"{text} One length shows no trend."
    (before, low), (after, high) = curve[-2:]
    judged = judge_gain(low, high, found.validation_images, "longer training")
    return f"{text} {after / before:.0f} times the views gained {judged}"


def read_start_score(finalist: str, column: ResultColumn) -> float | None:
    """The validation accuracy of what seed 0 of the finalist began with: a pre-trained encoder, or random weights. None
    if it has no result."""
    is_start = (column.rows["entry"] == (get_start(finalist) or "random")) & (column.rows["seed"] == 0)
    return next(iter(column.rows.loc[is_start, "validation_accuracy"].astype(float)), None)


def format_more_images(found: Decision, race: Race) -> Iterator[str]:
    """What a training on half of the images, for about as many views, lets expect of more images."""
    half, rung = race.half_run, race.last_rung
    if half is None or rung is None or half.score is None or half.name != race.finalist:
        return
    same = [run for run in race.runs if (run.name, run.epochs, run.half) == (half.name, rung.epochs, False)]
    fresh = [run.score for run in same if run.seed > 0 and run.score is not None]  # seed 0 was chosen for its score
    if not fresh:
        return
    whole = fmean(fresh)
    judged = judge_gain(half.score, whole, found.validation_images, "more unlabelled images")
    yield (
        f"More images: {half.name} on the validation images, trained on half of the images for about as many views "
        f"{half.score:.3f}, on all {whole:.3f} (seeds that chose nothing). Twice the images gained {judged}"
    )


def judge_gain(low: float, high: float, images: int, what: str) -> str:
    """The difference of two accuracies on so many images in points, and what to expect of `what`, more of the same."""
    gain = 100 * (high - low)
    shares = [(accuracy * images + 1) / (images + 2) for accuracy in (low, high)]  # an error of 0 is never known
    noise = NORMAL_95 * 100 * sqrt(sum(share * (1 - share) / images for share in shares))
    if gain > noise:
        return f"{gain:+.1f} points: {what} may gain more."
    if gain < -noise:
        return f"{gain:+.1f} points: nothing is to be expected of {what}."
    return (
        f"{gain:+.1f} points, within the noise of {pluralise(images, 'image')} (up to {noise:.1f}): that shows neither "
        f"that {what} would gain anything nor that it would not."
    )


def format_other_probe(found: Decision) -> str:
    """The gain of the named encoder by a probe that has chosen nothing."""
    test = format_test(found.gain, found)
    return f"By {found.label}: {name_encoder(found)} minus {METHOD_TITLES[found.start]} {test}."


def list_warnings(found: Decision, column: ResultColumn) -> Iterator[str]:
    """What makes the answer weaker than it sounds."""
    beside = found.against_shortcut
    if beside is not None and (beside.value <= 0 if found.lacks_seeds else beside.low <= 0):
        own, theirs = found.intervals[found.named].value, found.intervals[SHORTCUT_BASELINE].value
        weak = f"{found.named} ({own:.3f}) is not measurably above that: {format_points(beside)}."
        if theirs >= own:
            weak = f"{found.named} reaches {own:.3f}: what distinguishes the classes may be a shortcut."
        yield f"Mean colour and size alone, without any encoder, reach {theirs:.3f} on the test images. {weak}"
    for key, mark in RUN_MARKS.items():
        marked = sorted(set(column.rows.loc[column.rows[key].astype(bool), "entry"]))
        if marked:
            word = mark.word.capitalize()
            yield f"{word} in at least one seed, so their views or rate do not fit: {', '.join(marked)}."
    if found.intervals[found.named].groups == found.images:
        yield "Each image counts as a patient of its own; if some are of one patient, these intervals are too narrow."
    if (patients := found.validation_groups) < MIN_VALIDATION_GROUPS and patients < found.validation_images:
        yield f"The validation images, which chose, are of few patients (they count as {patients:.0f} of equal size)."
    if not found.intervals[found.named].reliable:
        yield f"The test groups tell {TOO_FEW_GROUPS_NOTE}: no interval here is reliable."


def format_scores(column: ResultColumn, race: Race, found: Decision | None) -> str:
    """A table of all encoders; test accuracies only of those that the test images were asked about."""
    validated = dict(read_validation_scores(column))
    views = dict.fromkeys(validated, 0)
    for rung in race.rungs:
        for name in rung.names:
            run = race.find_run(name, rung.epochs)
            if run is not None and run.score is not None and name != race.finalist:
                views[name], validated[name] = race.count_views(rung.epochs), run.score
    if race.finalist is not None and race.last_rung is not None:
        views[race.finalist] = race.count_views(race.last_rung.epochs)
    rows = []
    for name, score in sorted(validated.items(), key=lambda pair: -pair[1]):
        seeds = len(set(column.rows.loc[column.rows["entry"] == name, "seed"]))
        own = None if found is None else found.intervals.get(name)
        test = f"{own.value:.3f} ({own.low:.3f} to {own.high:.3f})" if own is not None else ""
        trained = f"{views[name]:,}" if views[name] else "none"
        rows.append((METHOD_TITLES.get(name, name), trained, str(seeds or 1), f"{score:.3f}", test))
    label = str(column.rows["label"].iloc[0])
    heads = ["encoder", "views", "seeds", f"validation, {label}", "test (95% interval)"]
    return format_table(heads, rows, right=(1, 2))


def format_test(compared: Comparison, found: Decision) -> str:
    """A difference, with the comparisons that its p is corrected for."""
    if compared.p is None:
        return f"{100 * compared.difference.value:+.1f} points, not tested"
    p = f"p = {compared.p:.3f}" if compared.p >= 0.001 else "p < 0.001"
    many = f"after Holm correction for {found.comparisons} comparisons"
    return f"{format_points(compared.difference)}, {p} {many if found.comparisons > 1 else 'in one comparison'}"


def format_points(found: Difference) -> str:
    low, high = 100 * found.low, 100 * found.high
    return f"{100 * found.value:+.1f} points (95% interval {low:+.1f} to {high:+.1f})"
