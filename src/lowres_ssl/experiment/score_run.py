"""Score a finished run's encoder, or a file of weights, with the settings of the run."""

from functools import partial
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from lowres_ssl.config.check import ALLOWED_INTERPOLATION, read_experiment
from lowres_ssl.config.experiment_schema import (
    TUNABLE_KEYS,
    EvaluateConfig,
    ExperimentConfig,
    list_keys_with,
    to_plain,
)
from lowres_ssl.config.overrides import escape_interpolations
from lowres_ssl.data.catalogue import Catalogue
from lowres_ssl.data.prepare import make_configured_split, prepare_data
from lowres_ssl.data.splits import ALL_LABELS, LabelSubset, Split, list_label_subsets, load_split
from lowres_ssl.device import choose_stored_precision, resolve_device
from lowres_ssl.encoders.fit_weights import load_encoder_weights
from lowres_ssl.encoders.from_config import init_encoder, list_random_baselines
from lowres_ssl.encoders.weights_file import load_weights
from lowres_ssl.errors import CheckpointError, ConfigError
from lowres_ssl.evaluate.encoder_runs import get_fixed_run
from lowres_ssl.evaluate.evaluate import (
    ProbeSet,
    build_probe_set,
    build_run_probe_set,
    check_probe_images,
    warn_of_settings,
)
from lowres_ssl.evaluate.initial_weights import InitialWeights
from lowres_ssl.experiment.scores import score_and_print
from lowres_ssl.io.atomic import check_writable
from lowres_ssl.runs.run import Run, find_run, relocate_path, resume_command

# What a run was made with, and its scores are of; the images may have moved.
RUN_KEYS = list_keys_with(ExperimentConfig, "run")
MOVABLE_KEYS = ("dataset", "dataset.root", "dataset.unlabelled")


def choose_label_subsets(config: EvaluateConfig, run: Run | None) -> list[LabelSubset]:
    """Which labels to score with. Raises `ConfigError` if the encoder was trained on others."""
    draws = list_label_subsets(config.label_fraction, config.label_draws)
    if run is None:
        return draws
    record = run.read()
    seen, training = record.labels, record.training
    if training and training.select_encoder.name == "best_validation_knn" and draws != [ALL_LABELS]:
        raise ConfigError(
            f"label_fraction={config.label_fraction}: all labels chose the epoch of this encoder, so it cannot be "
            "scored with fewer; pre-train one with select_encoder=last"
        )
    if seen is None:
        return draws
    own = [seen]
    if draws not in ([ALL_LABELS], own):
        raise ConfigError(
            f"label_fraction={config.label_fraction}: this encoder was trained on {seen.fraction:g} of the labels, so "
            "it is scored with those; train others with lowres-ssl pretrain method=supervised label_fraction=[FRACTION]"
        )
    return own


def score_run(cfg: DictConfig) -> None:
    """Score the encoder of `run`, or the one of `weights`, beside the random encoders, and print one table."""
    if (cfg.run is None) == (cfg.weights is None):
        got = "neither" if cfg.run is None else "both"
        raise ConfigError(f"got {got} of run and weights, wanted one: type run=FOLDER (see lowres-ssl runs)")
    run = None if cfg.run is None else find_finished_run(Path(cfg.output_dir), cfg.run)
    experiment = read_experiment(cfg if run is None else merge_run_config(cfg, run), EvaluateConfig)
    config, probe = experiment.config, experiment.probe_settings
    compute = resolve_device(config.device.name, config.precision.name).set_up_process()
    draws = choose_label_subsets(config, run)
    evaluation = build_probe_set(config)
    check_writable(Path(config.output_dir))
    if run is None:
        weights, encoder = Path(str(config.weights)), init_encoder(config)[0]
        source = InitialWeights.of_file(weights, config.weights_part, Path(config.output_dir))
        load_encoder_weights(encoder, load_weights(weights), str(weights), config.weights_part)
        material = prepare_data(config, partial(make_scoring_split, source, config, evaluation, draws))
        run = get_fixed_run(config, material, compute, probe, encoder=encoder, source=source)
    else:
        material = prepare_data(config, partial(load_run_split, run, config, evaluation, draws))
    rows = [(run, config)]
    for name in list_random_baselines(init_encoder(config)[0]):
        if run.read().method != name:
            own = experiment.fixed[name]
            rows.append((get_fixed_run(own, material, compute, probe), own))
    warn_of_settings(build_run_probe_set(scored, each) for scored, each in rows)
    score_and_print(rows, material, compute, draws)


