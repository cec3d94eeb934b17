"""`lowres-ssl evaluate`: score a finished run's encoder, or a file of weights, again."""

import re
from functools import partial
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from lowres_ssl.artefacts import Source, labels_known, untrained_run
from lowres_ssl.checkpoint import load_encoder, load_weights
from lowres_ssl.command_line.overrides import literal
from lowres_ssl.config import TUNABLE, EvaluateConfig, Experiment, read_config, without_training
from lowres_ssl.data.records import Catalogue
from lowres_ssl.data.splits import Split, load_split
from lowres_ssl.device import resolve
from lowres_ssl.errors import CheckpointError, ConfigError
from lowres_ssl.evaluation.labels import ALL_LABELS, LabelDraw, draws_of
from lowres_ssl.evaluation.probing import Evaluation, Scored, check_images, probes_of, say_doubts
from lowres_ssl.evaluation.scoring import score_and_show
from lowres_ssl.planning.encoders import new_encoder
from lowres_ssl.planning.preparation import prepare, split_of
from lowres_ssl.results.whereabouts import seen_from_here
from lowres_ssl.runs import Run, check_writable, find_run, resume
from lowres_ssl.schemas.experiment import RANDOM_STARTS

# What a run was made with, and its scores are of; the images may have moved.
FROM_RUN = ("method", "dataset", "images", "backbone", "recipe", "split", "split_seed", "seed", "image_size")
# What stored settings of a probe may look up: the paper's table, and keys beside them. No environment.
LOOKED_UP = re.compile(r"\$\{(oc\.select:table_1\.\$\{method\.name\}\.\$\{dataset\.name\}\.\w+,)?[\w.]+\}")
MAY_MOVE = ("dataset", "dataset.root", "dataset.unlabelled")


def main(cfg: DictConfig) -> None:
    if (cfg.run is None) == (cfg.weights is None):
        got = "neither" if cfg.run is None else "both"
        raise ConfigError(f"got {got} of run and weights, wanted one: type run=FOLDER (see lowres-ssl runs)")
    run = None if cfg.run is None else finished_run(find_run(Path(cfg.output_dir), cfg.run))
    if run is not None:
        cfg = as_in_the_run(cfg, run)
    config = read_config(cfg, EvaluateConfig)
    baselines = [read_config(without_training(cfg, start), EvaluateConfig) for start in RANDOM_STARTS]
    compute = resolve(config.device.name, config.precision.name)
    draws = labels_for(config, run)
    source, encoder = None, new_encoder(config)[0]
    if config.weights is not None:  # before the images are looked at, which may take long
        source = Source(Path(config.weights), Path(config.weights).name)
        load_encoder(encoder, load_weights(source.path), config.weights)
    check_writable(Path(config.output_dir))
    probe = OmegaConf.to_container(cfg.probe)
    evaluation = probes_of(config)
    if run is not None:
        material = prepare(config, partial(divide_as_in_the_run, run, config, evaluation, draws), as_in_a_run=True)
    else:
        material = prepare(config, partial(divide, config, evaluation, draws))
        run = untrained_run(config, material, compute, probe, encoder, source)
    rows = [(run, config)]
    for baseline in baselines:
        if run.description()["method"] != baseline.method["name"]:
            rows.append((untrained_run(baseline, material, compute, probe, new_encoder(baseline)[0]), baseline))
    say_doubts(probes_of(each, Scored.in_run(scored), material.split) for scored, each in rows)
    score_and_show(rows, material, compute, draws)


def labels_for(config: EvaluateConfig, run: Run | None) -> list[LabelDraw]:
    """Which labels to score with. Raises `ConfigError` if the encoder was trained on others."""
    draws = draws_of(config.label_fraction, config.label_draws)
    description = {} if run is None else run.description()
    seen = labels_known(description)
    if description.get("config", {}).get("select_encoder") == "best_validation_knn" and draws != [ALL_LABELS]:
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


def finished_run(run: Run) -> Run:
    """Raises `CheckpointError` if there is no run there, or an unfinished one."""
    run.finished_description()
    return run


def as_in_the_run(cfg: DictConfig, run: Run) -> DictConfig:
    """`cfg` with the run's images, encoder and probe settings, and whatever else was typed.

    Raises `ConfigError` if something was typed that the run decides.
    """
    description = run.description()
    typed = OverridesParser.create().parse_overrides(list(HydraConfig.get().overrides.task))
    merged = cfg.copy()
    keys = {override.key_or_group for override in typed}
    for key in sorted(keys):
        if key.split(".")[0] in FROM_RUN and key not in MAY_MOVE:
            raise ConfigError(
                f"{key} is what the run was made with; leave it out, or type weights=FILE instead of run="
            )
    for key in FROM_RUN:
        if not (key in ("dataset", "images") and "dataset" in keys):
            OmegaConf.update(merged, key, literal(description["config"][key]), force_add=True)
    for key in ("root", "unlabelled") if "dataset" not in keys else ():
        if path := description["config"]["dataset"].get(key):
            OmegaConf.update(merged, f"dataset.{key}", literal(seen_from_here(run, description["config"], path)))
    there = resolve(cfg.device.name, "auto").device.type
    if cfg.precision.name == "auto" and (description["precision"], there) != ("fp16", "cpu"):
        OmegaConf.update(merged, "precision", description["precision"])
    for name, settings in description.get("probe", {}).items():
        if "name" in merged.probe.get(name, {}):
            if f"probe.{name}.settings_from" in keys:  # not from what was typed for the run
                settings = {key: value for key, value in settings.items() if key not in TUNABLE}
            OmegaConf.update(merged, f"probe.{name}", literal(settings, kept=LOOKED_UP), force_add=True)
    for override in typed:  # what was typed comes last
        if override.key_or_group.split(".")[0] in ("probe", "dataset") and "." in override.key_or_group:
            OmegaConf.update(merged, override.key_or_group, override.value(), force_add=True)
    return merged


def divide(config: EvaluateConfig, evaluation: Evaluation, draws: list[LabelDraw], catalogue: Catalogue) -> Split:
    split = split_of(config, catalogue)
    check_images(evaluation, catalogue, split, draws)
    return split


def divide_as_in_the_run(
    run: Run, config: Experiment, evaluation: Evaluation, draws: list[LabelDraw], catalogue: Catalogue
) -> Split:
    """The split that the run wrote down. Raises `CheckpointError` if the images are not those it was made with."""
    description = run.description()
    got, wanted = catalogue.digest, description["identity"]["images"]["digest"]
    if got != wanted:
        raise CheckpointError(
            f"the images of this run have changed: digest {got[:8]}, wanted {wanted[:8]}; "
            "name the folder with the images it was made with: dataset.root=FOLDER"
        )
    again = f"to have it written anew {resume(description)}"
    split = load_split(run.split, catalogue, Path(config.store_dir), again)
    check_images(evaluation, catalogue, split, draws)
    return split
