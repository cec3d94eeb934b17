"""Arrows point one way: which module may import which, and what a source file must look like.

`LAYERS` is the whole of it, from the bottom up. A module imports from its own layer or from those below. A new file
fails here until it is given its place; a package whose files are found by their name ("methods.*") has one for all.
"""

import ast
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

PACKAGE = "lowres_ssl"
ROOT = Path(__file__).resolve().parents[1] / "src" / PACKAGE
PLUGINS = ROOT.parent / "hydra_plugins" / PACKAGE

LAYERS: tuple[tuple[str, ...], ...] = (
    (
        "__init__",
        "ahead",
        "benchmark",
        "command_line",
        "evaluation",
        "files",
        "own_data",
        "planning",
        "portable",
        "results",
        "schemas",
        "statistics",
        "sweeps",
        "training",
    ),
    ("errors", "files.leftovers", "files.spreadsheets"),
    (
        "files.atomic",
        "benchmark.budget",
        "benchmark.allotment",
        "benchmark.children",
        "schemas.benchmark",
        "portable.tabular",
        "build",
        "command_line.composing",
        "command_line.environment",
        "command_line.keys",
        "files.leases",
        "command_line.overrides",
        "provenance",
        "randomness",
        "files.sealed",
        "files.stored",
        "files.hashes",
        "results.on_disk",
        "terminal",
        "readers",
        "interruption",
        "progress",
        "schemas.table",
        "schemas.experiment",
        "schemas.compare",
        "schemas.figure",
        "schemas.export",
        "schemas.init",
        "own_data.own_conf",
        "own_data.patient_names",
        "schemas.report",
    ),
    (
        "data",
        "data.decode",
        "data.dicom",
        "data.regular",
        "data.folders",
        "data.parallel",
        "data.records",
        "data.deal",
        "data.pseudonyms",
        "data.archive_names",
        "data.table_file",
    ),
    ("data.division", "data.phantom", "data.archives", "sweeps.notes"),
    ("data.splits", "data.sources"),
    ("data.headers",),
    ("data.sources.*", "data.fetch", "data.index", "data.leakage"),
    ("data.store", "data.subset", "data.stream"),
    ("views", "views.ranges", "views.rows", "views.draws", "views.products", "views.geometry", "views.colour"),
    ("views.blur", "views.crop", "views.parameters"),
    ("views.steps",),
    ("views.pipeline",),
    ("views.maker", "views.prefetch", "views.schedule"),
    (
        "losses",
        "finite",
        "device",
        "backbones",
        "checkpoint",
        "training.monitors",
        "evaluation.labels",
        "training.distributed",
    ),
    ("training.residence", "training.gathering", "trackers", "aside"),
    ("trackers.*",),
    ("methods",),
    ("methods.*",),
    ("probes", "probes._heads", "probes._cuda_graph"),
    ("probes._training",),
    ("probes.*", "evaluation.classifier"),
    (
        "training.history",
        "training.optimisation",
        "features",
        "training.forward",
        "training.batches",
        "training.restored",
    ),
    ("training.layout", "training.saving", "training.state"),
    ("pretrain",),
    ("metrics", "runs", "statistics.confusion", "statistics.calibration"),
    ("statistics.uncertainty",),
    ("results.collapse", "results.whereabouts"),
    (
        "results.ledger",
        "results.pruning",
        "results.scoreboard",
        "evaluation.tuning",
        "results.agreement",
        "statistics.comparison",
    ),
    ("results.selection", "statistics.claims", "statistics.significance"),
    ("results.tested",),
    ("results.findings", "benchmark.study"),
    ("benchmark.decision", "benchmark.rounds"),
    ("benchmark.answer",),
    ("evaluation.search",),
    ("config", "command_line.suggestions", "command_line.mistyped"),
    ("command_line.typed_again",),
    ("command_line.images",),
    ("tables",),
    ("tables.missing", "tables.numbers", "tables.formats"),
    ("tables.scores",),
    ("tables.costs",),
    ("tables.recipes", "tables.tuned"),
    (
        "command_line.failures",
        "command_line.completion",
        "planning.preparation",
        "own_data.known_sets",
        "planning.encoders",
        "planning.augmentation",
        "own_data.survey",
        "own_data.dataset_file",
        "own_data.table_guess",
        "own_data.class_folders",
        "own_data.fitting",
    ),
    ("figures", "figures._style", "planning.examples"),
    ("figures._panel",),
    ("figures.*",),
    ("report",),
    ("report.*",),
    ("report.payload", "report.runs_table"),
    ("report.assembly",),
    ("planning.identity", "evaluation.frozen", "portable.encoder"),
    ("evaluation.probing", "portable.embedding", "portable.destination", "portable.request"),
    ("artefacts", "portable.prediction"),
    ("watching",),
    ("planning.plan", "ahead.forecast", "api", "benchmark.asking"),
    ("ahead.expectation", "planning.step"),
    ("evaluation.scoring",),
    ("exports",),
    ("exports.*",),
    ("ahead.pace",),
    ("ahead.dry_run",),
    ("sweeps.jobs", "benchmark.costs"),
    ("sweeps.objective", "benchmark.running"),
    ("commands",),
    ("commands.*",),
    ("cli",),
    ("__main__",),
)

