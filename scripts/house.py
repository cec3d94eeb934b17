"""Measure the code: lines, modules, long parameter lists, cycles of packages, and say/tell in 1,000 words of docs."""

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "lowres_ssl"
TOLD = re.compile(r"\b(say|says|said|tell|tells|told)\b", re.IGNORECASE)


def count_lines(folder: Path) -> list[int]:
    return [len(path.read_text(encoding="utf-8").splitlines()) for path in folder.rglob("*.py")]


def find_cycle(imports: dict[str, set[str]]) -> list[str]:
    """Return the packages of one import cycle, or nothing."""
    try:
        TopologicalSorter({name: found - {name} for name, found in imports.items()}).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def measure() -> None:
    imports: dict[str, set[str]] = {}
    parameters: list[int] = []
    docstrings: list[str] = []
    for path in PACKAGE.rglob("*.py"):
        own = imports.setdefault(path.relative_to(PACKAGE).parts[0].removesuffix(".py"), set())
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lowres_ssl."):
                own.add(str(node.module).split(".")[1])
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                names = [each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
                parameters.append(len(set(names) - {"self", "cls"}))
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
                docstrings.append(ast.get_docstring(node) or "")
    src, tests = count_lines(PACKAGE), count_lines(ROOT / "tests")
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]
    print(f"src: {sum(src)} lines, {len(src)} modules, longest {max(src)}, below 60: {sum(n < 60 for n in src)}")
    print(f"tests: {sum(tests)} lines, {len(tests)} modules")
    print(f"functions: {len(parameters)}, of more than 8 parameters: {sum(n > 8 for n in parameters)}")
    print(f"packages: {len(imports)}, cycle: {' -> '.join(find_cycle(imports)) or 'none'}")
    for name, texts in (("docs", [page.read_text(encoding="utf-8") for page in pages]), ("docstrings", docstrings)):
        words = " ".join(texts)
        print(f"say/tell in 1,000 words of {name}: {1000 * len(TOLD.findall(words)) / len(words.split()):.1f}")


if __name__ == "__main__":
    measure()
