"""Encoders as runs: what is stored of each, and those that nothing is trained for: baselines and given weights."""

from collections.abc import Mapping
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from torch import Tensor, nn

from lowres_ssl.config.experiment_schema import WEIGHTS_METHOD, ExperimentConfig, PretrainConfig, to_plain
from lowres_ssl.console import log_warning, pluralise
from lowres_ssl.data.prepare import PreparedData
from lowres_ssl.data.pseudonyms import make_pseudonyms
from lowres_ssl.data.splits import LabelSubset, save_split
from lowres_ssl.device import DevicePrecision
from lowres_ssl.encoders.base import build_fixed_encoder
from lowres_ssl.encoders.fit_weights import load_encoder_weights
from lowres_ssl.encoders.from_config import get_normalisation, init_encoder
from lowres_ssl.encoders.weights_file import load_weights, save_tensors
from lowres_ssl.environment import describe_environment
from lowres_ssl.errors import CheckpointError
from lowres_ssl.evaluate.features import adapt_baseline
from lowres_ssl.evaluate.initial_weights import InitialWeights
from lowres_ssl.io.checksummed_json import Settings
from lowres_ssl.runs.records import RunIdentity, RunOutcome, RunRecord, SplitSummary
from lowres_ssl.runs.run import WEIGHTS_PREFIX, Run, get_identified_run
from lowres_ssl.runs.run_hash import build_base_identity

ProbeSettings = Mapping[str, Settings]  # by probe


def get_fixed_run(
    config: ExperimentConfig,
    material: PreparedData,
    compute: DevicePrecision,
    probe: ProbeSettings,
    *,
    encoder: nn.Module | None = None,
    source: InitialWeights | None = None,
) -> Run:
    """Find or make the run of an encoder that is not trained: a baseline's, or one with the weights of `source`.

    `probe`: the settings of the probes as composed. `encoder`: built already; without it, built from `config`.
    """
    if encoder is None:
        encoder, _ = init_encoder(config)
        if source is not None:
            load_encoder_weights(encoder, load_weights(source.path), str(source.path), config.weights_part)
    identity = build_base_identity(config, material.outline, compute.precision, source.path if source else None)
    kind = "pretrain" if source is None else "evaluate"
    labels = [config.dataset.name, config.method["name"], f"s{config.seed}"]
    run = get_identified_run(Path(config.output_dir), kind, labels, identity)
    with run.lock():
        if config.force and kind == "pretrain":
            run.discard()
        save_run_split(run, config, material)
        if not is_complete_run(run):
            start_run(run, config, material, identity, probe, source)
            adapt_baseline(encoder, config, material, compute)
            save_encoder(encoder.state_dict(), run, config, material)
            run.finish(RunOutcome(0, 0.0, describe_environment(compute.describe())))
    return run


def build_encoder_name(config: ExperimentConfig, source: InitialWeights | None) -> str:
    """What tables call a run: its method, and what makes it another row than that."""
    name = str(config.method["name"])
    if name == WEIGHTS_METHOD and source is not None:
        return f"{WEIGHTS_PREFIX}{source.name}"
    method = build_fixed_encoder(config.method)
    if method is not None:
        return method.row_name(name)
    assert isinstance(config, PretrainConfig), "only pretrain trains"
    patient = " by patient" if config.positives.name == "patient" else ""
    start = "" if source is None else f" from {source.name}"
    frozen = f", {pluralise(config.frozen_stages, 'stage')} frozen" if config.frozen_stages else ""
    return f"{name}{patient}{start}{frozen}"


def is_complete_run(run: Run) -> bool:
    """Whether the run is finished and its encoder as it was written."""
    try:
        record = run.find_record()
        if record is not None and record.outcome is not None:
            run.get_checked_encoder()
            return True
    except CheckpointError as error:
        log_warning(f"{error}")
    return False


def save_run_split(run: Run, config: ExperimentConfig, material: PreparedData) -> None:
    """Write the split down. The run's identity covers its digest, so that it is the same one each time."""
    pseudonyms = make_pseudonyms(material.catalogue.root, Path(config.store_dir)) if config.hash_ids else None
    save_split(material.split, material.catalogue, run.split, pseudonyms)


def start_run(
    run: Run,
    config: ExperimentConfig,
    material: PreparedData,
    identity: RunIdentity,
    probe: ProbeSettings,
    source: InitialWeights | None,
    seen: LabelSubset | None = None,
) -> None:
    """Write down what a run is before anything is computed. `seen`: the labels that its training sees."""
    split, start = material.split, None if source is None else source.record
    pretrain_on = None if start is None else start.pretrain_on
    if identity.is_trained:
        assert isinstance(config, PretrainConfig), "only pretrain trains"
        pretrain_on = "all" if pretrain_on == "all" else config.pretrain_on.name
    record = RunRecord(
        entry=build_encoder_name(config, source),
        identity=identity,
        split=SplitSummary(split.kind, split.seed, split.digest),
        config=config,
        store=material.store.path.name,
        unlabelled_images=len(material.catalogue.unlabelled),
        typed=get_typed_command(),
        probe=probe,
        pretrain_on=pretrain_on,
        labels=seen or (None if start is None else start.labels),
    )
    run.start(record)


def get_typed_command() -> tuple[str, ...]:
    """The command at hand and its words, to type again what it makes; none outside a command."""
    if not HydraConfig.initialized():
        return ()
    hydra = HydraConfig.get()
    return str(hydra.job.config_name), *map(str, hydra.overrides.task)


def save_encoder(
    weights: dict[str, Tensor], run: Run, config: ExperimentConfig, material: PreparedData, path: Path | None = None
) -> None:
    """Write a run's encoder, to `path` if given, with what is needed to use it elsewhere; the same bytes each time."""
    mean, std = get_normalisation(config)
    metadata = {
        "run": run.name,
        "method": config.method["name"],
        "backbone": to_plain(config.backbone),
        "image_size": config.image_size,
        "mean": mean,
        "std": std,
        "data_digest": material.catalogue.digest,
        "split_digest": material.split.digest,
    }
    save_tensors(path or run.encoder(), weights, metadata)


ALL_IMAGES_WARNING = (
    "Pre-trained on all images (pretrain_on=all): the encoder has seen the validation and the test images."
)
