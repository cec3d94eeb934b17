"""A run's frozen encoder -> features -> probes -> stored results. What is stored already is read, not computed."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from torch import Tensor

from lowres_ssl.config.experiment_schema import SETTINGS_ORIGIN, TUNABLE_KEYS, TUNED_ORIGIN, ExperimentConfig
from lowres_ssl.console import log_info, log_warning
from lowres_ssl.data.catalogue import Catalogue
from lowres_ssl.data.prepare import PreparedData
from lowres_ssl.data.pseudonyms import make_pseudonyms
from lowres_ssl.data.splits import ALL_LABELS, LabelSubset, Split, compute_leakage, select_labelled
from lowres_ssl.device import DevicePrecision
from lowres_ssl.encoders.from_config import encoder_depends_on_seed
from lowres_ssl.encoders.weights_file import save_tensors
from lowres_ssl.environment import describe_environment
from lowres_ssl.errors import CheckpointError, ConfigError
from lowres_ssl.evaluate.features import build_probe_features, digest_features, get_run_features, get_subset_rows
from lowres_ssl.evaluate.supervised_head import SupervisedHead
from lowres_ssl.evaluate.tuned_settings import TunedEncoder, find_tuned_settings, list_tuned_warnings
from lowres_ssl.io.checksummed_json import JSON, Settings
from lowres_ssl.io.locks import Lock
from lowres_ssl.probes.base import Probe, build_probe
from lowres_ssl.runs.expectation import describe_scoring
from lowres_ssl.runs.records import ResultRecord, SplitSummary, SubsetSizes
from lowres_ssl.runs.result_io import PROBE_FILE, find_result, get_fitted_file, read_predictions, write_result
from lowres_ssl.runs.run import CLASSIFIER_PROBE, EncoderChoice, Run
from lowres_ssl.seeding import derive_seed


@dataclass(frozen=True)
class ProbeSet:
    """How to score: probes by name, with their settings as they are stored, and what is doubtful of those."""

    probes: dict[str, Probe]
    settings: dict[str, dict[str, Any]]
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class TuningTarget:
    """An encoder as settings are tuned for it: what tables call it, the batch size and epochs of its pre-training, if
    it had one, and the name of its run, if there is one yet."""

    entry: str
    batch_size: int | None = None
    epochs: int | None = None
    run: str | None = None

    @classmethod
    def from_run(cls, run: Run) -> Self:
        record = run.read()
        training = record.training
        if training is None:
            return cls(record.entry, run=run.name)
        return cls(record.entry, training.batch_size, training.epochs, run.name)


def build_probe_set(
    config: ExperimentConfig, encoder: TuningTarget | None = None, split: Split | None = None
) -> ProbeSet:
    """The probes that `config` asks for. Raises `ConfigError` for one that is unknown or whose settings do not fit.

    With `encoder` and `split`: settings that are to come from what was tuned, for that run or for one like it, are
    looked up, and it is a `ConfigError` if nothing was. Without, the paper's stand in.
    """
    if not config.probe:
        raise ConfigError("probe=[]: nothing to score with; type probe=[knn,linear], or pretrain with evaluate=false")
    arguments = {key: {k: v for k, v in values.items() if k != "name"} for key, values in config.probe.items()}
    linear = arguments.get("linear", {})
    doubts: tuple[str, ...] = ()
    if linear.get(SETTINGS_ORIGIN) == TUNED_ORIGIN and encoder is not None and split is not None:
        wanted = TunedEncoder(
            dataset=config.dataset.name,
            entry=encoder.entry,
            recipe=config.recipe,
            backbone=config.backbone.name,
            image_size=config.image_size,
            split=SplitSummary(split.kind, split.seed, split.digest),
            batch_size=encoder.batch_size,
            epochs=encoder.epochs,
        )
        tuned = find_tuned_settings(Path(config.output_dir), encoder.run, wanted)
        doubts = list_tuned_warnings(tuned, linear)
        linear |= {key: getattr(tuned.chosen, key) for key in TUNABLE_KEYS}
    probes = {key: build_probe(key, drop_settings_origin(values)) for key, values in arguments.items()}
    return ProbeSet(probes, arguments, doubts)


def warn_of_settings(evaluations: Iterable[ProbeSet]) -> None:
    for doubt in dict.fromkeys(doubt for each in evaluations for doubt in each.doubts):
        log_warning(doubt)


def drop_settings_origin(settings: Settings) -> dict[str, Any]:
    """Where batch size and rate of the linear probe come from is stored with them, and is no argument of the probe."""
    return {key: value for key, value in settings.items() if key != SETTINGS_ORIGIN}


def check_probe_images(
    evaluation: ProbeSet, catalogue: Catalogue, split: Split, draws: Sequence[LabelSubset] = (ALL_LABELS,)
) -> None:
    """Raises `ConfigError` if the images will not do for the probes; warns of what is doubtful in either."""
    if evaluation.settings.get("linear", {}).get(SETTINGS_ORIGIN) == TUNED_ORIGIN and not all(
        draw.is_full for draw in draws
    ):
        raise ConfigError(
            "label_fraction: settings that were tuned knew all validation labels; type probe.linear.settings_from=paper"
        )
    notes = [*catalogue.notes, *split.notes, *compute_leakage(catalogue, split).list_warnings()]
    for draw in draws:
        train, _ = select_labelled(catalogue.labels, split.train, split.validation, draw)
        counts = np.bincount(catalogue.labels[split.train[train]], minlength=len(catalogue.classes)).tolist()
        for probe in evaluation.probes.values():
            notes += probe.at_fraction(draw.fraction).check(train_counts=counts, class_names=catalogue.classes)
    for note in dict.fromkeys(notes):
        log_warning(note)


def evaluate_run(
    run: Run,
    config: ExperimentConfig,
    material: PreparedData,
    evaluation: ProbeSet,
    compute: DevicePrecision,
    draws: Sequence[LabelSubset] = (ALL_LABELS,),
) -> dict[LabelSubset, list[ResultRecord]]:
    """For each draw of labels one result a probe, in the order of `evaluation`; for a run whose encoder was trained
    with a classifier also that one's, last. Two processes never make the same result."""
    with run.lock() as hold:
        return evaluate_run_locked(run, config, material, evaluation, compute, draws, hold)


