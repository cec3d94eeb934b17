"""Write the model card of a run from its `run.json` and its stored results."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from lowres_ssl.config.experiment_schema import RANDOM_BASELINES, to_plain
from lowres_ssl.console import pluralise
from lowres_ssl.data.splits import NO_SPLIT
from lowres_ssl.errors import CheckpointError
from lowres_ssl.evaluate.encoder_runs import ALL_IMAGES_WARNING
from lowres_ssl.inference.load import PortableEncoder
from lowres_ssl.reporting.cells import METRIC_TITLES, UNRELIABLE, format_score, format_score_interval, format_versions
from lowres_ssl.runs.predictions import read_result_predictions
from lowres_ssl.runs.records import BASELINE_TITLES, ResultRecord, RunRecord
from lowres_ssl.runs.result_io import find_result
from lowres_ssl.runs.run import Run, find_runs
from lowres_ssl.stats.intervals import TOO_FEW_GROUPS_NOTE, Interval, compute_interval

CARD_METRICS = ("accuracy", "weighted_f1")
CARD_MARK = "<!-- model card by lowres-ssl -->"
SHOWN_RECIPE_KEYS = (
    "learning_rate",
    "momentum",
    "weight_decay",
    "schedule",
    "warmup_epochs",
    "image_size_schedule",
    "select_encoder",
    "initial_weights",
)
TIMM_CALL = 'timm.create_model("local-dir:FOLDER", pretrained=True)'


@dataclass(frozen=True)
class StoredScore:
    """Hold a stored result of all labels, and by method the same of each random encoder that has it."""

    result: ResultRecord
    intervals: dict[str, Interval]
    starts: dict[str, dict[str, Interval]]


def read_stored_scores(run: Run, encoder: str) -> list[StoredScore]:
    """Read a score for each result of the encoder in the file `encoder`, by probe. Raises `CheckpointError`."""
    beside = find_random_runs(run)
    scores = []
    for folder, result in run.results():
        if result.labels.is_full and result.encoder == encoder:
            starts = {}
            for method, start in beside:
                there = start.folder / folder.name  # named by probe, settings and precision
                if find_result(there) is not None:
                    starts[method] = compute_result_intervals(there)
            scores.append(StoredScore(result, compute_result_intervals(folder), starts))
    return sorted(scores, key=lambda score: score.result.label)


def find_random_runs(run: Run) -> list[tuple[str, Run]]:
    """Find the finished runs of random encoders of the same seed on the same images, split and stored alike; with
    their methods."""
    wanted, found = get_start_key(run.read()), []
    for each in find_runs(run.folder.parent.parent):
        try:
            record = each.read()
        except CheckpointError:  # damage of another run does not matter here
            continue
        if record.method in RANDOM_BASELINES and record.outcome is not None and get_start_key(record) == wanted:
            found.append((record.method, each))
    return found


def get_start_key(record: RunRecord) -> tuple[object, ...]:
    identity, config = record.identity, record.config
    images = (identity.images, identity.split, identity.store, config.images.mean, config.images.std)
    return (*images, config.image_size, config.backbone, config.seed, identity.precision)


def compute_result_intervals(folder: Path) -> dict[str, Interval]:
    counts = read_result_predictions(folder).counts
    return {metric: compute_interval(counts, metric) for metric in CARD_METRICS}


def write_model_card(encoder: PortableEncoder, scores: Sequence[StoredScore]) -> str:
    """Fill `model_card.md`: Markdown with the front matter that hubs read."""
    about, how, outcome = encoder.record, encoder.preprocessing, encoder.record.outcome
    assert outcome is not None, "the run is finished"
    limits = []
    if about.split.kind not in ("patient", "official", "official_test", NO_SPLIT):
        limits.append(f"- The split is {about.split.kind}: images of one patient may be on both sides, which flatters.")
    if any(len(score.starts) < len(RANDOM_BASELINES) for score in scores):
        limits.append("- Without the scores of the random encoders beside it a score means little.")
    template = files("lowres_ssl.inference").joinpath("model_card.md").read_text(encoding="utf-8")
    return Template(template).substitute(
        mark=CARD_MARK,
        library="" if encoder.has_small_stem else "library_name: timm\n",
        title=f"{about.row_name}, {encoder.architecture}, {about.config.dataset.title}",
        size=how.image_size,
        width=encoder.width,
        code=format_loading_code(encoder),
        or_timm="" if encoder.library == "timm" or encoder.has_small_stem else f"\nOr with timm: `{TIMM_CALL}`.\n",
        channels="Three channels" if how.colour else "Grey, repeated as three channels",
        stored_size=how.stored_size,
        mean=list(how.mean),
        std=list(how.std),
        data=format_data_section(about, scores),
        training=format_training_section(about),
        results=format_results_section(about, scores),
        limits="".join(f"{line}\n" for line in limits),
        run=encoder.run.name,
        file=encoder.file.name,
        versions=format_versions(outcome.environment.versions),
        commit=outcome.environment.commit or "unknown",
    )


def format_loading_code(encoder: PortableEncoder) -> str:
    if encoder.library == "timm":
        return f"import timm\n\nmodel = {TIMM_CALL}.eval()"
    lines = [
        "import torch, torchvision",
        "from safetensors.torch import load_file",
        "",
        f"model = torchvision.models.{encoder.architecture}()",
        "model.fc = torch.nn.Identity()",
    ]
    if encoder.has_small_stem:
        width = encoder.module.get_submodule("conv1").out_channels
        lines += [
            "# The small stem:",
            f"model.conv1 = torch.nn.Conv2d(3, {width}, kernel_size=3, stride=1, padding=1, bias=False)",
            "model.maxpool = torch.nn.Identity()",
        ]
    return "\n".join([*lines, 'model.load_state_dict(load_file("model.safetensors"))', "model.eval()"])


def format_data_section(about: RunRecord, scores: Sequence[StoredScore]) -> str:
    dataset, split = about.config.dataset, about.split
    lines = [f"- Set: {about.config.dataset.title} (`dataset={dataset.name}`)."]
    if scores:
        images, classes = scores[0].result.images, scores[0].result.classes
        lines.append(f"- Classes: {', '.join(classes)}.")
        lines.append(f"- Images: {images.train:,} train, {images.validation:,} validate, {images.test:,} test.")
    if about.unlabelled_images:
        lines.append(f"- Unlabelled images beside them: {about.unlabelled_images:,}.")
    lines.append(f"- Split: {split.kind}, split_seed {split.seed}, digest `{split.digest}`.")
    lines.append(f"- Digest of images and labels: `{about.identity.images}`.")
    licence = dataset.licence
    lines.append(f"- Licence of the data: {'not known to the program' if licence == 'yours' else licence}.")
    if about.pretrain_on == "half":
        lines.append("- Pre-trained on half of the training images (pretrain_on=half).")
    if about.pretrain_on == "all":
        lines.append(f"- {ALL_IMAGES_WARNING}")
    return "\n".join(lines)


def format_training_section(about: RunRecord) -> str:
    config, training, outcome = about.config, about.training, about.outcome
    method = ", ".join(f"{key}={format_setting(key, value)}" for key, value in config.method.items() if key != "name")
    lines = [f"- Method: {about.method}{f' ({method})' if method else ''}; seed {config.seed}."]
    if training is None or outcome is None:
        return "\n".join([*lines, "- Nothing was trained on these images."])
    views = ", ".join(f"{key}={value}" for key, value in to_plain(training.views).items())
    plain = to_plain(training)
    rest = ", ".join(f"{key}={format_setting(key, plain[key])}" for key in SHOWN_RECIPE_KEYS)
    lines += [
        f"- Recipe {config.recipe}: {pluralise(outcome.epochs, 'epoch')}, batch size {training.batch_size}, {rest}.",
        f"- Views: {views}.",
        f"- {outcome.environment.device}; {outcome.training_seconds:,.0f} s.",
    ]
    return "\n".join(lines)


def format_setting(key: str, value: Any) -> str:
    """Format a setting; of a path the last part alone: the others are this machine's."""
    return Path(str(value)).name if key.endswith("weights") else str(value)


