"""Score several runs on the same images and print them side by side."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean

from lowres_ssl.config.experiment_schema import ExperimentConfig
from lowres_ssl.console import apply_style, log_info
from lowres_ssl.data.prepare import PreparedData
from lowres_ssl.data.splits import ALL_LABELS, LabelSubset
from lowres_ssl.device import DevicePrecision
from lowres_ssl.evaluate.encoder_runs import ALL_IMAGES_WARNING
from lowres_ssl.evaluate.evaluate import build_run_probe_set, evaluate_run, log_scoring
from lowres_ssl.evaluate.features import get_run_features, get_scored_size
from lowres_ssl.runs.records import ResultRecord, SubsetSizes
from lowres_ssl.runs.run import Run
from lowres_ssl.tracking.session import NO_TRACKING, TrackingSession

ProbeResultRows = Sequence[ResultRecord]
SHOWN_METRICS = (("accuracy", "accuracy"), ("weighted_f1", "weighted F1"))
LABELS_NEAR = 1.5  # times the fraction, or a part of it: what rounding in each class makes of it
LARGEST_CLASS_NAME = "always the largest class"


def format_score_table(rows: Sequence[tuple[str, ProbeResultRows]], title: str) -> str:
    """A line a row (its name, one result a probe), two numbers a probe of the first row; a dash where another row has
    no such probe. On a terminal the best number of a column is bold.

    The last line is the classifier that always answers with the largest class of the test set: what an accuracy has to
    be measured against.
    """
    results = rows[0][1]
    lines: list[tuple[str, list[str]]] = []
    for name, own in rows:
        scored = {result.label: [f"{getattr(result.test, key):.3f}" for key, _ in SHOWN_METRICS] for result in own}
        missing = ["-"] * len(SHOWN_METRICS)
        lines.append((name, [cell for result in results for cell in scored.get(result.label, missing)]))
    largest = [f"{score:.3f}" for score in score_largest_class(results[0])]
    lines.append((LARGEST_CLASS_NAME, largest * len(results)))
    best = [max(cells) for cells in zip(*(cells for _, cells in lines), strict=True)]  # a dash comes before all digits
    first = max(len(name) for name, _ in lines) + 2
    # A probe's label stands above its two columns, so half of it has to fit into one.
    halves = [-(-len(result.label) // len(SHOWN_METRICS)) for result in results]
    width = max([len(heading) for _, heading in SHOWN_METRICS] + halves) + 2
    images, split = results[0].images, results[0].split
    text = [
        title,
        f"{images.train} images train, {images.validation} validate, {images.test} test "
        f"(split {split.kind}, split_seed {split.seed}); scores on the test images:",
        "",
        " " * first + "".join(result.label.rjust(len(SHOWN_METRICS) * width) for result in results),
        " " * first + "".join(heading.rjust(width) for _ in results for _, heading in SHOWN_METRICS),
    ]
    for name, cells in lines:
        line = name.ljust(first)
        for cell, most in zip(cells, best, strict=True):
            # Padded first, since a terminal shows nothing of what makes it bold.
            line += " " * (width - len(cell)) + (apply_style(cell, "best", sys.stdout) if cell == most else cell)
        text.append(line)
    return "\n".join(text)


def score_largest_class(result: ResultRecord) -> list[float]:
    """Accuracy and weighted F1 of always answering with the class that has the most test images."""
    counts = [sum(row) for row in result.test.confusion_matrix]
    share = max(counts) / sum(counts)
    # Its precision is its share, its recall 1; every other class has an F1 of 0.
    return [share, share * 2 * share / (1 + share)]


def score_and_print(
    rows: Sequence[tuple[Run, ExperimentConfig]],
    material: PreparedData,
    compute: DevicePrecision,
    draws: Sequence[LabelSubset] = (ALL_LABELS,),
    watch: TrackingSession = NO_TRACKING,
    *,
    picture: bool = True,
) -> list[ResultRecord]:
    """Score the runs, each with the probes of its own config, on each draw of the labels, and print one table; the
    first run is the one asked for, and the one that `watch` is of. Its results, of the largest fraction of the labels.

    The table goes to standard output, what is being done to standard error. Several draws of a fraction are one line,
    their mean. `picture`: whether the t-SNE of the first run's test images is drawn.
    """
    lines = []
    scored = []
    # For all rows before the first is scored: there may be nothing tuned for one.
    probes = [build_run_probe_set(run, config) for run, config in rows]
    log_scoring([run for run, _ in rows], probes, compute, draws, rows[0][1].force)
    for (run, config), own_probes in zip(rows, probes, strict=True):
        results = evaluate_run(run, config, material, own_probes, compute, draws)
        scored.append(results)
        name = run.read().row_name
        for fraction in dict.fromkeys(draw.fraction for draw in draws):
            own = [results[draw] for draw in draws if draw.fraction == fraction]
            watch.scores(run, run == rows[0][0], fraction, list(zip(*own, strict=True)))
            used = format_label_share(fraction, own[0][0].images.train, len(material.split.train))
            marked = name if set(draws) == {ALL_LABELS} else f"{name}, {used}"
            marked += "".join(f", k={k}" for k in smaller_k(own[0]))
            lines.append((marked, [average_subset_results(each, material) for each in zip(*own, strict=True)]))
    first, config = rows[0]
    print(format_score_table(lines, config.dataset.title))
    shown = next(iter(scored[0].values()))
    for result in shown:
        if result.probe == "knn":
            print(f"\n{result.label}: vote={result.settings['vote']}, metric={result.settings['metric']}")
    if (size := shown[0].scored_size) is not None:
        print(f"\nScored at {size} px (scored_size), trained at {config.image_size} px")
    if first.read().pretrain_on == "all":
        print(f"\n{ALL_IMAGES_WARNING}")
    for doubt in material.leakage_warnings:
        print(f"\nThat may flatter every score: {doubt}.")
    print(f"\nResults and encoder: {first.folder}", flush=True)
    if picture and ALL_LABELS in draws:
        path = get_tsne_plot(first, first.read().row_name, config, material, compute)
        watch.picture("t-SNE", path)
        print(f"t-SNE of the test images: {path}", flush=True)
    largest = max(draw.fraction for draw in draws)
    return [result for draw, results in scored[0].items() if draw.fraction == largest for result in results]


def format_label_share(fraction: float, used: int, images: int) -> str:
    """Format which labels of so many training images were used: the fraction first, or their number where it is far
    from that, as each class keeps a label."""
    if images * fraction / LABELS_NEAR <= used <= images * fraction * LABELS_NEAR:
        return f"{100 * fraction:g}% of the labels ({used} images)"
    return f"{used} of {images:,} labels ({100 * fraction:g}% asked for)"


def compute_objective(results: Sequence[ResultRecord]) -> float | None:
    """Return KNN's validation accuracy, of several draws of the labels the mean; None without KNN or without validation
    images. Test scores are not looked at."""
    scores = [result.validation for result in results if result.probe == "knn"]
    return mean(score.accuracy for score in scores if score) if scores and all(scores) else None


def smaller_k(results: Sequence[ResultRecord]) -> list[int]:
    """How many neighbours voted, where that is not the k of the heading: it shrinks with the labels."""
    voted = [(result.details.get("k"), result.settings.get("k")) for result in results]
    return [k for k, usual in voted if isinstance(k, int) and k != usual]


def average_subset_results(results: Sequence[ResultRecord], material: PreparedData) -> ResultRecord:
    """One result for several draws: the first, with the mean of what the table shows and the images of the split."""
    scores = {key: mean(getattr(result.test, key) for result in results) for key, _ in SHOWN_METRICS}
    split = material.split
    images = SubsetSizes(len(split.train), len(split.validation), len(split.test))
    return replace(results[0], test=replace(results[0].test, **scores), images=images)


def get_tsne_plot(
    run: Run, name: str, config: ExperimentConfig, material: PreparedData, compute: DevicePrecision
) -> Path:
    """The t-SNE picture of the run's test features, drawn if it is not there yet, or damaged."""
    from lowres_ssl.reporting.figures.tsne import draw_tsne, is_whole_png  # Matplotlib: as slow as scikit-learn

    size = get_scored_size(config)
    path = run.tsne if size is None else run.tsne.with_stem(f"{run.tsne.stem}-{size}px")
    with run.lock():
        features = get_run_features(run, "selected", config, material, compute, size=size)["test"]
        if config.force or not is_whole_png(path):
            log_info(f"{run.name}: t-SNE")
            labels = material.catalogue.labels[material.split.test]
            draw_tsne(path, features.numpy(), labels, material.catalogue.classes, f"{config.dataset.title}: {name}")
    return path