# What a module may not import, directly or through what it imports; "data.*" stands for all below data.
FORBIDDEN: dict[str, tuple[str, ...]] = {
    "probes.*": ("backbones", "checkpoint", "features", "data", "views", "methods", "metrics", "config", "runs"),
    "methods.*": ("data", "probes", "metrics", "views", "features", "config", "runs"),
    "data.*": ("torch", "config", "methods", "probes", "views", "runs"),
    "views.*": ("data", "methods", "probes", "config", "runs"),
    "losses": ("methods", "data", "config"),
    "trackers.*": ("torch", "data", "views", "methods", "probes", "config", "runs"),
    "metrics": ("torch", "probes"),
    "pretrain": ("probes", "metrics", "runs", "config", "evaluation.probing"),
    "training.state": ("probes", "metrics", "runs", "config", "evaluation.probing"),
    **{f"figures.{name}": ("torch", "probes", "methods") for name in ("batch_size", "tsne", "labels")},
    "results.scoreboard": ("torch",),
    "results.collapse": ("torch",),
    "results.ledger": ("torch",),
    "results.tested": ("torch", "config"),
    "statistics.uncertainty": ("torch", "probes", "data", "runs"),
    "tables.*": ("torch", "probes", "methods"),
    "commands.tables": ("torch",),
    "statistics.calibration": ("torch", "probes", "data", "runs"),
    "portable.tabular": ("torch", "data", "config"),
    "report.*": ("torch", "probes", "methods"),
    "commands.report": ("torch",),
    "statistics.comparison": ("torch", "probes", "data", "runs"),
    "statistics.claims": ("torch", "probes", "data", "runs"),
    "results.findings": ("torch", "config"),
    "commands.compare": ("torch",),
    "benchmark.running": ("torch",),
    "benchmark.answer": ("torch", "config"),
    "benchmark.decision": ("torch", "config"),
    "evaluation.tuning": ("torch",),
    "evaluation.search": ("data", "checkpoint", "features", "metrics", "config"),
    "runs": ("torch", "config"),
    "watching": ("matplotlib", "pandas", "sklearn"),  # every training waits for what it loads
    "cli": ("torch",),
    "config": ("torch",),
    "errors": ("torch", "omegaconf", "hydra"),
    "command_line.overrides": ("torch", "omegaconf", "hydra"),
}
TORCHLESS = (
    "__init__",
    "errors",
    "command_line.overrides",
    "cli",
    "runs",
    "config",
    "commands.tables",
    "commands.figures",
    "commands.report",
    "figures.tsne",
)

# What the launchers may know of us. Hydra loads them whenever it starts, an engine when it is asked for.
OF_LAUNCHERS = ("errors", "terminal", "sweeps.*")
ENGINES = ("joblib", "submitit", "ray")

Imports = Mapping[str, set[str]]


def name_of(path: Path) -> str:
    """ "data.store" for data/store.py, "data" for data/__init__.py, "__init__" for the package itself."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


SOURCES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}
LAUNCHERS = {f"hydra_plugins.{path.stem}": path for path in sorted(PLUGINS.rglob("*.py"))}


def imports_in(source: str, name: str, modules: Iterable[str]) -> set[str]:
    """What the source of module `name` imports, anywhere in it: our modules without "lowres_ssl.", others' first name.

    `from lowres_ssl.views import colour` is the module views.colour, `from lowres_ssl.errors import DataError` is
    errors. `modules` are ours.
    """
    modules = set(modules)
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {resolved(alias.name, modules) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = node.module or ""
            if node.level:
                is_package = any(module.startswith(f"{name}.") for module in modules)
                above = [PACKAGE, *name.split(".")] if name != "__init__" else [PACKAGE, ""]
                kept = above[: len(above) - node.level + is_package]
                start = ".".join([*kept, *([start] if start else [])])
            found |= {resolved(f"{start}.{alias.name}", modules) for alias in node.names}
    return found - {name}


def resolved(dotted: str, modules: set[str]) -> str:
    first, _, rest = dotted.partition(".")
    if first != PACKAGE:
        return first
    parts = rest.split(".")
    candidates = [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
    return next((candidate for candidate in candidates if candidate in modules), "__init__")


def matches(pattern: str, name: str) -> bool:
    """Whether a name is meant by a pattern: itself, or for "x.*" whatever lies below x."""
    return name == pattern or (pattern.endswith(".*") and name.startswith(pattern[:-1]))


def layer_of(name: str, layers: tuple[tuple[str, ...], ...] = LAYERS) -> int | None:
    """The place of a module: where it stands by its own name, else where its package's "x.*" stands."""
    for wanted in (lambda p: p == name, lambda p: matches(p, name)):
        for place, layer in enumerate(layers):
            if any(wanted(pattern) for pattern in layer):
                return place
    return None


