"""`lowres-ssl evaluate`: score a finished run's encoder, or a file of weights, again."""

from functools import partial
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from lowres_ssl.config.check import EvaluateConfig, read_config, switch_to_baseline
from lowres_ssl.config.experiment_schema import RANDOM_BASELINES
from lowres_ssl.data.prepare import prepare_data
from lowres_ssl.device import resolve_device
from lowres_ssl.encoders.weights_file import load_encoder_weights, load_weights
from lowres_ssl.errors import ConfigError
from lowres_ssl.evaluate.encoder_runs import InitialWeights, get_fixed_run
from lowres_ssl.evaluate.evaluate import TuningTarget, build_probe_set, warn_of_settings
from lowres_ssl.experiment.score_run import (
    choose_label_subsets,
    find_finished_run,
    load_run_split,
    make_scoring_split,
    merge_run_config,
)
from lowres_ssl.experiment.summary import score_and_print
from lowres_ssl.io.atomic import check_writable
from lowres_ssl.runs.run import find_run
from lowres_ssl.train.setup import init_encoder


def main(cfg: DictConfig) -> None:
    if (cfg.run is None) == (cfg.weights is None):
        got = "neither" if cfg.run is None else "both"
        raise ConfigError(f"got {got} of run and weights, wanted one: type run=FOLDER (see lowres-ssl runs)")
    run = None if cfg.run is None else find_finished_run(find_run(Path(cfg.output_dir), cfg.run))
    if run is not None:
        cfg = merge_run_config(cfg, run)
    config = read_config(cfg, EvaluateConfig)
    baselines = [read_config(switch_to_baseline(cfg, start), EvaluateConfig) for start in RANDOM_BASELINES]
    compute = resolve_device(config.device.name, config.precision.name)
    draws = choose_label_subsets(config, run)
    source, encoder = None, init_encoder(config)[0]
    if config.weights is not None:  # before the images are looked at, which may take long
        source = InitialWeights(Path(config.weights), Path(config.weights).name)
        load_encoder_weights(encoder, load_weights(source.path), config.weights)
    check_writable(Path(config.output_dir))
    probe = OmegaConf.to_container(cfg.probe)
    evaluation = build_probe_set(config)
    if run is not None:
        material = prepare_data(config, partial(load_run_split, run, config, evaluation, draws), as_in_a_run=True)
    else:
        material = prepare_data(config, partial(make_scoring_split, config, evaluation, draws))
        run = get_fixed_run(config, material, compute, probe, encoder, source)
    rows = [(run, config)]
    for baseline in baselines:
        if run.description()["method"] != baseline.method["name"]:
            rows.append((get_fixed_run(baseline, material, compute, probe, init_encoder(baseline)[0]), baseline))
    warn_of_settings(build_probe_set(each, TuningTarget.from_run(scored), material.split) for scored, each in rows)
    score_and_print(rows, material, compute, draws)
