"""Print what `dry_run=true` estimates of a run, and add it up at the end of a sweep. Imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from lowres_ssl.console import format_bytes, format_duration, pluralise
from lowres_ssl.sweeps.jobs import is_in_sweep, iter_notes, write_note

ESTIMATE_NOTE = "estimate"


@dataclass(frozen=True)
class RunEstimate:
    """Of one run: its name, its state ("finished", "epoch 3 of 12", "not begun"), the views it has still to train on,
    how many seconds that takes on this machine, as measured, and the bytes it would add to the disk."""

    run: str
    state: str
    views: int = 0
    seconds: float = 0.0
    size: int = 0
    store: str = ""  # the decoded images it needs, which runs share
    store_size: int = 0  # 0 if they are there

    def line(self) -> str:
        if not self.views:
            return f"{self.run}: {self.state}"
        return f"{self.run}: {self.state}, {self.views:,} views to go, about {format_duration(self.seconds)}"


def print_estimate(estimate: RunEstimate) -> None:
    """Print it; in a sweep leave it for the end as well."""
    print(estimate.line(), flush=True)
    if is_in_sweep():
        write_note(ESTIMATE_NOTE, estimate)


class Totals(Callback):
    """Add up the estimates of a dry sweep's jobs, whichever process they ran in. Hydra calls it."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        estimates = list(iter_notes(Path(config.hydra.sweep.dir), ESTIMATE_NOTE, RunEstimate))
        if estimates:
            print(format_total(estimates), flush=True)


def format_total(estimates: Sequence[RunEstimate]) -> str:
    """Format one line on all of them; a run or a store that several need counts once."""
    runs = {each.run: each for each in estimates}.values()
    to_go = [each for each in runs if each.views]
    finished = len(runs) - len(to_go)
    text = f"{pluralise(len(runs), 'run')}: {finished} finished or with nothing to train, {len(to_go)} to go"
    if not to_go:
        return text
    seconds = sum(each.seconds for each in to_go)
    speeds = list(dict.fromkeys(f"{speed([each.views / each.seconds for each in to_go]):,.1f}" for speed in (min, max)))
    size = sum(each.size for each in to_go) + sum({each.store: each.store_size for each in to_go}.values())
    return (
        f"{text}; {sum(each.views for each in to_go):,} views at {' to '.join(speeds)} a second, measured here: about "
        f"{format_duration(seconds)} of training; disk: about {format_bytes(size)}"
    )
