"""Every run with what to type to have it again, and what its other scores were made with."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lowres_ssl.config.experiment_schema import PAPER_ORIGIN, SETTINGS_ORIGIN, TUNABLE_KEYS, TUNED_ORIGIN
from lowres_ssl.config.overrides import format_command
from lowres_ssl.errors import UserError
from lowres_ssl.reporting.tables.fill_commands import build_output_override, read_default_settings
from lowres_ssl.runs.collapse import RUN_MARKS
from lowres_ssl.runs.run import CLASSIFIER_PROBE, Run, find_run
from lowres_ssl.runs.stored_command import format_value, rebuild_overrides


@dataclass(frozen=True)
class ListedRun:
    """A run as the page lists it; `commands` is empty where none is known."""

    run: str
    entry: str
    dataset: str
    batch_size: int | None
    seed: int
    state: str
    commands: Sequence[str]


def list_report_runs(frame: pd.DataFrame, output_dir: Path, *, paths: bool) -> list[ListedRun]:
    """One a run of these rows of the ledger. `paths`: whether folders are told."""
    listed = []
    for name, rows in frame.groupby("run", sort=True):
        first = rows.iloc[0]
        try:
            commands = list_run_commands(find_run(output_dir, str(name)), output_dir, paths=paths)
        except UserError:  # it is damaged, which the ledger has said
            commands = []
        size = None if pd.isna(first["batch_size"]) else int(first["batch_size"])
        state = str(first["state"]) + "".join(f", {mark.word}" for key, mark in RUN_MARKS.items() if first[key])
        about = (str(name), str(first["entry"]), str(first["dataset"]), size, int(first["seed"]), state)
        listed.append(ListedRun(*about, commands))
    return listed


def list_run_commands(run: Run, output_dir: Path, *, paths: bool) -> list[str]:
    """What makes the run, then what scores it in ways that its own command did not."""
    description = run.description()
    config = description["config"]
    place = build_output_override(output_dir) if paths else []
    words = rebuild_overrides(config, trained="batch_size" in description, paths=paths)
    lines = [] if words is None else [format_command(*words, *place)]
    later: dict[tuple[str, ...], set[float]] = defaultdict(set)  # how it was scored beyond that -> with which labels
    for _, result in run.results():
        if result["probe"] != CLASSIFIER_PROBE and not is_made_by_run(result, config):
            later[build_scoring_overrides(result, config)].add(get_label_fraction(result))
    for scored, fractions in later.items():
        share = f"label_fraction=[{','.join(f'{each:g}' for each in sorted(fractions))}]"
        lines.append(format_command("evaluate", f"run={run.name}", *scored, *[share] * (fractions != {1.0}), *place))
    return lines


def is_made_by_run(result: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """Whether the run's own command gives this result."""
    own = config.get("probe", {}).get(result["probe"], {})
    asked = {key: value for key, value in own.items() if key != "name"}
    return asked == result["settings"] and get_label_fraction(result) in config.get("label_fraction", [1.0])


def get_label_fraction(result: Mapping[str, Any]) -> float:
    return float(result.get("labels", {}).get("fraction", 1.0))


def build_scoring_overrides(result: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[str, ...]:
    """The probe, and its settings that are not the run's."""
    probe, settings = result["probe"], dict(result["settings"])
    usual = config.get("probe", {}).get(probe) or read_default_settings(probe, str(config.get("recipe")))
    if settings.get(SETTINGS_ORIGIN) in (TUNED_ORIGIN, PAPER_ORIGIN):  # which says where these two are from
        settings = {key: value for key, value in settings.items() if key not in TUNABLE_KEYS}
    differing = [
        f"probe.{probe}.{key}={format_value(value)}"
        for key, value in settings.items()
        if value != usual.get(key) and value != "typed"
    ]
    return (f"probe=[{probe}]", *differing)
