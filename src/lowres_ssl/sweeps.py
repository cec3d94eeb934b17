"""Run the jobs of sweeps; print at their end what failed, what a search found, or what `dry_run=true` estimates.

A failed job of a sweep does not raise: Hydra would keep the exception, and the model that its frames hold, to the
sweep's end, and show the first one only. It leaves a file in the sweep's folder instead, whichever process it ran in.
"""

import gc
import json
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from lowres_ssl.config.error_messages import CRASH_CODE, describe_error
from lowres_ssl.config.experiment_schema import PretrainConfig
from lowres_ssl.config.overrides import format_command
from lowres_ssl.console import format_bytes, format_duration, log_error, pluralise, write_line
from lowres_ssl.errors import ConfigError, escape_line
from lowres_ssl.io.atomic import write_json

FAILURE_NOTE, ESTIMATE_NOTE = "failed", "estimate"
OBJECTIVE_NAME = "validation accuracy of KNN"  # what a search maximises


def is_in_sweep() -> bool:
    """Whether the job at hand is one of a sweep."""
    return HydraConfig.get().mode is RunMode.MULTIRUN


def check_sweep(config: PretrainConfig, world_size: int) -> None:
    """Raise `ConfigError` for a sweep in processes that share each run, or a search for a score that no run will have.

    Where one of several processes fails in one job, the others are lost for the next.
    """
    if not is_in_sweep():
        return
    hydra = HydraConfig.get()
    if world_size > 1 and hydra.runtime.choices.get("hydra/launcher") == "basic":
        raise ConfigError("-m: not with several processes a run; type one torchrun command a run, without -m")
    if hydra.runtime.choices["hydra/sweeper"] == "basic":
        return
    if config.dry_run:
        raise ConfigError("dry_run=true: a search learns from scores, got none; leave hydra/sweeper out")
    if not config.evaluate or "knn" not in config.probe:
        got = "evaluate=false" if not config.evaluate else f"probe={list(config.probe)}"
        raise ConfigError(
            f"{got}: the search is for the {OBJECTIVE_NAME}, wanted evaluate=true and knn among the probes"
        )
    direction = str(getattr(hydra.sweeper.get("direction"), "name", hydra.sweeper.get("direction")))
    if direction not in ("None", "maximize"):
        raise ConfigError(f"hydra.sweeper.direction={direction}: wanted maximize, as hydra/sweeper=search has it")


def write_note(kind: str, note: dict[str, Any]) -> None:
    """Leave a note of the job at hand, which is one of a sweep, for the sweep's end."""
    hydra = HydraConfig.get()
    write_json(get_note_path(Path(hydra.sweep.dir), kind, hydra.job.num), note)


def get_note_path(folder: Path, kind: str, number: int) -> Path:
    return folder / f"{kind}-{number}.json"


def iter_notes(folder: Path, kind: str) -> Iterator[dict[str, Any]]:
    """Yield the notes of a kind that jobs left there, in the jobs' order."""
    for path in sorted(folder.glob(f"{kind}-*.json"), key=lambda path: int(path.stem.removeprefix(f"{kind}-"))):
        yield json.loads(path.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Failure:
    """What a job would have ended with, and what to type to run it alone."""

    command: str
    message: str
    exit_code: int


def iter_failures(folder: Path) -> Iterator[Failure]:
    """Yield the failures that the jobs of the sweep with this folder left, in the jobs' order."""
    return (Failure(**note) for note in iter_notes(folder, FAILURE_NOTE))


def run_job(main: Callable[[DictConfig], object], command: str, cfg: DictConfig) -> object:
    """Return what `main` returns; None for a job of a sweep that failed.

    A job alone ends with `SystemExit` and the exit code: at any `Exception` Hydra would add words of its own.
    """
    try:
        return main(cfg)
    except Exception as error:
        message, code = describe_error(error, command)
        if message is None:
            traceback.print_exc()
            message = f"a defect of lowres-ssl: {type(error).__name__}: {' '.join(str(error).split())}"
        log_error(message)
        if not is_in_sweep():
            raise SystemExit(code) from error
    # Only here are the exception and what its frames held gone; the next job needs that memory.
    gc.collect()
    torch = sys.modules.get("torch")  # a job that failed before PyTorch was loaded has taken nothing
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    command_line = format_command(command, *HydraConfig.get().overrides.task)
    write_note(FAILURE_NOTE, asdict(Failure(command_line, message, code)))
    return None


def record_lost_job(config: DictConfig, number: int, overrides: Sequence[str], why: str) -> None:
    """Note a failure for a job that could not: its process is gone. `config`: the sweep's; `number`: the job's.

    What a job wrote itself, or another process of the same job, is left as it is.
    """
    path = get_note_path(Path(config.hydra.sweep.dir), FAILURE_NOTE, number)
    if not path.exists():
        message = f"{why}; the same command goes on from what was saved"
        log_error(f"job {number}: {message}")
        write_json(path, asdict(Failure(format_command(config.hydra.job.config_name, *overrides), message, CRASH_CODE)))


class SweepEnd(Callback):
    """Print what the jobs of a sweep left, and end it with the exit code of the first that failed. Hydra calls it."""

    folder: ClassVar[Path | None] = None  # of the sweep at hand

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        SweepEnd.folder = Path(config.hydra.sweep.dir)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        print_found(config)
        if estimates := [RunEstimate(**note) for note in iter_notes(Path(config.hydra.sweep.dir), ESTIMATE_NOTE)]:
            print(format_total(estimates), flush=True)
        if failures := print_failures():
            raise SystemExit(failures[0].exit_code)


def print_failures() -> list[Failure]:
    """List what failed in the sweep at hand; if there is none, nothing."""
    folder, SweepEnd.folder = SweepEnd.folder, None
    failures = [] if folder is None else list(iter_failures(folder))
    if failures:
        log_error(f"{pluralise(len(failures), 'job')} of this sweep failed. Each again, when it is mended:")
        for failure in failures:
            write_line(f"{escape_line(failure.command)}\n    {escape_line(failure.message)}")
    return failures


def print_found(config: DictConfig) -> None:
    """Print what a search has found, if it was one, and what to type for it."""
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
