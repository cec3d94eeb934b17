"""Measure the code: lines, modules, package cycles, long parameter lists; with --walk, the files one command enters.

python scripts/house.py
python scripts/house.py --walk pretrain method=dcl dataset=phantom backbone=resnet18 image_size=32 epochs=1 probe=[knn]
"""

import ast
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "lowres_ssl"


def measure() -> None:
    lines, imports, parameters = [], {}, []
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        lines.append(len(text.splitlines()))
        own = imports.setdefault(path.relative_to(PACKAGE).parts[0].removesuffix(".py"), set())
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lowres_ssl."):
                own.add(node.module.split(".")[1])
            elif isinstance(node, ast.FunctionDef):
                names = [each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
                parameters.append(len(set(names) - {"self", "cls"}))
    try:
        TopologicalSorter({name: found - {name} for name, found in imports.items()}).prepare()
        cycle = "none"
    except CycleError as error:
        cycle = " -> ".join(error.args[1])
    tests = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / "tests").rglob("*.py"))
    print(f"src: {sum(lines)} lines in {len(lines)} modules, the longest {max(lines)}; tests: {tests} lines")
    print(f"functions of more than 8 parameters: {sum(n > 8 for n in parameters)}; cycle of packages: {cycle}")


def walk(words: list[str]) -> None:
    """Run a command; count the files it enters, and changes of file between first calls of functions."""
    from lowres_ssl.cli.main import main

    calls: dict[tuple[str, str], None] = {}

    def note(frame, event, _) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(str(PACKAGE)):
            calls.setdefault((frame.f_code.co_filename, frame.f_code.co_qualname))

    sys.argv = ["lowres-ssl", *words]
    sys.setprofile(note)
    try:
        main()
    finally:
        sys.setprofile(None)
        files = [file for file, name in calls if name != "<module>"]
        changes = sum(map(str.__ne__, files, files[1:]))
        print(f"{len(set(files))} files, {changes} changes of file")


if __name__ == "__main__":
    walk(sys.argv[2:]) if sys.argv[1:2] == ["--walk"] else measure()
