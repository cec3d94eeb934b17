"""Count the files that `lowres-ssl pretrain` crosses from argv to result.json, on a tiny phantom run.

    python scripts/walk_of_a_run.py [-v] [key=value ...]

Two counts, both of our functions in the order of their first calls in the main thread, from the call of `main` to its
end. A function that is called again adds no step, so that the numbers of steps, epochs and images do not matter.
Lambdas, comprehensions and generated methods are no functions here.

- every call: each function counts, whatever called it: down to the crop of a view and the lock of a file.
- the walk: what a reader follows to know what a run does and in which order. A function counts if a function of `cli/`,
  `commands/`, `experiment/` or the training loop (`train/loop.py`) calls it directly; what another package does inside
  a call does not count. Nor do messages to the terminal (`console.py`), reading a property such as the path of a file,
  the two ends of a `with` block, and what Hydra calls.

A file counts if a counted function stands in it. A change of file is a step to a function of another file than that of
the step before. `-v` prints the walk.
"""

import sys
import tempfile
from dataclasses import dataclass
from inspect import CO_OPTIMIZED
from itertools import groupby, pairwise
from os import chdir
from pathlib import Path
from types import CodeType, FrameType

import lowres_ssl
from lowres_ssl.cli.main import main

ROOT = Path(lowres_ssl.__file__).parent
WALKED = ("cli/", "commands/", "experiment/", "train/loop.py")
TINY_RUN = (
    *("dataset=phantom", "dataset.subset=40", "backbone=resnet18", "image_size=20", "epochs=1", "batch_size=8"),
    # Without a checkpoint in the middle, which a busy machine would have time for.
    *("probe.knn.k=5", "probe.linear.epochs=2", "precision=fp32", "device=cpu", "checkpoint_seconds=86400"),
)


@dataclass(frozen=True)
class Step:
    """The first call of a function, and the file of ours that called it directly ("" for none)."""

    file: str
    function: str
    caller: str

    @property
    def is_of_the_walk(self) -> bool:
        is_block = self.function in ("__enter__", "__exit__")
        return self.caller.startswith(WALKED) and self.file != "console.py" and not is_block


def trace_first_calls(words: list[str]) -> list[Step]:
    """Each function of ours in the order of its first call by each file in `lowres-ssl WORDS`."""
    seen: dict[tuple[CodeType, str], None] = {}
    ours = str(ROOT)  # once: this is called a million times

    def note_call(frame: FrameType, event: str, argument: object) -> None:
        if frame.f_code.co_filename.startswith(ours):
            caller = "" if frame.f_back is None else frame.f_back.f_code.co_filename
            seen.setdefault((frame.f_code, get_file(caller)))

    sys.argv = ["lowres-ssl", *words]
    sys.settrace(note_call)  # of calls alone, since it returns no function for what comes after one
    try:
        main()
    finally:
        sys.settrace(None)
    properties = list_properties()
    return [
        Step(get_file(code.co_filename), code.co_name, caller)
        for code, caller in seen
        if not code.co_name.startswith("<")
        and code.co_flags & CO_OPTIMIZED  # the body of a class has no such flag
        and code not in properties
    ]


def get_file(path: str) -> str:
    """Return a file of ours by its place in the package, "" for another."""
    return Path(path).relative_to(ROOT).as_posix() if path.startswith(str(ROOT)) else ""


def list_properties() -> set[CodeType]:
    """List the code of every property of our classes."""
    classes = [
        value
        for name, module in list(sys.modules.items())
        if name.startswith("lowres_ssl")
        for value in vars(module).values()
        if isinstance(value, type)
    ]
    values = [value for each in classes for value in vars(each).values()]
    return {value.fget.__code__ for value in values if isinstance(value, property) and value.fget is not None}


def format_counts(steps: list[Step]) -> str:
    first = list({(step.file, step.function): step.file for step in steps}.values())
    changes = sum(one != two for one, two in pairwise(first))
    return f"{len(set(first))} files, {changes} changes of file, {len(first)} functions"


if __name__ == "__main__":
    verbose, typed = "-v" in sys.argv, [word for word in sys.argv[1:] if word != "-v"]
    with tempfile.TemporaryDirectory() as folder:
        chdir(folder)
        steps = trace_first_calls(["--quiet", "pretrain", *TINY_RUN, *typed])
        chdir("/")
    walk = [step for step in steps if step.is_of_the_walk]
    if verbose:
        for file, group in groupby(
            dict.fromkeys((step.file, step.function) for step in walk), key=lambda step: step[0]
        ):
            print(f"{file}: {', '.join(name for _, name in group)}")
    print(f"the walk: {format_counts(walk)}\nevery call: {format_counts(steps)}")
