"""Jobs, and sweeps of them: what failed is said where it happens, and all of it once more at the sweep's end.

A job of a sweep that fails does not raise. Hydra would carry the exception to the sweep's end, and with it whatever
its frames hold, a model and its optimiser for one; then it would show the first one only. So the job leaves a line in
the sweep's folder, which serves every launcher and every sweeper, whichever process the jobs run in.
"""

import gc
import json
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from lowres_ssl.atomic import write_json
from lowres_ssl.errors import in_one_line
from lowres_ssl.failures import describe
from lowres_ssl.terminal import count, fail, write


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
        if HydraConfig.get().mode is not RunMode.MULTIRUN:
            raise SystemExit(code) from error
    # Only here are the exception and what its frames held gone.
    free_memory()
    typed = shlex.join(["lowres-ssl", command, *HydraConfig.get().overrides.task])
    keep(Failure(typed, message, code))
    return None


def free_memory() -> None:
    """Give back what nothing refers to any more: the next job needs it."""
    gc.collect()
    torch = sys.modules.get("torch")  # a job that failed before PyTorch was loaded has taken nothing
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def keep(failure: Failure) -> None:
    hydra = HydraConfig.get()
    write_json(Path(hydra.sweep.dir) / f"failed-{hydra.job.num}.json", asdict(failure))


def failures_in(folder: Path) -> Iterator[Failure]:
    """Those that jobs left there, in the jobs' order."""
    for path in sorted(folder.glob("failed-*.json"), key=lambda path: int(path.stem.removeprefix("failed-"))):
        yield Failure(**json.loads(path.read_text(encoding="utf-8")))


class Failures(Callback):
    """Hydra calls it: it lists what failed in a sweep, and ends the sweep with the exit code of the first."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        failures = list(failures_in(Path(config.hydra.sweep.dir)))
        if failures:
            write("")
            fail(f"{count(len(failures), 'job')} of this sweep failed. Each again, when it is mended:")
            for failure in failures:
                write(in_one_line(failure.command))
                write(f"    {in_one_line(failure.message)}")
            raise SystemExit(failures[0].exit_code)
