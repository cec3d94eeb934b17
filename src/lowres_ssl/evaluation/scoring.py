"""Several runs on the same images, scored and shown side by side on the terminal."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from lowres_ssl.ahead.expectation import scoring_ahead
from lowres_ssl.artefacts import SAW_EVERYTHING, row_name
from lowres_ssl.config import Experiment
from lowres_ssl.data.leakage import leakage
from lowres_ssl.device import Compute
from lowres_ssl.evaluation.frozen import features_of, sides_of
from lowres_ssl.evaluation.labels import ALL_LABELS, LabelDraw
from lowres_ssl.evaluation.probing import Scored, evaluate, place_of, probes_of
from lowres_ssl.planning.preparation import Material
from lowres_ssl.results.scoreboard import COLUMNS, scoreboard
from lowres_ssl.runs import Run
from lowres_ssl.terminal import say
from lowres_ssl.watching import UNWATCHED, Watch


def score_and_show(
    rows: Sequence[tuple[Run, Experiment]],
    material: Material,
    compute: Compute,
    draws: Sequence[LabelDraw] = (ALL_LABELS,),
    watch: Watch = UNWATCHED,
    *,
    picture: bool = True,
) -> list[dict[str, Any]]:
    """Score the runs, each with the probes of its own config, on each draw of the labels, and print one table; the
    first run is the one asked for, and the one that `watch` is of. Its results, of the largest fraction of the labels.

    The table goes to standard output, what is being done to standard error. Several draws of a fraction are one line,
    their mean. `picture`: whether the t-SNE of the first run's test images is drawn.
    """
    lines = []
    scored = []
    # For all rows before the first is scored: there may be nothing tuned for one.
    probes = [probes_of(config, Scored.in_run(run), material.split) for run, config in rows]
    wanted = [
        (run, place_of(run, name, settings, compute, draw))
        for (run, _), own in zip(rows, probes, strict=True)
        for name, settings in own.settings.items()
        for draw in draws
    ]
    labels = [probe.label for probe in probes[0].probes.values()]
    say(scoring_ahead(wanted, labels, material.catalogue.digest))
    for (run, config), own_probes in zip(rows, probes, strict=True):
        results = evaluate(run, config, material, own_probes, compute, draws)
        scored.append(results)
        name = row_name(run.description())
        for fraction in dict.fromkeys(draw.fraction for draw in draws):
            own = [results[draw] for draw in draws if draw.fraction == fraction]
            watch.scores(run, run == rows[0][0], fraction, list(zip(*own, strict=True)))
            marked = name if set(draws) == {ALL_LABELS} else f"{name}, {100 * fraction:g}% of the labels"
            marked += "".join(f", k={k}" for k in smaller_k(own[0]))
            lines.append((marked, [mean_of(each, material) for each in zip(*own, strict=True)]))
    first, config = rows[0]
    print(scoreboard(lines, config.dataset.title))
    if first.description().get("pretrain_on") == "all":
        print(f"\n{SAW_EVERYTHING}")
    for doubt in leakage(material.catalogue, material.split).doubts():
        print(f"\nThat may flatter every score: {doubt}.")
    print(f"\nResults and encoder: {first.folder}", flush=True)
    if picture and ALL_LABELS in draws:
        path = picture_of(first, row_name(first.description()), config, material, compute)
        watch.picture("t-SNE", path)
        print(f"t-SNE of the test images: {path}", flush=True)
    largest = max(draw.fraction for draw in draws)
    return [result for draw, results in scored[0].items() if draw.fraction == largest for result in results]


def smaller_k(results: Sequence[dict[str, Any]]) -> list[int]:
    """How many neighbours voted, where that is not the k of the heading: it shrinks with the labels."""
    told = [result["details"].get("k") for result in results]
    return [k for k, result in zip(told, results, strict=True) if k not in (None, result["settings"].get("k"))]


def mean_of(results: Sequence[dict[str, Any]], material: Material) -> dict[str, Any]:
    """One result for several draws: the first, with the mean of what the table shows and the images of the split."""
    scores = {key: mean(result["test"][key] for result in results) for key, _ in COLUMNS}
    images = {side: len(rows) for side, rows in sides_of(material.split).items()}
    return results[0] | {"test": results[0]["test"] | scores, "images": images}


def picture_of(run: Run, name: str, config: Experiment, material: Material, compute: Compute) -> Path:
    """The t-SNE picture of the run's test features, drawn if it is not there yet, or damaged."""
    from lowres_ssl.figures.tsne import draw_tsne, is_whole  # Matplotlib: as slow as scikit-learn

    with run.held():
        if config.force or not is_whole(run.tsne):
            say(f"{run.name}: t-SNE")
            features = features_of(run, "selected", config, material, compute)["test"]
            labels = material.catalogue.labels[material.split.test]
            draw_tsne(run.tsne, features.numpy(), labels, material.catalogue.classes, f"{config.dataset.title}: {name}")
    return run.tsne
