"""The benchmarks can be started, and one who cannot go on loses nobody else's figures. None is run here."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "speed"
COMMANDS = sorted(
    path.stem
    for path in FOLDER.glob("*.py")
    if "arguments(" in path.read_text() or "ArgumentParser(" in path.read_text()
)
COMMANDS.remove("table")  # which only makes the parser that they share
CONTESTANTS = sorted(path.stem for path in (FOLDER / "contestants").glob("[a-z]*.py"))


def python(code: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: what a peer warns of when it is imported is not ours."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)


def test_the_list_of_benchmarks_has_all() -> None:
    listed = re.findall(r"python -m speed\.(\w+)", (FOLDER / "__init__.py").read_text())
    assert sorted(listed) == COMMANDS


def test_every_benchmark_says_what_it_takes() -> None:
    answer = python(
        f"""
import sys
from importlib import import_module
for name in {COMMANDS}:
    sys.argv = [name, "--help"]
    try:
        import_module("speed." + name).main()
    except SystemExit as end:
        assert end.code == 0, name
"""
    )
    assert answer.returncode == 0, answer.stderr
    assert re.findall(r"^usage: (\w+)", answer.stdout, re.MULTILINE) == COMMANDS


def test_every_contestant_can_be_imported() -> None:
    theirs = importlib.util.find_spec("lightly") is not None
    names = [name for name in CONTESTANTS if theirs or not name.startswith("lightly")]
    answer = python(f"from importlib import import_module\nfor n in {names}: import_module('speed.contestants.' + n)")
    assert answer.returncode == 0, answer.stderr


DYING = {
    "greedy": ("raise RuntimeError('CUDA out of memory. Tried to allocate 2 GiB')", "out of memory"),
    "killed": ("os.kill(os.getpid(), signal.SIGKILL)", "killed, as by a system out of memory"),
    "wrong": ("raise RuntimeError('no such thing')", "ended with 1"),
}


def test_who_ends_is_a_row_and_the_others_keep_theirs(tmp_path: Path) -> None:
    """Contestants of a few lines: one takes a second a step, the others end in one."""
    steady = "from speed.contestants import Taken\ndef enter(case): return lambda steps: Taken(float(steps))\n"
    (tmp_path / "steady.py").write_text(steady)
    for name, (last_words, _) in DYING.items():
        body = f"import os, signal\ndef enter(case):\n    def epoch(steps):\n        {last_words}\n    return epoch\n"
        (tmp_path / f"{name}.py").write_text(body)
    # Contestants are found in their package; the folder becomes one more place of it, in every process.
    (tmp_path / "sitecustomize.py").write_text(
        f"import speed.contestants\nspeed.contestants.__path__.append({str(tmp_path)!r})\n"
    )
    answer = python(
        f"""
import os
os.environ["PYTHONPATH"] = os.pathsep.join([{str(tmp_path)!r}, {str(ROOT)!r}, os.environ.get("PYTHONPATH", "")])
from speed import pretrain
from speed.contestants import Case
names = ["steady", *{list(DYING)}]
pretrain.LABELS.update(zip(names, names))
case = Case((), "simclr", "resnet18", 32, 8, "cpu")
given = pretrain.options().parse_args(["--seconds", "1"])
for way in (pretrain.side_by_side, pretrain.one_at_a_time):
    in_their_trial = [pretrain.best_of(name, case, given) for name in names]
    in_their_turn = [pretrain.Entry(name, case) for name in names]
    for entries in (in_their_trial, in_their_turn):
        way(entries, 2)
        print([row[2:5] for row in pretrain.told_of(entries)])
"""
    )
    assert answer.returncode == 0, answer.stderr
    rows = [["steady", "16.0 (16.0-16.0)", ""], *([name, told, ""] for name, (_, told) in DYING.items())]
    assert answer.stdout == f"{rows}\n" * 4
