"""`lowres-ssl tune`: batch size and learning rate of the linear evaluation, chosen on validation: Table 1."""

import time
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from lowres_ssl.commands.evaluate import as_in_the_run, divide_as_in_the_run, finished_run
from lowres_ssl.config import TUNABLE, TuneConfig, read_config
from lowres_ssl.device import Compute, resolve
from lowres_ssl.errors import ConfigError
from lowres_ssl.evaluation.frozen import features_of, with_labels
from lowres_ssl.evaluation.labels import ALL_LABELS
from lowres_ssl.evaluation.probing import probes_of
from lowres_ssl.evaluation.search import Grid, search, seconds_of
from lowres_ssl.evaluation.tuning import about, in_table_1, read_tuned, table_1, tuned_file, write_tuned
from lowres_ssl.files.hashes import digest
from lowres_ssl.files.leases import Hold, held
from lowres_ssl.planning.preparation import prepare
from lowres_ssl.probes import Features
from lowres_ssl.probes.linear import Linear
from lowres_ssl.provenance import provenance
from lowres_ssl.randomness import derive
from lowres_ssl.results.agreement import is_trained
from lowres_ssl.results.ledger import ledger
from lowres_ssl.runs import Run, check_writable, find_run
from lowres_ssl.schemas.experiment import ORIGIN
from lowres_ssl.terminal import columns, count, duration, say, warn


def main(cfg: DictConfig) -> None:
    config = read_config(cfg, TuneConfig)
    grid = grid_of(config)
    output_dir = Path(config.output_dir)
    check_writable(output_dir)
    runs = runs_of(config)
    heads = len(grid.pairs) * len(grid.seeds)
    say(
        f"tune: {count(len(runs), 'run')}, each {len(grid.batch_sizes)} batch sizes x {len(grid.rates)} learning rates "
        f"x {count(len(grid.seeds), 'seed')} = {count(heads, 'head')}, rule {grid.rule}; test features are not read"
    )
    tuned = [tuned_run(run, cfg) for run in runs]
    for title, heads_of_columns, rows in table_1(tuned, config.table_1):
        print(f"Batch size (learning rate) of the linear evaluation, chosen on validation; {title}\n")
        print(columns(heads_of_columns, rows), end="\n\n")
    print(
        f"Chosen: {tuned_file(output_dir, '*')}. Use it: lowres-ssl evaluate run=RUN probe.linear.settings_from=tuned"
    )


def grid_of(config: TuneConfig) -> Grid:
    """What `config` says to try. Raises `ConfigError` for what no probe takes."""
    if list(config.probe) != ["linear"]:
        raise ConfigError(f"probe={list(config.probe)}: wanted linear, the one probe with a batch size and a rate")
    if config.seeds < 1:
        raise ConfigError(f"seeds={config.seeds}: wanted at least 1")
    for key in TUNABLE:
        values = getattr(config, key)
        if not values or len(set(values)) != len(values):
            raise ConfigError(f"{key}={values}: wanted at least one value, each once")
    settings = {key: value for key, value in config.probe["linear"].items() if key not in ("name", ORIGIN)}
    seeds = [derive(config.seed, "tune", number) for number in range(config.seeds)]
    grid = Grid(config.batch_size, config.learning_rate, seeds, config.rule.name, settings)
    for batch_size, rate in grid.pairs:
        grid.probe(batch_size, grid.epochs, rate)
    return grid


