"""Choose batch size and learning rate of a run's linear evaluation on the validation images."""

import time
from functools import partial
from pathlib import Path

from omegaconf import DictConfig

from lowres_ssl.config.check import read_config, require
from lowres_ssl.config.experiment_schema import SCORED_SIZE, SETTINGS_ORIGIN, TUNABLE_KEYS, TuneConfig
from lowres_ssl.console import log_info, log_warning
from lowres_ssl.data.prepare import prepare_data
from lowres_ssl.data.splits import ALL_LABELS
from lowres_ssl.device import DevicePrecision, resolve_device
from lowres_ssl.environment import describe_environment
from lowres_ssl.errors import ConfigError
from lowres_ssl.evaluate.evaluate import build_probe_set
from lowres_ssl.evaluate.features import build_probe_features, get_run_features, get_scored_size
from lowres_ssl.evaluate.grid_search import SearchGrid, search_grid
from lowres_ssl.evaluate.tuned_settings import (
    TunedEncoder,
    TunedSettings,
    get_tuned_path,
    read_tuned_settings,
    write_tuned_settings,
)
from lowres_ssl.experiment.score_run import find_finished_run, load_run_split, merge_run_config
from lowres_ssl.io.checksummed_json import JSON, hash_content
from lowres_ssl.io.locks import lock
from lowres_ssl.probes.base import Features
from lowres_ssl.probes.linear import MLPProbe
from lowres_ssl.runs.filters import is_trained
from lowres_ssl.runs.index import read_index
from lowres_ssl.runs.run import Run, find_run
from lowres_ssl.seeding import derive_seed


def build_grid(config: TuneConfig) -> SearchGrid:
    """The grid that `config` lists. Raises `ConfigError` for what no probe takes."""
    probes = list(config.probe)
    require(probes == ["linear"], "probe", probes, "linear, the one probe with a batch size and a rate")
    require(config.seeds >= 1, "seeds", config.seeds, "at least 1")
    for key in TUNABLE_KEYS:
        values = getattr(config, key)
        require(0 < len(set(values)) == len(values), key, values, "at least one value, each once")
    settings = {key: value for key, value in config.probe["linear"].items() if key not in ("name", SETTINGS_ORIGIN)}
    seeds = [derive_seed(config.seed, "tune", number) for number in range(config.seeds)]
    grid = SearchGrid(config.batch_size, config.learning_rate, seeds, config.rule.name, settings)
    for batch_size, rate in grid.pairs:
        grid.probe(batch_size, grid.epochs, rate)
    return grid


def find_runs_to_tune(config: TuneConfig) -> list[Run]:
    """The runs that `run` names, or the finished ones that fit the filters, by name."""
    output_dir = Path(config.output_dir)
    if config.run is not None:
        # `run` is a path to the command line, so that a list of them comes as it was typed.
        is_list = config.run.startswith("[")
        names = config.run.strip("[]").split(",") if is_list else [config.run]
        return [find_finished_run(output_dir, name.strip()) for name in names]
    frame, problems = read_index(output_dir)
    for problem in problems:
        log_warning(problem)
    fits = frame["state"] == "finished"
    typed = {key: wanted for key, wanted in vars(config.filters).items() if wanted is not None}
    for key, wanted in typed.items():
        same = frame[key].isin(wanted if isinstance(wanted, list) else [wanted])
        # An untrained encoder has no recipe but the name of the one that made it first.
        fits &= same | ~is_trained(frame) if key in ("recipe", "epochs") else same
    if {"recipe", "epochs"} & typed.keys() and not {"method", "entry"} & typed.keys():
        fits &= bool((fits & is_trained(frame)).any())  # untrained encoders alone were not meant: they have neither
    names = sorted(set(frame[fits]["run"]))
    runs = [find_run(output_dir, name) for name in names]
    # An encoder that was trained on a part of the labels is scored with that part.
    runs = [run for run in runs if run.read().labels in (None, ALL_LABELS)]
    if not runs:
        words = " ".join(f"{key}={wanted}" for key, wanted in typed.items())
        raise ConfigError(
            f"tune: no finished run below {output_dir}{' fits ' if words else ''}{words}; see them with lowres-ssl runs"
        )
    return runs


def tune_run(run: Run, cfg: DictConfig) -> TunedSettings:
    """What is chosen for a run: read if it is there for just this search, else searched and written."""
    config = read_config(merge_run_config(cfg, run), TuneConfig)
    grid, output_dir = build_grid(config), Path(config.output_dir)
    compute = resolve_device(config.device.name, config.precision.name).set_up_process()
    probe = grid.probe(grid.batch_sizes[0], grid.epochs)
    settings = {key: value for key, value in grid.settings.items() if key not in TUNABLE_KEYS}
    if (size := get_scored_size(config)) is not None:
        settings[SCORED_SIZE] = size
    asked: dict[str, JSON] = {
        "encoder": run.get_encoder_hash(run.get_checked_encoder(probe.encoder)),
        "grid": {"batch_size": list(grid.batch_sizes), "learning_rate": list(grid.rates), "seeds": config.seeds},
        "seed": config.seed,
        "rule": grid.rule,
        "settings": settings,
        "precision": compute.precision,
    }
    with lock(get_tuned_path(output_dir, run.name), f"tuning of {run.name}") as hold:
        there = None if config.force else read_tuned_settings(output_dir, run.name)
        if there is not None and there.asked == hash_content(asked):
            log_info(f"{run.name}: chosen already, {there.chosen.format_cell()}; force=true chooses again")
            return there
        if there is not None:
            before = there.chosen.format_cell()
            log_info(f"{run.name}: {before} was chosen before, by another search; this one replaces it")
        features = get_tuning_features(run, config, probe, compute)
        started = time.perf_counter()
        lines, chosen = search_grid(features, grid)
        record = run.read()
        tuned = TunedSettings(
            run=run.name,
            title=record.config.dataset.title,
            seed=record.config.seed,
            encoder=TunedEncoder.build(config, record.entry, record.split, record.training),
            asked=hash_content(asked),
            rule=grid.rule,
            seeds=config.seeds,
            settings=settings,
            lines=tuple(lines),
            chosen=chosen,
            seconds=time.perf_counter() - started,
            environment=describe_environment(compute.describe()),
        )
        hold.check()
        write_tuned_settings(output_dir, tuned)
    log_info(f"{run.name}: {chosen.format_cell()}, validation accuracy {chosen.accuracy:.3f}, {tuned.seconds:.0f} s")
    return tuned


def get_tuning_features(run: Run, config: TuneConfig, probe: MLPProbe, compute: DevicePrecision) -> Features:
    """The stored features of the training and validation images; computed where they are not there."""
    material = prepare_data(config, partial(load_run_split, run, config, build_probe_set(config), [ALL_LABELS]))
    sides = get_run_features(
        run, probe.encoder, config, material, compute, size=get_scored_size(config), sides=("train", "validation")
    )
    return build_probe_features(sides | {"test": sides["train"][:0]}, material, compute)
