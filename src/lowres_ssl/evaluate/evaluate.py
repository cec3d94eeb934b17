"""A run's frozen encoder -> features -> probes -> stored results. What is stored already is read, not computed."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from lowres_ssl.config.experiment_schema import (
    SCORED_SIZE,
    SETTINGS_ORIGIN,
    TUNABLE_KEYS,
    TUNED_ORIGIN,
    ExperimentConfig,
)
from lowres_ssl.console import log_info, log_warning, pluralise
from lowres_ssl.data.catalogue import Catalogue
from lowres_ssl.data.prepare import PreparedData
from lowres_ssl.data.pseudonyms import make_pseudonyms
from lowres_ssl.data.splits import ALL_LABELS, LabelSubset, Split, compute_leakage, select_labelled
from lowres_ssl.device import DevicePrecision
from lowres_ssl.encoders.from_config import encoder_depends_on_seed
from lowres_ssl.encoders.weights_file import load_tensors, save_tensors
from lowres_ssl.environment import describe_environment
from lowres_ssl.errors import CheckpointError, ConfigError
from lowres_ssl.evaluate.features import (
    build_probe_features,
    digest_features,
    get_run_features,
    get_scored_size,
    get_subset_rows,
)
from lowres_ssl.evaluate.tuned_settings import TunedEncoder, find_tuned_settings, list_tuned_warnings
from lowres_ssl.io.checksummed_json import JSON, Settings
from lowres_ssl.probes.base import Features, FittedProbe, Probe, build_probe
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
class ProbeTask:
    """One probe to score on one draw of the labels: its name, its settings as they are stored, its result's folder."""

    name: str
    probe: Probe
    settings: dict[str, Any]
    draw: LabelSubset
    folder: Path


def build_probe_set(config: ExperimentConfig, encoder: TunedEncoder | None = None, run: str | None = None) -> ProbeSet:
    """The probes that `config` asks for. Raises `ConfigError` for one that is unknown or whose settings do not fit.

    With `encoder`: settings that are to come from what was tuned, for this `run` or for an encoder like it, are looked
    up, and it is a `ConfigError` if nothing was. Without, the paper's stand in.
    """
    if not config.probe:
        raise ConfigError("probe=[]: nothing to score with; type probe=[knn,linear], or pretrain with evaluate=false")
    settings = {key: {k: v for k, v in values.items() if k != "name"} for key, values in config.probe.items()}
    if (size := get_scored_size(config)) is not None:
        settings = {key: {**values, SCORED_SIZE: size} for key, values in settings.items()}
    linear = settings.get("linear", {})
    doubts: tuple[str, ...] = ()
    if linear.get(SETTINGS_ORIGIN) == TUNED_ORIGIN and encoder is not None:
        tuned = find_tuned_settings(Path(config.output_dir), run, encoder)
        doubts = list_tuned_warnings(tuned, linear)
        linear |= {key: getattr(tuned.chosen, key) for key in TUNABLE_KEYS}
    return ProbeSet({key: build_probe(key, values) for key, values in settings.items()}, settings, doubts)


def build_run_probe_set(run: Run, config: ExperimentConfig) -> ProbeSet:
    """As `build_probe_set`, with what was tuned for the run or one like it."""
    record = run.read()
    return build_probe_set(config, TunedEncoder.build(config, record.entry, record.split, record.training), run.name)


def warn_of_settings(evaluations: Iterable[ProbeSet]) -> None:
    for doubt in dict.fromkeys(doubt for each in evaluations for doubt in each.doubts):
        log_warning(doubt)


def check_probe_images(
    evaluation: ProbeSet, catalogue: Catalogue, split: Split, draws: Sequence[LabelSubset] = (ALL_LABELS,)
) -> None:
    """Raises `DataError` for images without labels, `ConfigError` if they will not do for the probes; warns of what is
    doubtful in either."""
    catalogue.check_labelled("scoring")
    is_tuned = evaluation.settings.get("linear", {}).get(SETTINGS_ORIGIN) == TUNED_ORIGIN
    if is_tuned and not all(draw.is_full for draw in draws):
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
    results: dict[LabelSubset, list[ResultRecord]] = {draw: [] for draw in draws}
    read: dict[tuple[EncoderChoice, int | None], dict[str, Tensor]] = {}  # the features, once for all probes
    with run.lock() as hold:  # another process may have made the results while this one waited
        probes = dict(evaluation.probes)
        if run.classifier.exists():
            probes[CLASSIFIER_PROBE] = SupervisedHead(run.check_file(run.classifier, run.read()))
        for draw in draws:
            for name, probe in probes.items():
                settings = evaluation.settings.get(name, {})
                task = ProbeTask(name, probe, settings, draw, get_result_folder(run, name, settings, compute, draw))
                result = None if config.force else read_whole_result(task.folder)
                if result is None:
                    share = "" if draw.is_full else f", {draw.fraction:.3g} of the labels, draw {draw.number}"
                    log_info(f"{run.name}: {probe.label}{share}")
                    size = settings.get(SCORED_SIZE)
                    seen = (probe.encoder, size)
                    if seen not in read:
                        read[seen] = get_run_features(run, probe.encoder, config, material, compute, size=size)
                    hold.check()
                    result = evaluate_probe(run, task, read[seen], config, material, compute)
                results[draw].append(result)
    return results