def wrong_arrows(imports: Imports, layers: tuple[tuple[str, ...], ...] = LAYERS) -> list[str]:
    """A line an import that goes up, and a line a module without a place."""
    faults = []
    for name, targets in sorted(imports.items()):
        own = layer_of(name, layers)
        if own is None:
            faults.append(f"{name} has no layer")
            continue
        for target in sorted(targets & imports.keys()):
            place = layer_of(target, layers)
            if place is not None and place > own:
                faults.append(f"{name} imports {target}, which is above it")
    return faults


def reached(name: str, imports: Imports) -> set[str]:
    """All that a module imports, directly or through what it imports."""
    seen: set[str] = set()
    waiting = set(imports[name])
    while waiting:
        target = waiting.pop()
        seen.add(target)
        waiting |= imports.get(target, set()) - seen
    return seen


def forbidden_imports(imports: Imports, forbidden: Mapping[str, tuple[str, ...]] = FORBIDDEN) -> list[str]:
    """A line a module that reaches what it may not."""
    faults = []
    for pattern, targets in forbidden.items():
        for name in sorted(imports):
            if not matches(pattern, name) and name != pattern.removesuffix(".*"):
                continue
            for target in sorted(reached(name, imports)):
                if any(target == each or target.startswith(f"{each}.") for each in targets):
                    faults.append(f"{name} reaches {target}")
    return faults


def circles(imports: Imports) -> list[str]:
    return sorted(name for name in imports if name in reached(name, imports))


IMPORTS: Imports = {name: imports_in(path.read_text(encoding="utf-8"), name, SOURCES) for name, path in SOURCES.items()}


def test_every_arrow_points_down_and_every_module_has_a_place() -> None:
    assert wrong_arrows(IMPORTS) == []


def test_no_layer_names_a_module_that_is_gone() -> None:
    named = [pattern for layer in LAYERS for pattern in layer]
    assert len(set(named)) == len(named)
    assert [pattern for pattern in named if not any(matches(pattern, name) for name in SOURCES)] == []


def test_no_module_imports_itself_in_a_circle() -> None:
    assert circles(IMPORTS) == []


def test_nothing_reaches_what_it_may_not() -> None:
    assert forbidden_imports(IMPORTS) == []
    unused = [pattern for pattern in FORBIDDEN if not any(matches(pattern, name) for name in SOURCES)]
    assert unused == []


def test_what_answers_at_once_loads_no_torch() -> None:
    """Once for real: what other packages import is not in our sources."""
    steps = [f"import {PACKAGE}.{name}; assert 'torch' not in sys.modules, '{name}'" for name in TORCHLESS]
    hydra = "assert 'hydra' not in sys.modules, 'hydra'"
    program = "\n".join(["import sys", *steps[:3], hydra, *steps[3:]])
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def code_runners(source: str) -> list[str]:
    """A line for each way in which the source would run code that stands in a file it reads."""
    faults = []
    for node in ast.walk(ast.parse(source)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        faults += [f"imports {name}" for name in names if name.split(".")[0] in UNPICKLING]
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            for name, key, wanted in (("torch.load", "weights_only", "True"), ("np.load", "allow_pickle", "False")):
                if called == name and given.get(key, NUMPY_DEFAULT if name == "np.load" else "") != wanted:
                    faults.append(f"{name} without {key}={wanted}")
            faults += [f"calls {called}" for each in RUNNING if called == each]
    return faults


UNPICKLING = ("pickle", "joblib", "dill", "cloudpickle", "shelve", "marshal")
RUNNING = ("eval", "exec", "yaml.load", "yaml.unsafe_load", "os.system", "pd.read_pickle", "torch.hub.load")
NUMPY_DEFAULT = "False"  # since NumPy 1.16.3


@pytest.mark.parametrize("name", SOURCES)
def test_nothing_that_is_read_can_run_code(name: str) -> None:
    assert code_runners(SOURCES[name].read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "def f():\n    return eval(text)",
        "yaml.load(text, Loader=yaml.Loader)",
    ],
)
def test_what_would_run_code_is_found(source: str) -> None:
    assert len(code_runners(source)) == 1
    assert code_runners("np.load(path, mmap_mode='r')\ntorch.load(path, weights_only=True)") == []


