"""The model card: what `run.json` and the stored results say, in words. No I/O."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lowres_ssl.artefacts import BASELINES, SAW_EVERYTHING, row_name
from lowres_ssl.exports import has_small_stem, model_name
from lowres_ssl.exports.scores import METRICS, Score
from lowres_ssl.portable.encoder import PortableEncoder
from lowres_ssl.schemas.experiment import RANDOM_STARTS
from lowres_ssl.statistics.uncertainty import TOO_FEW
from lowres_ssl.tables import UNRELIABLE
from lowres_ssl.tables.numbers import METRIC_NAMES, interval_text, value_text
from lowres_ssl.terminal import count

MADE_BY = "<!-- model card by lowres-ssl -->"
RECIPE = (
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


def model_card(encoder: PortableEncoder, scores: Sequence[Score]) -> str:
    """Markdown with the front matter that hubs read."""
    about = encoder.description
    parts = [
        front_matter(encoder),
        f"{MADE_BY}\n\n# {row_name(dict(about))}, {model_name(encoder)[1]}, {about['title']}",
        f"A frozen image encoder: float32 [batch, 3, {encoder.preprocessing.image_size}, "
        f"{encoder.preprocessing.image_size}] to {encoder.width} features. It has no classification layer.",
        f"## How to load it\n\n{loading(encoder)}",
        f"## Preprocessing\n\n{preprocessing(encoder)}",
        f"## Data\n\n{data(about, scores)}",
        f"## Training\n\n{training(about)}",
        f"## Results\n\n{results(about, scores)}",
        f"## Limits\n\n{limits(about, scores)}",
        f"## Citation\n\nMade with `lowres-ssl`, which follows\n\n```bibtex\n{CITATION}\n```",
        f"## Provenance\n\n{provenance(encoder)}",
    ]
    return "\n\n".join(parts) + "\n"


def front_matter(encoder: PortableEncoder) -> str:
    lines = [
        "license: unknown  # of these weights: yours to choose, within what the licence of the data allows",
        *([] if has_small_stem(encoder) else ["library_name: timm"]),
        "pipeline_tag: image-feature-extraction",
        "tags: [self-supervised-learning, medical-imaging, lowres-ssl]",
    ]
    return "\n".join(["---", *lines, "---"])


def loading(encoder: PortableEncoder) -> str:
    library, name = model_name(encoder)
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


def preprocessing(encoder: PortableEncoder) -> str:
    how = encoder.preprocessing
    return (
        f"{'Three channels' if how.colour else 'Grey, repeated as three channels'}; squeezed to {how.stored_size} x "
        f"{how.stored_size} pixels, then resampled to {how.image_size} x {how.image_size}, both antialiased; from 0 to "
        f"1, less the mean {list(how.mean)}, divided by the standard deviation {list(how.std)}. Step by step in "
        "`preprocessing.json`, what becomes of 16 bits and of DICOM files included. A program that resamples otherwise "
        "gets slightly other features."
    )


def data(about: Any, scores: Sequence[Score]) -> str:
    dataset, split = about["config"]["dataset"], about["split"]
    lines = [f"- Set: {about['title']} (`dataset={about['dataset']}`)."]
    if scores:
        images, classes = scores[0].result["images"], scores[0].result["classes"]
        lines.append(f"- Classes: {', '.join(classes)}.")
        lines.append(
            f"- Images: {images['train']:,} train, {images['validation']:,} validate, {images['test']:,} test."
        )
    if about.get("unlabelled_images"):
        lines.append(f"- Unlabelled images beside them: {about['unlabelled_images']:,}.")
    lines.append(f"- Split: {split['kind']}, split_seed {split['seed']}, digest `{split['digest']}`.")
    lines.append(f"- Digest of images and labels: `{about['identity']['images']['digest']}`.")
    licence = dataset["licence"]
    lines.append(f"- Licence of the data: {'not known to the program' if licence == 'yours' else licence}.")
    if about.get("pretrain_on") == "all":
        lines.append(f"- {SAW_EVERYTHING}")
    return "\n".join(lines)


def training(about: Any) -> str:
    config = about["config"]
    method = ", ".join(f"{key}={shown(key, value)}" for key, value in config["method"].items() if key != "name")
    lines = [f"- Method: {about['method']}{f' ({method})' if method else ''}; seed {about['seed']}."]
    if "batch_size" not in about:
        return "\n".join([*lines, "- Nothing was trained on these images."])
    views = ", ".join(f"{key}={value}" for key, value in config["views"].items())
    rest = ", ".join(f"{key}={shown(key, config[key])}" for key in RECIPE if key in config)
    lines += [
        f"- Recipe {about['recipe']}: {count(about['epochs'], 'epoch')}, batch size {about['batch_size']}, {rest}.",
        f"- Views: {views}.",
        f"- {about['device']}; {about['training_seconds']:,.0f} s.",
    ]
    return "\n".join(lines)


def shown(key: str, value: Any) -> str:
    """A setting as text; of a path the last part alone: the others are this machine's."""
    return Path(str(value)).name if key.endswith("weights") else str(value)


def results(about: Any, scores: Sequence[Score]) -> str:
    """A line a probe and metric, as the tables have them."""
    if not scores:
        return f"None stored. `lowres-ssl evaluate run=RUN` makes them, of {about['title']}."
    names = [BASELINES[start] for start in RANDOM_STARTS]
    lines = [f"| probe | metric | value | 95% interval | {' | '.join(names)} |", "|---" * (4 + len(names)) + "|"]
    for score in scores:
        for metric in METRICS:
            found = score.intervals[metric]
            beside = [start_text(score, start, metric) for start in RANDOM_STARTS]
            cells = [
                cell(score.result["label"]),
                METRIC_NAMES[metric],
                value_text(found),
                interval_text(found),
                *beside,
            ]
            lines.append(f"| {' | '.join(cells)} |")
    first = next(iter(scores[0].intervals.values()))
    tested = count(scores[0].result["images"]["test"], "test image")
    lines += ["", f"Of {tested}, one seed; {count(first.groups, 'group')}."]
    marked = [score for score in scores for each in score.intervals.values() if not each.reliable]
    if marked:
        lines.append(f"{UNRELIABLE.strip()}: the groups tell {TOO_FEW}, so the interval says little.")
    return "\n".join(lines)


def start_text(score: Score, start: str, metric: str) -> str:
    found = score.starts.get(start)
    return "not stored" if found is None else f"{value_text(found[metric])} ({interval_text(found[metric])})"


def limits(about: Any, scores: Sequence[Score]) -> str:
    lines = [
        "- For research. It is no medical device, and nobody has tested it as one.",
        "- Its features fit images like those it was trained on: other scanners, stains, hospitals and patients may "
        "differ, and no number here is of them.",
        "- One training run with one seed; the intervals are of the test images alone.",
    ]
    if about["split"]["kind"] not in ("patient", "official"):
        lines.append(
            f"- The split is {about['split']['kind']}: images of one patient may be on both sides, which flatters."
        )
    if any(len(score.starts) < len(RANDOM_STARTS) for score in scores):
        lines.append("- Without the scores of the random encoders beside it a score says little.")
    return "\n".join(lines)


def provenance(encoder: PortableEncoder) -> str:
    about = encoder.description
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return f"Run `{encoder.run.name}`, `{encoder.file.name}`; {versions}; commit {about['commit'] or 'unknown'}."


def cell(text: str) -> str:
    """A text in a cell of a Markdown table."""
    return text.replace("|", "\\|")
