"""Print at the end of a sweep what a search has found, or what `dry_run=true` estimates. Imports no torch."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from lowres_ssl.config.overrides import format_command
from lowres_ssl.console import format_bytes, format_duration, pluralise
from lowres_ssl.sweeps.jobs import OBJECTIVE_NAME, is_in_sweep, iter_notes, write_note

ESTIMATE_NOTE = "estimate"


class Found(Callback):
    """Print what a search has found, and what to type for it. Hydra calls it."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        path = Path(config.hydra.sweep.dir) / "optimization_results.yaml"
        if not path.exists():
            return
        found = OmegaConf.load(path)
        chosen = {f"{key}": f"{key}={value}" for key, value in found.best_params.items()}
        fixed = [each for each in config.hydra.overrides.task if each.partition("=")[0] not in chosen]
        fraction = max(config.get("label_fraction") or [1.0])  # of several, the score is of the largest
        labels = "" if fraction == 1 else f" with {100 * fraction:g}% of the labels"
        print(f"best {OBJECTIVE_NAME}{labels}: {found.best_value:.4f}, by")
        print(format_command(config.hydra.job.config_name, *fixed, *chosen.values()), flush=True)


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


def print_estimate(estimate: RunEstimate) -> None:
    """Print it; in a sweep leave it for the end as well."""
    to_go = f", {estimate.views:,} views to go, about {format_duration(estimate.seconds)}" if estimate.views else ""
    print(f"{estimate.run}: {estimate.state}{to_go}", flush=True)
    if is_in_sweep():
        write_note(ESTIMATE_NOTE, asdict(estimate))


class Totals(Callback):
    """Add up the estimates of a dry sweep's jobs, whichever process they ran in. Hydra calls it."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        estimates = [RunEstimate(**note) for note in iter_notes(Path(config.hydra.sweep.dir), ESTIMATE_NOTE)]
        if estimates:
            print(format_total(estimates), flush=True)


def format_total(estimates: Sequence[RunEstimate]) -> str:
    """Format one line on all of them; a run or a store that several need counts once."""
    runs = {each.run: each for each in estimates}.values()
    to_go = [each for each in runs if each.views]
    text = (
        f"{pluralise(len(runs), 'run')}: {len(runs) - len(to_go)} finished or with nothing to train, {len(to_go)} to go"
    )
    if not to_go:
        return text
    views, seconds = sum(each.views for each in to_go), sum(each.seconds for each in to_go)
    size = sum(each.size for each in to_go) + sum({each.store: each.store_size for each in to_go}.values())
    return (
        f"{text}; {views:,} views at {views / seconds:,.1f} a second, measured here: about {format_duration(seconds)} "
        f"of training; disk: about {format_bytes(size)}"
    )
