"""Jobs, and sweeps of them: what failed is said where it happens, and all of it once more at the sweep's end.

A job of a sweep that fails does not raise. Hydra would carry the exception to the sweep's end, and with it whatever
its frames hold, a model and its optimiser for one; then it would show the first one only. So the job leaves a line in
the sweep's folder, which serves every launcher and every sweeper, whichever process the jobs run in.
"""

import gc
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from lowres_ssl.command_line.failures import CRASH, describe
from lowres_ssl.command_line.overrides import command_line
from lowres_ssl.errors import in_one_line
from lowres_ssl.files.atomic import write_json
from lowres_ssl.sweeps.notes import in_a_sweep, leave, left, place
from lowres_ssl.terminal import count, fail, write

KIND = "failed"


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
        message, code = describe(error, command, cfg)
        if message is None:
            traceback.print_exc()
            message = f"a defect of lowres-ssl: {type(error).__name__}: {' '.join(str(error).split())}"
        fail(message)
        if not in_a_sweep():
            raise SystemExit(code) from error
    # Only here are the exception and what its frames held gone.
    free_memory()
    leave(KIND, Failure(command_line(command, *HydraConfig.get().overrides.task), message, code))
    return None


def free_memory() -> None:
    """Give back what nothing refers to any more: the next job needs it."""
    gc.collect()
    torch = sys.modules.get("torch")  # a job that failed before PyTorch was loaded has taken nothing
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def note_death(config: DictConfig, number: int, overrides: Sequence[str], why: str) -> None:
    """Note a failure for a job that could not: its process is gone. `config`: the sweep's; `number`: the job's.

    What a job said itself, or another process of the same job, is left as it is.
    """
    path = place(Path(config.hydra.sweep.dir), KIND, number)
    if not path.exists():
        message = f"{why}; the same command goes on from what was saved"
        fail(f"job {number}: {message}")
        write_json(path, asdict(Failure(command_line(config.hydra.job.config_name, *overrides), message, CRASH)))


class Failures(Callback):
    """Hydra calls it: it lists what failed in a sweep, and ends the sweep with the exit code of the first."""

    folder: ClassVar[Path | None] = None  # of the sweep at hand

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        Failures.folder = Path(config.hydra.sweep.dir)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        failures = tell_failures()
        if failures:
            raise SystemExit(failures[0].exit_code)


def tell_failures() -> list[Failure]:
    """List what failed in the sweep at hand; if there is none, nothing."""
    folder, Failures.folder = Failures.folder, None
    failures = [] if folder is None else list(failures_in(folder))
    if failures:
        write("")
        fail(f"{count(len(failures), 'job')} of this sweep failed. Each again, when it is mended:")
        for failure in failures:
            write(in_one_line(failure.command))
            write(f"    {in_one_line(failure.message)}")
    return failures


def failures_in(folder: Path) -> Iterator[Failure]:
    """Those that the jobs of the sweep with this folder left, in the jobs' order."""
    return left(folder, KIND, Failure)