def log_scoring(
    runs: Sequence[Run], probes: Sequence[ProbeSet], compute: DevicePrecision, draws: Sequence[LabelSubset], force: bool
) -> None:
    """Log what will be scored. `probes`: of each run; `force`: whether what is stored is scored again."""
    wanted = [
        get_result_folder(run, name, settings, compute, draw)
        for run, own in zip(runs, probes, strict=True)
        for name, settings in own.settings.items()
        for draw in draws
    ]
    stored = 0 if force else sum((folder / "result.json").exists() for folder in wanted)
    labels = ", ".join(probe.label for probe in probes[0].probes.values())
    encoders, results = pluralise(len({run.name for run in runs}), "encoder"), pluralise(len(wanted), "result")
    log_info(f"scoring {encoders} with {labels}: {stored} of {results} stored")


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
    task: ProbeTask,
    sides: dict[str, Tensor],
    config: ExperimentConfig,
    material: PreparedData,
    compute: DevicePrecision,
) -> ResultRecord:
    """Fit one probe on the labels of its draw, score its predictions, store both. `sides`: features float32 [n, D]."""
    from lowres_ssl.evaluate.metrics import compute_metrics

    catalogue, split, probe, draw = material.catalogue, material.split, task.probe, task.draw
    train, validated = select_labelled(catalogue.labels, split.train, split.validation, draw)
    rows = get_subset_rows(split) | {"train": split.train[train], "validation": split.validation[validated]}
    labels = {side: catalogue.labels[own] for side, own in rows.items()}
    started = time.perf_counter()
    features = build_probe_features(sides, material, compute, draw)
    fitted = probe.at_fraction(draw.fraction).fit_probe(features, seed=derive_seed(config.seed, "probe", task.name))
    shares = {"test": fitted.scores(features.test), "validation": fitted.scores(features.validation)}
    seconds = time.perf_counter() - started
    predicted = {side: own.argmax(axis=1) for side, own in shares.items()}
    scores = {
        side: compute_metrics(labels[side], predicted[side], own, catalogue.classes) if len(own) else None
        for side, own in shares.items()
    }
    assert scores["test"] is not None, "a split has test images"
    result = ResultRecord(
        run=run.name,
        probe=task.name,
        label=probe.label,
        encoder=run.encoder(probe.encoder).name,
        settings=task.settings,
        details=fitted.details,
        test=scores["test"],
        validation=scores["validation"],
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
    for side, own in shares.items():
        records = [catalogue.records[row] for row in rows[side]]
        ids = [pseudonyms.image(record.id) if config.hash_ids else record.id for record in records]
        arrays |= {
            f"{side}_ids": np.array(ids, dtype=np.str_),
            f"{side}_groups": np.array([pseudonyms.patient(record.group) for record in records], dtype=np.str_),
            f"{side}_labels": labels[side],
            f"{side}_predictions": predicted[side],
            f"{side}_scores": np.asarray(own, dtype=np.float32),
        }
    if draw.is_full:  # for `predict`, which has no training labels
        encoder = run.get_encoder_hash(run.encoder(probe.encoder))
        known = {"train": digest_features(sides["train"]), "encoder": encoder}
        save_tensors(task.folder / PROBE_FILE, fitted.tensors, known)
    return write_result(task.folder, result, arrays)


class SupervisedHead(Probe):
    """End to end: the classifier as it was trained, nothing fitted on the features. Reads `path`, which holds `weight`
    [C, D] and `bias` [C]."""

    label = "end to end"
    depends_on_seed: ClassVar[bool] = False

    def __init__(self, path: Path) -> None:
        self.path = path

    def fit_probe(self, features: Features, *, seed: int) -> FittedProbe:
        return self.restore(load_tensors(self.path)[0], lambda: features.train, features.classes)

    def restore(self, tensors: Mapping[str, Tensor], train: Callable[[], Tensor], classes: int) -> FittedProbe:
        def shares(rows: Tensor) -> Any:
            weight, bias = (tensors[key].to(rows.device) for key in ("weight", "bias"))
            return (rows @ weight.T + bias).softmax(dim=1).cpu().numpy()

        return FittedProbe(shares, tensors, {"chosen": "by training"})


def save_classifier(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Write what the head of `methods/supervised.py` learnt; `weights`: its state dict."""
    save_tensors(path, {key.removeprefix("classifier."): value for key, value in weights.items()}, {})
