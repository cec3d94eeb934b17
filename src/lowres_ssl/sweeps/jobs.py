"""Run the jobs of sweeps and searches: report failures where they happen and at the end, and the best of a search.

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
from statistics import mean
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from lowres_ssl.config.check import PretrainConfig
from lowres_ssl.config.error_messages import CRASH_CODE, describe_error
from lowres_ssl.config.overrides import format_command
from lowres_ssl.console import log_error, pluralise, write_line
from lowres_ssl.errors import ConfigError, escape_line
from lowres_ssl.io.atomic import write_json
from lowres_ssl.runs.records import ResultRecord

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Note = TypeVar("Note", bound=DataclassInstance)
else:
    Note = TypeVar("Note")


def is_in_sweep() -> bool:
    """Whether the job at hand is one of a sweep."""
    return HydraConfig.get().mode is RunMode.MULTIRUN


def write_note(kind: str, note: "DataclassInstance") -> None:
    """Of the job at hand, which is one of a sweep."""
    hydra = HydraConfig.get()
    write_json(get_note_path(Path(hydra.sweep.dir), kind, hydra.job.num), asdict(note))


def get_note_path(folder: Path, kind: str, number: int) -> Path:
    return folder / f"{kind}-{number}.json"


def iter_notes(folder: Path, kind: str, note: type[Note]) -> Iterator[Note]:
    """Those of a kind that jobs left there, in the jobs' order."""
    for path in sorted(folder.glob(f"{kind}-*.json"), key=lambda path: int(path.stem.removeprefix(f"{kind}-"))):
        yield note(**json.loads(path.read_text(encoding="utf-8")))


FAILURE_NOTE = "failed"


@dataclass(frozen=True)
class Failure:
    """What a job would have ended with, and what to type to run it alone."""

    command: str
    message: str
    exit_code: int


def run_job(main: Callable[[DictConfig], object], command: str, cfg: DictConfig) -> object:
    """What `main` returns; None for a job of a sweep that failed.

    A job alone ends with `SystemExit` and the exit code: at any `Exception` Hydra would add words of its own.
    """
    try:
        return main(cfg)
    except Exception as error:
        message, code = describe_error(error, command, cfg)
        if message is None:
            traceback.print_exc()
            message = f"a defect of lowres-ssl: {type(error).__name__}: {' '.join(str(error).split())}"
        log_error(message)
        if not is_in_sweep():
            raise SystemExit(code) from error
    # Only here are the exception and what its frames held gone.
    free_memory()
    write_note(FAILURE_NOTE, Failure(format_command(command, *HydraConfig.get().overrides.task), message, code))
    return None


def free_memory() -> None:
    """Give back what nothing refers to any more: the next job needs it."""
    gc.collect()
    torch = sys.modules.get("torch")  # a job that failed before PyTorch was loaded has taken nothing
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


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
    """Hydra calls it: it lists what failed in a sweep, and ends the sweep with the exit code of the first."""

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
        write_line("")
        log_error(f"{pluralise(len(failures), 'job')} of this sweep failed. Each again, when it is mended:")
        for failure in failures:
            write_line(escape_line(failure.command))
            write_line(f"    {escape_line(failure.message)}")
    return failures


def iter_failures(folder: Path) -> Iterator[Failure]:
    """Those that the jobs of the sweep with this folder left, in the jobs' order."""
    return iter_notes(folder, FAILURE_NOTE, Failure)


OBJECTIVE_NAME = "validation accuracy of KNN"


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


def compute_objective(results: Sequence[ResultRecord]) -> float | None:
    """Of a run's results: KNN's validation accuracy, of several draws of the labels the mean; none without KNN or
    without validation images. Test scores are not looked at."""
    scores = [result.validation for result in results if result.probe == "knn"]
    return mean(score.accuracy for score in scores if score) if scores and all(scores) else None


class Found(Callback):
    """Hydra calls it: it prints what a search has found, and what to type for it."""

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
