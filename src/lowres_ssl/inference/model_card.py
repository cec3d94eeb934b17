"""Write the model card of a run from its `run.json` and its stored results."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowres_ssl.config.experiment_schema import RANDOM_BASELINES, to_plain
from lowres_ssl.console import pluralise
from lowres_ssl.errors import CheckpointError
from lowres_ssl.evaluate.encoder_runs import ALL_IMAGES_WARNING, BASELINE_ROW_NAMES, format_row_name
from lowres_ssl.inference.load import PortableEncoder
from lowres_ssl.inference.predict import uses_full_labels
from lowres_ssl.reporting.cells import METRIC_TITLES, UNRELIABLE, format_score, format_score_interval, format_versions
from lowres_ssl.runs.records import ResultRecord, RunRecord
from lowres_ssl.runs.result_io import read_predictions
from lowres_ssl.runs.run import Run, find_runs
from lowres_ssl.stats.intervals import TOO_FEW_GROUPS_NOTE, Interval, compute_interval, count_by_group

CARD_METRICS = ("accuracy", "weighted_f1")


def get_library_and_name(encoder: PortableEncoder) -> tuple[str, str]:
    """Name the library and the architecture there: ("torchvision", "resnet50") or ("timm", "vit_small_...")."""
    config = encoder.record.config
    if config.method["name"] == "pretrained":
        return "timm", str(config.method["model"])
    return "torchvision", config.backbone.name


def has_small_stem(encoder: PortableEncoder) -> bool:
    return get_library_and_name(encoder)[0] == "torchvision" and encoder.record.config.backbone.small_stem


@dataclass(frozen=True)
class StoredScore:
    """Hold a stored result of all labels, and by method the same of each random encoder that has it."""

    result: ResultRecord
    intervals: dict[str, Interval]
    starts: dict[str, dict[str, Interval]]


def read_stored_scores(run: Run, encoder: str) -> list[StoredScore]:
    """Read a score for each result of the encoder in the file `encoder`, by probe. Raises `CheckpointError`."""
    beside = find_start_results(run)
    scores = []
    for folder, result in run.results():
        if uses_full_labels(result) and result.encoder == encoder:
            key = make_result_key(result)
            starts = {name: compute_result_intervals(*own[key]) for name, own in beside.items() if key in own}
            scores.append(StoredScore(result, compute_result_intervals(folder, result), starts))
    return sorted(scores, key=lambda score: score.result.label)


def find_start_results(run: Run) -> dict[str, dict[str, tuple[Path, ResultRecord]]]:
    """By method, the results of the random encoders of the same seed on the same images, split and stored alike."""
    found: dict[str, dict[str, tuple[Path, ResultRecord]]] = {start: {} for start in RANDOM_BASELINES}
    wanted = get_start_key(run.read())
    for each in find_runs(run.folder.parent.parent):
        try:
            record = each.read()
        except CheckpointError:  # damage of another run does not matter here
            continue
        method = record.method
        if method in found and record.outcome is not None and get_start_key(record) == wanted:
            found[method] |= {make_result_key(result): (folder, result) for folder, result in each.results()}
    return found


def get_start_key(record: RunRecord) -> tuple[object, ...]:
    identity, config = record.identity, record.config
    images = (identity.images, identity.split, identity.store, config.images.mean, config.images.std)
    return (*images, config.image_size, config.backbone, config.seed, identity.precision)


def make_result_key(result: ResultRecord) -> str:
    return f"{result.probe} {sorted(result.settings.items())} {result.precision} {uses_full_labels(result)}"


def compute_result_intervals(folder: Path, result: ResultRecord) -> dict[str, Interval]:
    arrays = read_predictions(folder, result)
    labels, predictions, groups, ids = (arrays[f"test_{key}"] for key in ("labels", "predictions", "groups", "ids"))
    counts = count_by_group(labels, predictions, groups, len(result.classes), ids=ids)
    return {metric: compute_interval(counts[None], metric) for metric in CARD_METRICS}


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
CITATION = """\
@inproceedings{chattopadhyay2023exploring,
  title     = {Exploring Self-Supervised Representation Learning For Low-Resource Medical Image Analysis},
  author    = {Chattopadhyay, Soumitri and Ganguly, Soham and Chaudhury, Sreejit and Nag, Sayan and
               Chattopadhyay, Samiran},
  booktitle = {IEEE International Conference on Image Processing (ICIP)},
  year      = {2023},
  note      = {arXiv 2303.02245}
}"""


def write_model_card(encoder: PortableEncoder, scores: Sequence[StoredScore]) -> str:
    """Write Markdown with the front matter that hubs read."""
    about = encoder.record
    parts = [
        format_front_matter(encoder),
        f"{CARD_MARK}\n\n# {format_row_name(about)}, {get_library_and_name(encoder)[1]}, {about.config.dataset.title}",
        f"A frozen image encoder: float32 [batch, 3, {encoder.preprocessing.image_size}, "
        f"{encoder.preprocessing.image_size}] to {encoder.width} features. It has no classification layer.",
        f"## How to load it\n\n{format_loading(encoder)}",
        f"## Preprocessing\n\n{format_preprocessing(encoder)}",
        f"## Data\n\n{format_data_section(about, scores)}",
        f"## Training\n\n{format_training_section(about)}",
        f"## Results\n\n{format_results_section(about, scores)}",
        f"## Limits\n\n{format_limits_section(about, scores)}",
        f"## Citation\n\nMade with `lowres-ssl`, which follows\n\n```bibtex\n{CITATION}\n```",
        f"## Provenance\n\n{format_provenance_section(encoder)}",
    ]
    return "\n\n".join(parts) + "\n"


def format_front_matter(encoder: PortableEncoder) -> str:
    lines = [
        "license: unknown  # of these weights: yours to choose, within what the licence of the data allows",
        *([] if has_small_stem(encoder) else ["library_name: timm"]),
        "pipeline_tag: image-feature-extraction",
        "tags: [self-supervised-learning, medical-imaging, lowres-ssl]",
    ]
    return "\n".join(["---", *lines, "---"])


def format_loading(encoder: PortableEncoder) -> str:
    library, name = get_library_and_name(encoder)
    if library == "timm":
        lines = ["import timm", "", 'model = timm.create_model("local-dir:FOLDER", pretrained=True).eval()']
        return "\n".join(["```python", *lines, "```"])
    lines = [
        "import torch, torchvision",
        "from safetensors.torch import load_file",
        "",
        f"model = torchvision.models.{name}()",
        "model.fc = torch.nn.Identity()",
    ]
    if has_small_stem(encoder):
        width = encoder.module.get_submodule("conv1").out_channels
        lines += [
            "# The small stem:",
            f"model.conv1 = torch.nn.Conv2d(3, {width}, kernel_size=3, stride=1, padding=1, bias=False)",
            "model.maxpool = torch.nn.Identity()",
        ]
    lines += ['model.load_state_dict(load_file("model.safetensors"))', "model.eval()"]
    text = "\n".join(["```python", *lines, "```"])
    if has_small_stem(encoder):
        return text
    return f'{text}\n\nOr with timm: `timm.create_model("local-dir:FOLDER", pretrained=True)`.'


def format_preprocessing(encoder: PortableEncoder) -> str:
    how = encoder.preprocessing
    return (
        f"{'Three channels' if how.colour else 'Grey, repeated as three channels'}; squeezed to {how.stored_size} x "
        f"{how.stored_size} pixels, then resampled to {how.image_size} x {how.image_size}, both antialiased; from 0 to "
        f"1, less the mean {list(how.mean)}, divided by the standard deviation {list(how.std)}. Step by step in "
        "`preprocessing.json`, what becomes of 16 bits and of DICOM files included. A program that resamples otherwise "
        "gets slightly other features."
    )


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
    """A setting as text; of a path the last part alone: the others are this machine's."""
    return Path(str(value)).name if key.endswith("weights") else str(value)