def find_finished_run(output_dir: Path, named: str) -> Run:
    """Find a run. Raise `DataError` if there is none, `CheckpointError` for an unfinished one."""
    run = find_run(output_dir, named)
    run.read_finished()
    return run


def merge_run_config(cfg: DictConfig, run: Run) -> DictConfig:
    """`cfg` with the run's images, encoder and probe settings, and whatever else was typed.

    Raises `ConfigError` if something was typed that the run decides.
    """
    record = run.read()
    config = to_plain(record.config)
    typed = OverridesParser.create().parse_overrides(list(HydraConfig.get().overrides.task))
    merged = cfg.copy()
    keys = {override.key_or_group for override in typed}
    for key in sorted(keys):
        if key.split(".")[0] in RUN_KEYS and key not in MOVABLE_KEYS:
            raise ConfigError(
                f"{key} is what the run was made with; leave it out, or type weights=FILE instead of run="
            )
    for key in RUN_KEYS:
        if not (key in ("dataset", "images") and "dataset" in keys):
            OmegaConf.update(merged, key, escape_interpolations(config[key]), force_add=True)
    for key in ("root", "unlabelled") if "dataset" not in keys else ():
        if path := config["dataset"][key]:
            OmegaConf.update(merged, f"dataset.{key}", escape_interpolations(relocate_path(run, record.config, path)))
    if cfg.precision.name == "auto":
        precision = choose_stored_precision(cfg.device.name, record.identity.precision)
        OmegaConf.update(merged, "precision", precision)
    for name, settings in record.probe.items():
        if "name" in merged.probe.get(name, {}):
            if f"probe.{name}.settings_from" in keys:  # not from what was typed for the run
                settings = {key: value for key, value in settings.items() if key not in TUNABLE_KEYS}
            OmegaConf.update(
                merged, f"probe.{name}", escape_interpolations(settings, kept=ALLOWED_INTERPOLATION), force_add=True
            )
    for override in typed:  # what was typed comes last
        if override.key_or_group.split(".")[0] in ("probe", "dataset") and "." in override.key_or_group:
            OmegaConf.update(merged, override.key_or_group, override.value(), force_add=True)
    return merged


def make_scoring_split(
    source: InitialWeights,
    config: EvaluateConfig,
    evaluation: ProbeSet,
    draws: list[LabelSubset],
    catalogue: Catalogue,
) -> Split:
    """Split the images to score `source` on. Raises `ConfigError` if it knows more of them than it must."""
    split = make_configured_split(config, catalogue)
    source.check_leakage(split, catalogue, draws, Path(config.store_dir), "weights")
    check_probe_images(evaluation, catalogue, split, draws)
    return split


def load_run_split(
    run: Run, config: ExperimentConfig, evaluation: ProbeSet, draws: list[LabelSubset], catalogue: Catalogue
) -> Split:
    """The split that the run wrote down. Raises `CheckpointError` if the images are not those it was made with."""
    record = run.read()
    got, wanted = catalogue.digest, record.identity.images
    if got != wanted:
        raise CheckpointError(
            f"the images of this run have changed: digest {got[:8]}, wanted {wanted[:8]}; "
            "name the folder with the images it was made with: dataset.root=FOLDER"
        )
    again = f"to have it written anew {resume_command(record)}"
    split = load_split(run.split, catalogue, Path(config.store_dir), again)
    check_probe_images(evaluation, catalogue, split, draws)
    return split