def runs_of(config: TuneConfig) -> list[Run]:
    """The runs that `run` names, or the finished ones that fit the filters, by name."""
    output_dir = Path(config.output_dir)
    if config.run is not None:
        # `run` is a path to the command line, so that a list of them comes as it was typed.
        names = (
            config.run.removeprefix("[").removesuffix("]").split(",") if config.run.startswith("[") else [config.run]
        )
        return [finished_run(find_run(output_dir, name.strip())) for name in names]
    frame, problems = ledger(output_dir)
    for problem in problems:
        warn(problem)
    fits = frame["state"] == "finished"
    for key, wanted in config.filters.items():
        if key not in frame:
            raise ConfigError(f"unknown key filters.{key}: `lowres-ssl tune --help` lists the keys")
        if wanted is not None:
            same = frame[key].isin(wanted if isinstance(wanted, list) else [wanted])
            # An untrained encoder has no recipe but the name of the one that made it first.
            fits &= same | ~is_trained(frame) if key in ("recipe", "epochs") else same
    typed = {key for key, wanted in config.filters.items() if wanted is not None}
    if typed & {"recipe", "epochs"} and not typed & {"method", "entry"} and not (fits & is_trained(frame)).any():
        fits &= False  # untrained encoders alone were not meant: they have neither
    names = sorted(set(frame[fits]["run"]))
    # An encoder that was trained on a part of the labels is scored with that part.
    runs = [run for run in (find_run(output_dir, name) for name in names) if sees_all_labels(run)]
    if not runs:
        words = " ".join(f"{key}={wanted}" for key, wanted in config.filters.items() if wanted is not None)
        raise ConfigError(
            f"tune: no finished run below {output_dir}{' fits ' if words else ''}{words}; see them with lowres-ssl runs"
        )
    return runs


def sees_all_labels(run: Run) -> bool:
    return bool(run.description().get("label_fraction", 1.0) in (None, 1.0))


def tuned_run(run: Run, cfg: DictConfig) -> dict[str, Any]:
    """What is chosen for a run: read if it is there for just this search, else searched and written."""
    config = read_config(as_in_the_run(cfg, run), TuneConfig)
    grid = grid_of(config)
    output_dir, compute = Path(config.output_dir), resolve(config.device.name, config.precision.name)
    probe = grid.probe(grid.batch_sizes[0], grid.epochs)
    asked = {
        "encoder": run.description()["encoders"][run.checked_encoder(probe.encoder).name],
        "grid": {"batch_size": list(grid.batch_sizes), "learning_rate": list(grid.rates), "seeds": config.seeds},
        "seed": config.seed,
        "rule": grid.rule,
        "settings": {key: value for key, value in grid.settings.items() if key not in TUNABLE},
        "precision": compute.precision,
    }
    with held(tuned_file(output_dir, run.name), f"tuning of {run.name}") as hold:
        return searched(run, config, grid, compute, asked, hold)


def searched(
    run: Run, config: TuneConfig, grid: Grid, compute: Compute, asked: dict[str, Any], hold: Hold
) -> dict[str, Any]:
    """What is chosen for `asked`, once no other process tunes this run: it may have been chosen in the meantime."""
    output_dir, probe = Path(config.output_dir), grid.probe(grid.batch_sizes[0], grid.epochs)
    there = None if config.force else read_tuned(output_dir, run.name)
    if there is not None and there["asked"] == digest(asked):
        say(f"{run.name}: chosen already, {in_table_1(there['chosen'])}; force=true chooses again")
        return there
    if there is not None:
        say(f"{run.name}: {in_table_1(there['chosen'])} was chosen before, by another search; this one replaces it")
    features = features_for(run, config, probe, compute)
    say(f"{run.name}: about {duration(seconds_of(features, grid))}")
    started = time.perf_counter()
    lines, chosen = search(features, grid, lambda text: say(f"{run.name}: {text}"))
    content = {
        **about(run),
        "asked": digest(asked),
        **asked,
        "seeds": config.seeds,
        "images": {"train": len(features.train), "validation": len(features.validation)},
        "lines": lines,
        "chosen": chosen,
        "seconds": time.perf_counter() - started,
        **provenance(compute.describe()),
    }
    hold.check()
    write_tuned(output_dir, content)
    say(f"{run.name}: {in_table_1(chosen)}, validation accuracy {chosen['accuracy']:.3f}, {content['seconds']:.0f} s")
    return content


def features_for(run: Run, config: TuneConfig, probe: Linear, compute: Compute) -> Features:
    """The stored features of the training and validation images; computed where they are not there."""
    material = prepare(
        config, partial(divide_as_in_the_run, run, config, probes_of(config), [ALL_LABELS]), as_in_a_run=True
    )
    sides = features_of(run, probe.encoder, config, material, compute, ("train", "validation"))
    return with_labels(sides | {"test": sides["train"][:0]}, material, compute)
