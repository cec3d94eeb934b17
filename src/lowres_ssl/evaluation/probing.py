"""A run's frozen encoder -> features -> probes -> stored results. What is stored already is read, not computed."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from torch import Tensor

from lowres_ssl.checkpoint import save_tensors
from lowres_ssl.config import Experiment, plain
from lowres_ssl.data.leakage import leakage
from lowres_ssl.data.pseudonyms import pseudonyms_for
from lowres_ssl.data.records import Catalogue
from lowres_ssl.data.splits import Split
from lowres_ssl.device import Compute
from lowres_ssl.errors import CheckpointError, ConfigError
from lowres_ssl.evaluation.classifier import TrainedClassifier
from lowres_ssl.evaluation.frozen import features_of, sides_of, with_labels
from lowres_ssl.evaluation.labels import ALL_LABELS, LabelDraw, drawn
from lowres_ssl.evaluation.tuning import doubts_of, tuned_for
from lowres_ssl.features import digest_of
from lowres_ssl.files.leases import Hold
from lowres_ssl.planning.encoders import depends_on_seed
from lowres_ssl.planning.preparation import Material
from lowres_ssl.probes import Probe, build_probe, prediction_of
from lowres_ssl.provenance import provenance
from lowres_ssl.randomness import derive
from lowres_ssl.results.on_disk import FITTED, fitted_file, read_predictions, read_result, write_result
from lowres_ssl.runs import END_TO_END, Run, Which, entry_in
from lowres_ssl.schemas.experiment import ORIGIN, TUNABLE, TUNED
from lowres_ssl.terminal import say, warn


@dataclass(frozen=True)
class Evaluation:
    """How to score: probes by name, with their settings as they are stored, and what is doubtful of those."""

    probes: dict[str, Probe]
    settings: dict[str, dict[str, Any]]
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scored:
    """An encoder as settings are tuned for it: what tables call it, the batch size and epochs of its pre-training, if
    it had one, and the name of its run, if there is one yet."""

    entry: str
    batch_size: int | None = None
    epochs: int | None = None
    run: str | None = None

    @classmethod
    def in_run(cls, run: Run) -> Self:
        said = run.description()
        return cls(entry_in(said), said.get("batch_size"), said.get("epochs_wanted"), run.name)


def probes_of(config: Experiment, encoder: Scored | None = None, split: Split | None = None) -> Evaluation:
    """The probes that `config` asks for. Raises `ConfigError` for one that is unknown or whose settings do not fit.

    With `encoder` and `split`: settings that are to come from what was tuned, for that run or for one like it, are
    looked up, and it is a `ConfigError` if nothing was. Without, the paper's stand in.
    """
    if not config.probe:
        raise ConfigError("probe=[]: nothing to score with; type probe=[knn,linear], or pretrain with evaluate=false")
    arguments = {key: {k: v for k, v in values.items() if k != "name"} for key, values in config.probe.items()}
    linear = arguments.get("linear", {})
    doubts: tuple[str, ...] = ()
    if linear.get(ORIGIN) == TUNED and encoder is not None and split is not None:
        wanted = {
            "dataset": config.dataset.name,
            "entry": encoder.entry,
            "batch_size": encoder.batch_size,
            "epochs": encoder.epochs,
            "recipe": config.recipe,
            "backbone": config.backbone.name,
            "image_size": config.image_size,
            "split_digest": split.digest,
        }
        tuned = tuned_for(Path(config.output_dir), encoder.run, wanted)
        doubts = doubts_of(tuned, linear)
        linear |= {key: tuned["chosen"][key] for key in TUNABLE}
    probes = {key: build_probe(key, without_origin(values)) for key, values in arguments.items()}
    return Evaluation(probes, arguments, doubts)


def say_doubts(evaluations: Iterable[Evaluation]) -> None:
    for doubt in dict.fromkeys(doubt for each in evaluations for doubt in each.doubts):
        warn(doubt)


def without_origin(settings: dict[str, Any]) -> dict[str, Any]:
    """Where batch size and rate of the linear probe come from is stored with them, and is no argument of the probe."""
    return {key: value for key, value in settings.items() if key != ORIGIN}


def check_images(
    evaluation: Evaluation, catalogue: Catalogue, split: Split, draws: Sequence[LabelDraw] = (ALL_LABELS,)
) -> None:
    """Raises `ConfigError` if the images will not do for the probes; says what is doubtful of either."""
    if evaluation.settings.get("linear", {}).get(ORIGIN) == TUNED and not all(draw.is_whole for draw in draws):
        raise ConfigError(
            "label_fraction: settings that were tuned knew all validation labels; type probe.linear.settings_from=paper"
        )
    notes = [*catalogue.notes, *split.notes, *leakage(catalogue, split).doubts()]
    for draw in draws:
        train, _ = drawn(catalogue.labels, split.train, split.validation, draw)
        counts = np.bincount(catalogue.labels[split.train[train]], minlength=len(catalogue.classes)).tolist()
        for probe in evaluation.probes.values():
            notes += probe.at_fraction(draw.fraction).check(train_counts=counts, class_names=catalogue.classes)
    for note in dict.fromkeys(notes):
        warn(note)


def evaluate(
    run: Run,
    config: Experiment,
    material: Material,
    evaluation: Evaluation,
    compute: Compute,
    draws: Sequence[LabelDraw] = (ALL_LABELS,),
) -> dict[LabelDraw, list[dict[str, Any]]]:
    """For each draw of labels one result a probe, in their order, as `result.json` holds it; for a run whose encoder
    was trained with a classifier also that one's, last. Two processes never make the same result."""
    with run.held() as hold:
        return evaluate_held(run, config, material, evaluation, compute, draws, hold)


