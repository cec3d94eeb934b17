"""Every run with what to type to have it again, and what its other scores were made with."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lowres_ssl.command_line.overrides import command_line
from lowres_ssl.command_line.typed_again import typed_again, written
from lowres_ssl.errors import UserError
from lowres_ssl.results.collapse import MARKS
from lowres_ssl.runs import END_TO_END, Run, find_run
from lowres_ssl.schemas.experiment import ORIGIN, PAPER, TUNABLE, TUNED
from lowres_ssl.tables.missing import default_settings, place_of


@dataclass(frozen=True)
class Listed:
    """A run as the page lists it; `commands` is empty where none is known."""

    run: str
    entry: str
    dataset: str
    batch_size: int | None
    seed: int
    state: str
    commands: Sequence[str]


def listed_runs(frame: pd.DataFrame, output_dir: Path, *, paths: bool) -> list[Listed]:
    """One a run of these rows of the ledger. `paths`: whether folders are told."""
    listed = []
    for name, rows in frame.groupby("run", sort=True):
        first = rows.iloc[0]
        try:
            commands = commands_of(find_run(output_dir, str(name)), output_dir, paths=paths)
        except UserError:  # it is damaged, which the ledger has said
            commands = []
        size = None if pd.isna(first["batch_size"]) else int(first["batch_size"])
        state = str(first["state"]) + "".join(f", {mark.word}" for key, mark in MARKS.items() if first[key])
        about = (str(name), str(first["entry"]), str(first["dataset"]), size, int(first["seed"]), state)
        listed.append(Listed(*about, commands))
    return listed


def commands_of(run: Run, output_dir: Path, *, paths: bool) -> list[str]:
    """What makes the run, then what scores it in ways that its own command did not."""
    description = run.description()
    config = description["config"]
    place = place_of(output_dir) if paths else []
    words = typed_again(config, trained="batch_size" in description, paths=paths)
    lines = [] if words is None else [command_line(*words, *place)]
    later: dict[tuple[str, ...], set[float]] = defaultdict(set)  # how it was scored beyond that -> with which labels
    for _, result in run.results():
        if result["probe"] != END_TO_END and not is_made_along(result, config):
            later[scoring_words(result, config)].add(labels_of(result))
    for scored, fractions in later.items():
        share = f"label_fraction=[{','.join(f'{each:g}' for each in sorted(fractions))}]"
        lines.append(command_line("evaluate", f"run={run.name}", *scored, *[share] * (fractions != {1.0}), *place))
    return lines


def is_made_along(result: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """Whether the run's own command gives this result."""
    own = config.get("probe", {}).get(result["probe"], {})
    asked = {key: value for key, value in own.items() if key != "name"}
    return asked == result["settings"] and labels_of(result) in config.get("label_fraction", [1.0])


def labels_of(result: Mapping[str, Any]) -> float:
    return float(result.get("labels", {}).get("fraction", 1.0))


def scoring_words(result: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[str, ...]:
    """The probe, and its settings that are not the run's."""
    probe, settings = result["probe"], dict(result["settings"])
    usual = config.get("probe", {}).get(probe) or default_settings(probe, str(config.get("recipe")))
    if settings.get(ORIGIN) in (TUNED, PAPER):  # which says where these two are from
        settings = {key: value for key, value in settings.items() if key not in TUNABLE}
    differing = [
        f"probe.{probe}.{key}={written(value)}"
        for key, value in settings.items()
        if value != usual.get(key) and value != "typed"
    ]
    return (f"probe=[{probe}]", *differing)