@pytest.mark.parametrize("name", LAUNCHERS)
def test_launcher_knows_little_of_us(name: str) -> None:
    ours = imports_in(LAUNCHERS[name].read_text(encoding="utf-8"), name, SOURCES) & SOURCES.keys()
    assert [each for each in sorted(ours) if not any(matches(pattern, each) for pattern in OF_LAUNCHERS)] == []


def test_launchers_load_neither_torch_nor_an_engine() -> None:
    program = "import sys, hydra_plugins.lowres_ssl; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert "hydra_plugins.lowres_ssl" in loaded
    assert [name for name in ("torch", *ENGINES) if name in loaded] == []


@pytest.mark.parametrize("name", [*SOURCES, *LAUNCHERS])
def test_source_begins_with_what_lives_in_it_and_is_not_long(name: str) -> None:
    path = (SOURCES | LAUNCHERS)[name]
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    assert ast.get_docstring(tree), f"{path}: wanted a docstring"
    assert tree.body[0].lineno <= 3, f"{path}: wanted the docstring in its first lines"
    assert len(source.splitlines()) <= 300
    assert path.stem not in ("utils", "helpers", "common")


# The checks themselves, on made-up sources.

MADE_UP = {"__init__", "errors", "data", "data.store", "methods", "methods.x", "cli"}
MADE_UP_LAYERS = (("__init__", "errors"), ("data",), ("data.*",), ("methods", "methods.*"), ("cli",))


@pytest.mark.parametrize(
    ("name", "source", "wanted"),
    [
        ("cli", "import torch.nn.functional as F", {"torch"}),
        ("cli", "import lowres_ssl.data.image_store", {"data.store"}),
        ("cli", "from lowres_ssl.data import store, other", {"data", "data.store"}),
        ("cli", "from lowres_ssl.data.image_store import Store", {"data.store"}),
        ("cli", "from lowres_ssl import errors, __version__", {"errors", "__init__"}),
        ("cli", "def f():\n    if True:\n        from torch import nn", {"torch"}),
        ("data.store", "from ..errors import DataError", {"errors"}),
        ("data.store", "from . import other\nfrom .. import cli", {"data", "cli"}),
        ("data", "from .store import Store", {"data.store"}),
        ("__init__", "from .errors import DataError", {"errors"}),
        ("errors", "text = 'import torch'", set()),
    ],
)
def test_imports_are_read_wherever_they_stand(name: str, source: str, wanted: set[str]) -> None:
    assert imports_in(source, name, MADE_UP) == wanted


def made_up(**sources: str) -> Imports:
    """The imports of made-up modules, data__store for data.store; the others are empty."""
    given = {name.replace("__", "."): source for name, source in sources.items()}
    return {name: imports_in(given.get(name, ""), name, MADE_UP | set(given)) for name in MADE_UP | set(given)}


def test_arrow_that_points_up_is_found() -> None:
    assert wrong_arrows(made_up(cli="from lowres_ssl.methods import x"), MADE_UP_LAYERS) == []
    wrong = made_up(errors="def f():\n    from lowres_ssl.data.image_store import open_store")
    assert wrong_arrows(wrong, MADE_UP_LAYERS) == ["errors imports data.store, which is above it"]


def test_package_that_imports_its_own_files_is_found() -> None:
    wrong = made_up(data="from lowres_ssl.data import store")
    assert wrong_arrows(wrong, MADE_UP_LAYERS) == ["data imports data.store, which is above it"]


def test_module_without_a_place_is_found() -> None:
    assert wrong_arrows(made_up(methods__new="", data__new=""), MADE_UP_LAYERS) == []
    assert wrong_arrows(made_up(newcomer=""), MADE_UP_LAYERS) == ["newcomer has no layer"]


def test_forbidden_import_is_found_through_others() -> None:
    hidden = made_up(methods="from lowres_ssl import errors", errors="from lowres_ssl.data import store")
    faults = forbidden_imports(hidden, {"methods.*": ("data",)})
    assert faults == ["methods reaches data.store"]
    torch = made_up(data__store="import torch.nn", cli="import lowres_ssl.data.image_store")
    assert forbidden_imports(torch, {"cli": ("torch",)}) == ["cli reaches torch"]


def test_circle_is_found() -> None:
    assert circles(made_up(cli="import lowres_ssl.errors", errors="from . import cli")) == ["cli", "errors"]
