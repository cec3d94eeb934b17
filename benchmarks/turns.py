"""Turns between processes: each contestant lives in a process of its own, and takes its turn while the others wait.

So no contestant has another's allocator, threads or caches, and whatever the machine does meanwhile befalls them all.
"""

import json
import subprocess
import sys
from dataclasses import asdict
from importlib import import_module
from types import TracebackType

from benchmarks.contestants import Case


class Contestant:
    """A process that answers a number of steps with the seconds they took."""

    def __init__(self, name: str, case: Case) -> None:
        command = [sys.executable, "-m", "benchmarks.turns", name, json.dumps(asdict(case))]
        self.name, self.case = name, case
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> "Contestant":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()

    def turn(self, steps: int) -> float:
        """Views a second over an epoch of `steps` steps."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.name} ended with {self.process.wait()}; what it said stands above")
        return 2 * self.case.batch_size * steps / float(answer)


def main() -> None:
    answers = sys.stdout
    sys.stdout = sys.stderr  # whatever a library prints is no answer
    name, case = sys.argv[1], json.loads(sys.argv[2])
    epoch = import_module(f"benchmarks.contestants.{name}").enter(
        Case(**case | {"overrides": tuple(case["overrides"])})
    )
    for line in sys.stdin:
        print(epoch(int(line)), file=answers, flush=True)


if __name__ == "__main__":
    main()
