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


def test_the_list_of_benchmarks_has_all() -> None:
    listed = re.findall(r"python -m speed\.(\w+)", (FOLDER / "__init__.py").read_text())
    assert sorted(listed) == COMMANDS


def test_every_benchmark_says_what_it_takes_and_every_contestant_can_be_imported() -> None:
    theirs = importlib.util.find_spec("lightly") is not None
    names = [name for name in CONTESTANTS if theirs or not name.startswith("lightly")]
    program = f"""
import sys
from importlib import import_module
for name in {COMMANDS}:
    sys.argv = [name, "--help"]
    try:
        import_module("speed." + name).main()
    except SystemExit as end:
        assert end.code == 0, name
for name in {names}:
    import_module("speed.contestants." + name)
"""
    # In a process of its own: what a peer warns of when it is imported is not ours.
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert answer.returncode == 0, answer.stderr
    assert re.findall(r"^usage: (\w+)", answer.stdout, re.MULTILINE) == COMMANDS
