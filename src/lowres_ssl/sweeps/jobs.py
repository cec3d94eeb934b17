"""Run the jobs of sweeps: report failures where they happen and again at the end.

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
from omegaconf import DictConfig

from lowres_ssl.config.error_messages import CRASH_CODE, describe_error
from lowres_ssl.config.experiment_schema import PretrainConfig
from lowres_ssl.config.overrides import format_command
from lowres_ssl.console import log_error, pluralise, write_line
from lowres_ssl.errors import ConfigError, escape_line
from lowres_ssl.io.atomic import write_json

FAILURE_NOTE = "failed"
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


class Failures(Callback):
    """List what failed in a sweep, and end the sweep with the exit code of the first. Hydra calls it."""

    folder: ClassVar[Path | None] = None  # of the sweep at hand

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        Failures.folder = Path(config.hydra.sweep.dir)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        failures = print_failures()
        if failures:
            raise SystemExit(failures[0].exit_code)


def print_failures() -> list[Failure]:
    """List what failed in the sweep at hand; if there is none, nothing."""
    folder, Failures.folder = Failures.folder, None
    failures = [] if folder is None else list(iter_failures(folder))
    if failures:
        log_error(f"{pluralise(len(failures), 'job')} of this sweep failed. Each again, when it is mended:")
        for failure in failures:
            write_line(f"{escape_line(failure.command)}\n    {escape_line(failure.message)}")
    return failures
