"""Turns between processes: each contestant lives in a process of its own, and takes its turn while the others wait.

So no contestant has another's allocator, threads or caches, and whatever the machine does meanwhile befalls them all.
"""

import json
import signal
import subprocess
import sys
from dataclasses import asdict
from importlib import import_module
from types import TracebackType

from speed.contestants import Case, Taken

OUT_OF_MEMORY = "out of memory"


class EndedError(Exception):
    """A contestant's process is no more; the text says why, in a few words."""


class Contestant:
    """A process that answers a number of steps with the seconds they took. Raises `EndedError` if it is no more."""

    def __init__(self, name: str, case: Case) -> None:
        command = [sys.executable, "-m", "speed.turns", name, json.dumps(asdict(case))]
        self.name, self.case = name, case
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> "Contestant":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.communicate()

    def warm_up(self) -> float:
        """Views a second of its last step. On a GPU a step is compiled in its first run, and recorded in its second."""
        for _ in range(1 if self.case.device == "cpu" else 3):
            taken = self.turn(1)
        return self.views_a_second(1, taken.steps)

    def turn(self, steps: int) -> Taken:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(f"{steps}\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            code = self.process.wait()
            killed = f"killed, as by a system {OUT_OF_MEMORY}" if code == -signal.SIGKILL else f"ended with {code}"
            raise EndedError(killed)
        if answer.strip() == OUT_OF_MEMORY:
            raise EndedError(OUT_OF_MEMORY)
        return Taken(**json.loads(answer))

    def views_a_second(self, steps: int, seconds: float) -> float:
        return 2 * self.case.batch_size * steps / seconds


def main() -> None:
    answers = sys.stdout
    sys.stdout = sys.stderr  # whatever a library prints is no answer
    name, case = sys.argv[1], json.loads(sys.argv[2])
    try:
        epoch = import_module(f"speed.contestants.{name}").enter(Case(**case | {"overrides": tuple(case["overrides"])}))
        for line in sys.stdin:
            print(json.dumps(asdict(epoch(int(line)))), file=answers, flush=True)
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            print(OUT_OF_MEMORY, file=answers, flush=True)
        raise


def is_out_of_memory(error: Exception) -> bool:
    """Python's, CUDA's by torch, or that of torch's CPU allocator, which raises a plain `RuntimeError`."""
    said = str(error)
    return isinstance(error, MemoryError) or OUT_OF_MEMORY in said or "allocate memory" in said


if __name__ == "__main__":
    main()
