"""What `dry_run=true` says: what is there, what would run, how long and how large; of a run, and of a sweep."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from lowres_ssl.console import format_bytes, format_duration, pluralise
from lowres_ssl.sweeps.jobs import is_in_sweep, iter_notes, write_note

ESTIMATE_NOTE = "forecast"


@dataclass(frozen=True)
class RunEstimate:
    """Of one run: its name, its state ("finished", "epoch 3 of 12", "not begun"), the views it has still to train on,
    how many seconds that takes on this machine, as measured, and the bytes it would add to the disk."""

    run: str
    state: str
    views: int
    seconds: float
    size: int
    store: str  # the decoded images it needs, which runs share
    store_size: int  # 0 if they are there

    def line(self) -> str:
        if not self.views:
            return f"{self.run}: {self.state}"
        return f"{self.run}: {self.state}, {self.views:,} views to go, about {format_duration(self.seconds)}"


class Totals(Callback):
    """Hydra calls it: it adds up what the jobs of a dry sweep foretold, whichever process they ran in."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        forecasts = list(iter_notes(Path(config.hydra.sweep.dir), ESTIMATE_NOTE, RunEstimate))
        if forecasts:
            print(format_total(forecasts), flush=True)


def print_estimate(forecast: RunEstimate) -> None:
    """Print it, and leave it for the sweep's end, if the job at hand is one of a sweep."""
    print(forecast.line(), flush=True)
    if is_in_sweep():
        write_note(ESTIMATE_NOTE, forecast)


def format_total(forecasts: Sequence[RunEstimate]) -> str:
    """One line on all of them; a run or a store that several need counts once."""
    runs = {each.run: each for each in forecasts}.values()
    to_go = [each for each in runs if each.views]
    stores = {each.store: each.store_size for each in to_go}
    seconds = sum(each.seconds for each in to_go)
    speeds = sorted({round(each.views / each.seconds, 1) for each in to_go})
    text = (
        f"{pluralise(len(runs), 'run')}: {len(runs) - len(to_go)} finished or with nothing to train, {len(to_go)} to go"
    )
    if not to_go:
        return text
    measured = f"{speeds[0]:,g}" if len(speeds) == 1 else f"{speeds[0]:,g} to {speeds[-1]:,g}"
    size = sum(each.size for each in to_go) + sum(stores.values())
    return (
        f"{text}; {sum(each.views for each in to_go):,} views at {measured} a second, measured here: about "
        f"{format_duration(seconds)} of training; disk: about {format_bytes(size)}"
    )