def evaluate_run_locked(
    run: Run,
    config: ExperimentConfig,
    material: PreparedData,
    evaluation: ProbeSet,
    compute: DevicePrecision,
    draws: Sequence[LabelSubset],
    hold: Lock,
) -> dict[LabelSubset, list[ResultRecord]]:
    """The same, once no other process works on the run: its results may have been made in the meantime."""
    results: dict[LabelSubset, list[ResultRecord]] = {draw: [] for draw in draws}
    read: dict[EncoderChoice, dict[str, Tensor]] = {}  # the features, once for all probes
    probes = dict(evaluation.probes)
    if run.classifier.exists():
        probes[CLASSIFIER_PROBE] = SupervisedHead(run.check_file(run.classifier, run.read()))
    for draw in draws:
        for name, probe in probes.items():
            settings = evaluation.settings.get(name, {})
            folder = get_result_folder(run, name, settings, compute, draw)
            result = None if config.force else read_whole_result(folder)
            if result is None:
                share = "" if draw.is_full else f", {draw.fraction:.3g} of the labels, draw {draw.number}"
                log_info(f"{run.name}: {probe.label}{share}")
                if probe.encoder not in read:
                    read[probe.encoder] = get_run_features(run, probe.encoder, config, material, compute)
                sides = read[probe.encoder]
                hold.check()
                result = evaluate_probe(run, sides, config, material, name, probe, settings, compute, folder, draw)
            results[draw].append(result)
    return results


def log_scoring(
    runs: Sequence[Run], probes: Sequence[ProbeSet], compute: DevicePrecision, draws: Sequence[LabelSubset], digest: str
) -> None:
    """Log what will be scored. `probes`: of each run; `digest`: of the images."""
    wanted = [
        (run, get_result_folder(run, name, settings, compute, draw))
        for run, own in zip(runs, probes, strict=True)
        for name, settings in own.settings.items()
        for draw in draws
    ]
    log_info(describe_scoring(wanted, [probe.label for probe in probes[0].probes.values()], digest))


def get_result_folder(run: Run, name: str, settings: Settings, compute: DevicePrecision, draw: LabelSubset) -> Path:
    """The folder of a result."""
    key: dict[str, JSON] = {"settings": settings, "precision": compute.precision}
    return run.result_folder(name, key if draw.is_full else key | {"labels": asdict(draw)})


def read_whole_result(folder: Path) -> ResultRecord | None:
    """What is stored there; None, with a note, where it is damaged: it is made anew then."""
    try:
        result = find_result(folder)
        if result is not None:
            read_predictions(folder, result)
            get_fitted_file(folder, result)
    except CheckpointError:
        log_warning(f"{folder}: the result there is damaged; scored anew")
        return None
    return result


def evaluate_probe(
    run: Run,
    sides: dict[str, Tensor],
    config: ExperimentConfig,
    material: PreparedData,
    name: str,
    probe: Probe,
    settings: dict[str, Any],
    compute: DevicePrecision,
    folder: Path,
    draw: LabelSubset,
) -> ResultRecord:
    """Fit one probe on the labels of `draw`, score its predictions, store both."""
    from lowres_ssl.evaluate.metrics import compute_metrics

    catalogue, split = material.catalogue, material.split
    rows = get_subset_rows(split)
    train, validated = select_labelled(catalogue.labels, split.train, split.validation, draw)
    rows |= {"train": split.train[train], "validation": split.validation[validated]}
    labels = {side: catalogue.labels[own] for side, own in rows.items()}
    started = time.perf_counter()
    features = build_probe_features(sides, material, compute, draw)
    fitted = probe.at_fraction(draw.fraction).fit_probe(features, seed=derive_seed(config.seed, "probe", name))
    prediction = fitted.predict(features)
    seconds = time.perf_counter() - started
    validation = None
    if len(labels["validation"]):
        validation = compute_metrics(
            labels["validation"], prediction.validation, prediction.validation_scores, catalogue.classes
        )
    result = ResultRecord(
        run=run.name,
        probe=name,
        label=probe.label,
        encoder=run.encoder(probe.encoder).name,
        settings=settings,
        details=prediction.details,
        test=compute_metrics(labels["test"], prediction.test, prediction.test_scores, catalogue.classes),
        validation=validation,
        classes=tuple(catalogue.classes),
        images=SubsetSizes(*(len(labels[side]) for side in ("train", "validation", "test"))),
        labels=draw,
        depends_on_seed=probe.depends_on_seed or encoder_depends_on_seed(config),
        split=SplitSummary(split.kind, split.seed, split.digest),
        data_digest=catalogue.digest,
        precision=compute.precision,
        seconds=seconds,
        config=config,
        environment=describe_environment(compute.describe()),
    )
    pseudonyms = make_pseudonyms(catalogue.root, Path(config.store_dir))
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
    if draw.is_full:  # for `predict`, which has no training labels
        encoder = run.get_encoder_hash(run.encoder(probe.encoder))
        save_tensors(
            folder / PROBE_FILE, fitted.tensors, {"train": digest_features(sides["train"]), "encoder": encoder}
        )
    return write_result(folder, result, arrays)