def format_results_section(about: RunRecord, scores: Sequence[StoredScore]) -> str:
    """A line a probe and metric, as the tables have them."""
    if not scores:
        return f"None stored. `lowres-ssl evaluate run=RUN` makes them, of {about.config.dataset.title}."
    names = [BASELINE_ROW_NAMES[start] for start in RANDOM_BASELINES]
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


def format_limits_section(about: RunRecord, scores: Sequence[StoredScore]) -> str:
    lines = [
        "- For research. It is no medical device, and nobody has tested it as one.",
        "- Its features fit images like those it was trained on: other scanners, stains, hospitals and patients may "
        "differ, and no number here is of them.",
        "- One training run with one seed; the intervals are of the test images alone.",
    ]
    if about.split.kind not in ("patient", "official"):
        lines.append(f"- The split is {about.split.kind}: images of one patient may be on both sides, which flatters.")
    if any(len(score.starts) < len(RANDOM_BASELINES) for score in scores):
        lines.append("- Without the scores of the random encoders beside it a score means little.")
    return "\n".join(lines)


def format_provenance_section(encoder: PortableEncoder) -> str:
    outcome = encoder.record.outcome
    assert outcome is not None, "the run is finished"
    versions, commit = format_versions(outcome.environment.versions), outcome.environment.commit or "unknown"
    return f"Run `{encoder.run.name}`, `{encoder.file.name}`; {versions}; commit {commit}."