def evaluate_held(
    run: Run,
    config: Experiment,
    material: Material,
    evaluation: Evaluation,
    compute: Compute,
    draws: Sequence[LabelDraw],
    hold: Hold,
) -> dict[LabelDraw, list[dict[str, Any]]]:
    """The same, once no other process works on the run: its results may have been made in the meantime."""
    results: dict[LabelDraw, list[dict[str, Any]]] = {draw: [] for draw in draws}
    read: dict[Which, dict[str, Tensor]] = {}  # the features, once for all probes
    probes = dict(evaluation.probes)
    if run.classifier.exists():
        probes[END_TO_END] = TrainedClassifier(run.checked(run.classifier, run.description()))
    for draw in draws:
        for name, probe in probes.items():
            settings = evaluation.settings.get(name, {})
            folder = place_of(run, name, settings, compute, draw)
            result = None if config.force else kept_result(folder)
            if result is None:
                share = "" if draw.is_whole else f", {draw.fraction:.3g} of the labels, draw {draw.number}"
                say(f"{run.name}: {probe.label}{share}")
                if probe.encoder not in read:
                    read[probe.encoder] = features_of(run, probe.encoder, config, material, compute)
                sides = read[probe.encoder]
                hold.check()
                result = evaluate_one(run, sides, config, material, name, probe, settings, compute, folder, draw)
            results[draw].append(result)
    return results


def place_of(run: Run, name: str, settings: Mapping[str, Any], compute: Compute, draw: LabelDraw) -> Path:
    """The folder of a result."""
    key = {"settings": settings, "precision": compute.precision}
    return run.result_folder(name, key if draw.is_whole else key | {"labels": asdict(draw)})


def kept_result(folder: Path) -> dict[str, Any] | None:
    """What is stored there; None, with a note, where it is damaged: it is made anew then."""
    try:
        result = read_result(folder)
        if result is not None:
            read_predictions(folder, result)
            fitted_file(folder, result)
    except CheckpointError:
        warn(f"{folder}: the result there is damaged; scored anew")
        return None
    return result


def evaluate_one(
    run: Run,
    sides: dict[str, Tensor],
    config: Experiment,
    material: Material,
    name: str,
    probe: Probe,
    settings: dict[str, Any],
    compute: Compute,
    folder: Path,
    draw: LabelDraw,
) -> dict[str, Any]:
    """Fit one probe on the labels of `draw`, score its predictions, store both."""
    from lowres_ssl.metrics import score  # scikit-learn takes a second, which a training without scores need not wait

    catalogue, split = material.catalogue, material.split
    rows = sides_of(split)
    train, validated = drawn(catalogue.labels, split.train, split.validation, draw)
    rows |= {"train": split.train[train], "validation": split.validation[validated]}
    labels = {side: catalogue.labels[own] for side, own in rows.items()}
    started = time.perf_counter()
    features = with_labels(sides, material, compute, draw)
    fitted = probe.at_fraction(draw.fraction).learn(features, seed=derive(config.seed, "probe", name))
    prediction = prediction_of(fitted, features)
    seconds = time.perf_counter() - started
    description = run.description()
    validation = None
    if len(labels["validation"]):
        validation = score(labels["validation"], prediction.validation, prediction.validation_scores, catalogue.classes)
    result = {
        "run": run.name,
        "probe": name,
        "label": probe.label,
        "encoder": run.encoder(probe.encoder).name,
        "settings": settings,
        "details": prediction.details,
        "test": score(labels["test"], prediction.test, prediction.test_scores, catalogue.classes),
        "validation": validation,
        **{key: description.get(key) for key in ("method", "entry", "dataset", "title", "seed", "pretrain_on")},
        "recipe": config.recipe,
        "classes": list(catalogue.classes),
        "images": {side: len(own) for side, own in labels.items()},
        "labels": {"fraction": draw.fraction, "draw": draw.number},
        "depends_on_seed": probe.depends_on_seed or depends_on_seed(config),
        "split": {"kind": split.kind, "seed": split.seed, "digest": split.digest},
        "data_digest": catalogue.digest,
        "precision": compute.precision,
        "seconds": seconds,
        "config": plain(config),
        **provenance(compute.describe()),
    }
    pseudonyms = pseudonyms_for(catalogue.root, Path(config.store_dir))
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for side, predicted, scores in (
        ("test", prediction.test, prediction.test_scores),
        ("validation", prediction.validation, prediction.validation_scores),
    ):
        records = [catalogue.records[row] for row in rows[side]]
        ids = [pseudonyms.image(record.id) if config.hash_ids else record.id for record in records]
        arrays |= {
            f"{side}_ids": np.array(ids, dtype=np.str_),
            f"{side}_groups": np.array([pseudonyms.patient(record.group) for record in records], dtype=np.str_),
            f"{side}_labels": labels[side],
            f"{side}_predictions": predicted,
            f"{side}_scores": np.asarray(scores, dtype=np.float32),
        }
    if draw.is_whole:  # for `predict`, which has no training labels
        known = {"train": digest_of(sides["train"]), "encoder": description.get("encoders", {}).get(result["encoder"])}
        save_tensors(folder / FITTED, fitted.tensors, known)
    write_result(folder, result, arrays)
    stored_result = read_result(folder)
    assert stored_result is not None, "it was written a moment ago"
    return stored_result