def format_results_section(about: RunRecord, scores: Sequence[StoredScore]) -> str:
    """Format a line for each probe and metric, as the tables have them."""
    if not scores:
        if about.split.kind == NO_SPLIT:
            return "None: the images have no labels."
        return f"None stored. `lowres-ssl evaluate run=RUN` makes them, of {about.config.dataset.title}."
    names = [BASELINE_TITLES[start] for start in RANDOM_BASELINES]
    lines = [f"| probe | metric | value | 95% interval | {' | '.join(names)} |", "|---" * (4 + len(names)) + "|"]
    for score in scores:
        for metric in CARD_METRICS:
            found = score.intervals[metric]
            beside = [format_start_score(score, start, metric) for start in RANDOM_BASELINES]
            label = score.result.label.replace("|", "\\|")
            cells = [label, METRIC_TITLES[metric], format_score(found), format_score_interval(found), *beside]
            lines.append(f"| {' | '.join(cells)} |")
    first = next(iter(scores[0].intervals.values()))
    tested = pluralise(scores[0].result.images.test, "test image")
    lines += ["", f"Of {tested}, one seed; {pluralise(first.groups, 'group')}."]
    marked = [score for score in scores for each in score.intervals.values() if not each.reliable]
    if marked:
        lines.append(f"{UNRELIABLE.strip()}: the groups tell {TOO_FEW_GROUPS_NOTE}, so the interval means little.")
    return "\n".join(lines)


def format_start_score(score: StoredScore, start: str, metric: str) -> str:
    found = score.starts.get(start)
    return "not stored" if found is None else f"{format_score(found[metric])} ({format_score_interval(found[metric])})"
