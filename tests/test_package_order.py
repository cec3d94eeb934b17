"""Check the order of packages: a module imports from its own package and from those before it in `ORDER`."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "src" / "lowres_ssl"
ORDER = (
    "__init__",
    "errors",
    "registry",
    "seeding",
    "environment",
    "console",
    "io",
    "config",
    "device",
    "stats",
    "data",
    "augment",
    "encoders",
    "methods",
    "probes",
    "train",
    "runs",
    "evaluate",
    "sweeps",
    "reporting",
    "inference",
    "tracking",
    "experiment",
    "init",
    "benchmark",
    "commands",
    "cli",
    "__main__",
)
SOURCES = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in sorted(ROOT.rglob("*.py"))}
WITHOUT_TORCH = [
    "cli.main",
    "commands.tables",
    "commands.report",
    "commands.compare",
    "data.image_store",
    "benchmark.runner",
]
RUNS_CODE = {"eval", "exec", "yaml.load", "yaml.unsafe_load", "os.system", "pd.read_pickle", "torch.hub.load"}
SAFE_LOADING = {"torch.load": ("weights_only", "True"), "np.load": ("allow_pickle", "False")}


def imported_packages(tree: ast.AST) -> set[str]:
    """Names of our packages that a source imports, anywhere in it."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "lowres_ssl":
            parts = node.module.split(".")[1:]
            found |= {parts[0]} if parts else {a.name if a.name in ORDER else "__init__" for a in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("lowres_ssl.")}
    return found


@pytest.mark.parametrize("name", SOURCES)
def test_module_keeps_the_order_and_the_rules(name: str) -> None:
    text = SOURCES[name].read_text(encoding="utf-8")
    tree = ast.parse(text)
    place = ORDER.index(name.split(".")[0])
    assert [each for each in imported_packages(tree) if ORDER.index(each) > place] == []
    assert ast.get_docstring(tree)
    assert len(text.splitlines()) <= 300
    assert SOURCES[name].stem not in ("utils", "helpers", "common")
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {a.name for a in node.names} | {getattr(node, "module", "") or ""}
            assert not {each.split(".")[0] for each in names} & {"pickle", "joblib", "dill", "shelve", "marshal"}
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            assert called not in RUNS_CODE
            key, wanted = SAFE_LOADING.get(called, ("", ""))
            assert given.get(key, "False" if called == "np.load" else "") == wanted or not key


def test_commands_that_answer_at_once_load_no_torch() -> None:
    checks = [f"import lowres_ssl.{name}; assert 'torch' not in sys.modules, '{name}'" for name in WITHOUT_TORCH]
    checks.insert(1, "assert 'hydra' not in sys.modules")
    subprocess.run([sys.executable, "-c", "\n".join(["import sys", *checks])], check=True)


def test_launchers_load_neither_torch_nor_an_engine() -> None:
    program = "import sys, hydra_plugins.lowres_ssl; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "joblib", "submitit", "ray"} & set(loaded)
