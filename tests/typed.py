"""A command as it is typed, what it answered, and what it left."""

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest


@dataclass(frozen=True)
class Answer:
    """What a command printed."""

    out: str
    err: str

    @property
    def last_line(self) -> str:
        return self.err.strip().splitlines()[-1]


class Command(Protocol):
    """Type `lowres-ssl ARGUMENTS`, which has to end with the exit code `code`."""

    def __call__(self, *arguments: str, code: int = 0) -> Answer: ...


def be_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Type in this folder, with no variables of the environment that commands read."""
    monkeypatch.chdir(folder)
    for name in ("LOWRES_SSL_DATA", "LOWRES_SSL_OUTPUTS", "FORCE_COLOR", "NO_COLOR", "CI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LOWRES_SSL_QUIET", "")  # so that --quiet is undone


def type_apart(*arguments: str, code: int = 0, launcher: Sequence[str] = (), **environment: str) -> Answer:
    """Type a command in a process of its own, `launcher -m lowres_ssl ARGUMENTS`; with it the processes end that it
    starts."""
    words = [sys.executable, *launcher, "-m", "lowres_ssl", *arguments]
    known = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    done = subprocess.run(words, env=known, capture_output=True, text=True, check=False)
    assert done.returncode == code, f"{shlex.join(words)}\n{done.stderr}"
    return Answer(done.stdout, done.stderr)


def listed(said: str) -> list[tuple[str, str]]:
    """Commands and messages of the list at a sweep's end."""
    end = said.partition("of this sweep failed. Each again, when it is mended:\n")[2]
    return re.findall(r"^(lowres-ssl pretrain .*)\n +(.*)$", end, re.MULTILINE)


def refused(answer: Answer, *parts: str) -> None:
    """The last line of the answer holds every part; there is no traceback, and nothing else was answered."""
    assert "Traceback" not in answer.err
    assert answer.last_line.startswith("lowres-ssl: ")
    for part in parts:
        assert part in answer.last_line
    assert not answer.out


def the_run(pattern: str, folder: Path = Path()) -> Path:
    """The one run of this name in `folder`, by default where commands are typed."""
    (run,) = (folder / "outputs").glob(f"*/{pattern}/")
    return run


def result_of(run: Path, probe: str) -> dict[str, Any]:
    (path,) = run.glob(f"{probe}-*/result.json")
    return dict(json.loads(path.read_text()))


def accuracy_of(run: Path, probe: str = "knn") -> float:
    return float(result_of(run, probe)["test"]["accuracy"])


def history_of(run: Path) -> list[dict[str, float]]:
    text = (run / "history.csv").read_text()
    return [{key: float(value) for key, value in line.items()} for line in csv.DictReader(text.splitlines())]


def everything_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def take_first_job(words: Sequence[str]) -> list[str]:
    """The words of a sweep's first job: without what a sweep alone understands, and with the first of its values."""
    of_a_sweep = re.compile(r"-m$|hydra[/.]|.*interval\(")
    words = [word for word in words if not of_a_sweep.match(word)]
    return [re.sub(r"^([\w.]+=(?:\[[^\[\]]*\]|[^\[,]*)),.*$", r"\1", word) for word in words]


def files_with(folder: Path, *texts: str) -> list[str]:
    """The files below `folder` that hold one of the texts, in a compressed array included."""
    found = []
    for name, content in everything_in(folder).items():
        if name.endswith(".npz"):
            with np.load(folder / name) as arrays:
                content += str([arrays[each].tolist() for each in arrays]).encode()
        if any(text.encode() in content for text in texts):
            found.append(name)
    return found
