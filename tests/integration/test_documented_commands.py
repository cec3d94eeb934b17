"""The reference shows the help texts of now; every command and every piece of Python that the documents show is run, on
images and encoders small enough for it. In `make test` the commands are composed only.

What is changed of a command before it is typed: sizes, epochs, seeds and k are cut down (`SMALLER`), of a sweep's
values the first two are taken, ImageNet's weights (they would have to be fetched) and subsets are left out, RUN, FOLDER
and the like get names of things that are there, and Slurm is its stand-in on this machine. Shell scripts and
`speed/` are not typed here: the script has its own test.
"""

import re
import shlex
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
from hydra._internal.hydra import Hydra
from in_process import check_commands
from small_runs import paint
from typed import Command, take_first_job, type_apart

from lowres_ssl.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NOT_RUN = [ROOT / "CHANGELOG.md", *sorted((ROOT / "docs" / "decisions").glob("*.md"))]
SMALLER = {"backbone": "resnet18", "image_size": "36", "epochs": "1", "probe.knn.k": "3", "probe.linear.epochs": "2"}
TRAINED = ("breast", "pneumonia", "phantom")  # there are runs of these
COMMAND = re.compile(r"^\$? ?lowres-ssl (\w+)(.*)$")
# Shown as what ends with an error, on purpose.
ENDS_WITH = {"lowres-ssl tables table=[paper2] dataset=phantom strict=true": 2}
# Of a benchmark, which trains by commands of its own.
OF_A_BENCHMARK = {
    **{key: SMALLER[key] for key in ("backbone", "image_size", "epochs", "probe.knn.k")},
    **{"batch_size": "8", "seeds": "2", "methods": "[dcl]", "pretrained": "[]"},
}
# What only a cluster has.
OF_A_CLUSTER = ("hydra.launcher.partition", "hydra.launcher.tasks_per_node", "hydra.launcher.gpus_per_node")
# A command with this word in it needs this module.
NEEDS = {
    "tracker=tensorboard": "tensorboard",
    "tracker=mlflow": "mlflow",
    "tracker=wandb": "wandb",
    "hydra/launcher=ray_local": "ray",
    "hydra/sweeper=search": "optuna",
}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small sets under the names that the documents use."""
    folder = tmp_path_factory.mktemp("project")
    data = folder / "data"
    for number in range(60):
        shade, seed = 80 + 90 * (number % 2), number
        letter = "BM"[number % 2]
        paint(data / "breast" / f"SOB_{letter}_A-14-{1000 + number % 10}-400-{number:03}.png", shade, seed)
        kind = ("NORMAL", "PNEUMONIA")[number % 2]
        side = "test" if number % 5 == 0 else "train"
        paint(data / "pneumonia" / side / kind / f"person{number // 2}_virus_{number}.jpeg", shade, seed)
        paint(data / "cells" / ("dark", "light")[number % 2] / f"p{number // 4}_{number}.png", shade, seed)
        paint(data / "skin" / f"{number}.png", shade, seed)
    rows = [f"{number}.png,{('naevus', 'melanoma')[number % 2]}" for number in range(60)]
    (data / "skin" / "labels.csv").write_text("\n".join(["path,diagnosis", *rows]))
    shutil.copytree(data / "cells", data / "blood_cells")
    shutil.copytree(data / "cells", folder / "my_images")
    (folder / "answer.txt").write_text("What came out\n\nNothing.\n")
    return folder


@pytest.fixture
def project(original: Path, lowres_ssl: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it for each page, with a few finished runs: pages do not see what others have made."""
    if not (original / "outputs").exists():
        monkeypatch.chdir(original)
        small = [f"{key}={value}" for key, value in SMALLER.items()]
        for name in TRAINED:
            words = ("-m", f"dataset={name}", "method=dcl,random", "seed=0,1", "dataset.subset=60", "batch_size=8")
            lowres_ssl("pretrain", *words, *small, "probe=[knn,linear,logistic]")
        shutil.copy(run_of(original, "breast") / "encoder.safetensors", original)
    folder = tmp_path / "project"
    shutil.copytree(original, folder)
    monkeypatch.chdir(folder)
    return folder


def run_of(project: Path, dataset: str) -> Path:
    return next((project / "outputs" / "pretrain").glob(f"{dataset}-dcl-*"))


def commands_in(page: Path) -> list[str]:
    blocks = re.findall(r"```(?:bash|sh|console)\n(.*?)```", page.read_text().replace("\\\n", " "), re.DOTALL)
    return [line.split("  #")[0].strip() for block in blocks for line in block.splitlines() if COMMAND.match(line)]


def cut_down(line: str, project: Path, dataset: str) -> list[str]:
    """The words to type for a documented line, without the program's name. `dataset`: whose run RUN is."""
    command, *words = shlex.split(line.removeprefix("$ "))[1:]
    names = {"RUN": run_of(project, dataset).name, "FOLDER": "data/cells"}
    words = [re.sub(r"\b(RUN|FOLDER)\b", lambda found: names[found[0]], word) for word in words]
    words = [first_two(word) for word in words] if "-m" in words else words
    words = [on_this_machine(word) for word in words if word.partition("=")[0] not in OF_A_CLUSTER]
    if command not in ("pretrain", "evaluate", "tune", "benchmark"):
        return [command, *words]
    chosen = next((word for word in words if word.startswith("probe=")), "probe=[knn,linear]")
    trains = command == "pretrain" or any(word.startswith("weights=") for word in words)
    smaller = {
        key: value
        for key, value in SMALLER.items()
        if (trains or key.startswith("probe.")) and (not key.startswith("probe.") or key.split(".")[1] in chosen)
    }
    if command == "evaluate":
        smaller.pop("epochs", None)
    if command == "tune":
        smaller = {"probe.linear.epochs": "2", "batch_size": "[8,16]", "learning_rate": "[0.1,0.01]", "seeds": "2"}
    if command == "pretrain":
        smaller["batch_size"] = "8"
    if "hydra/sweeper=search" in words:
        smaller["hydra.sweeper.n_trials"] = "2"
    if command == "benchmark":
        smaller = OF_A_BENCHMARK
    # The sets here are smaller than any subset that is shown, and trained on in batches of eight.
    left_out = (*smaller, "dataset.subset", "filters.batch_size")
    kept = [word for word in words if word.partition("=")[0] not in left_out]
    return [command, *kept, *(f"{key}={value}" for key, value in smaller.items())]


def on_this_machine(word: str) -> str:
    """Of the words of launchers: without a cluster and without a GPU."""
    key = word.partition("=")[0]
    changed = {
        "hydra/launcher": word.replace("slurm", "slurm_local"),
        "hydra.launcher.n_jobs": f"{key}=2",
        "hydra.launcher.ray.remote.num_gpus": f"{key}=0",
    }
    return changed.get(key, word)


def first_two(word: str) -> str:
    key, equals, value = word.partition("=")
    if "(" in value:  # an interval
        return word
    values = re.findall(r"(?:\[[^\]]*\]|'[^']*'|[^,\[])+", value) if equals else []
    values = [each for each in values if each != "imagenet"]
    return f"{key}={','.join(values[:2])}" if values else word


def test_command_line_reference_is_fresh(lowres_ssl: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    # Hydra reads all configs for each help text; they are the same for all.
    listed: dict[str, list[str]] = {}
    really = Hydra.list_all_config_groups

    def list_once(hydra: Hydra, parent: str = "") -> list[str]:
        if parent not in listed:
            listed[parent] = really(hydra, parent)
        return listed[parent]

    monkeypatch.setattr(Hydra, "list_all_config_groups", list_once)
    reference = (ROOT / "docs" / "cli.md").read_text()
    sections = re.findall(r"^## `lowres-ssl ([^`]+)`\n\n```text\n(.*?)^```$", reference, re.DOTALL | re.M)
    assert [words for words, _ in sections] == ["--help", *(f"{command} --help" for command in COMMANDS)]
    for words, text in sections:
        assert lowres_ssl(*words.split()).out == text, "docs/cli.md is stale; type: make docs"


@pytest.mark.usefixtures("lowres_ssl")
def test_commands_shown_compose() -> None:
    own = Path("lowres_ssl_conf/dataset/my_images.yaml")  # as `lowres-ssl init my_images` writes it
    own.parent.mkdir(parents=True)
    own.write_text("defaults: [folder]\n")
    lines = {line.removeprefix("$ ") for page in [*PAGES, *NOT_RUN] for line in commands_in(page)}
    check_commands(take_first_job(shlex.split(line)[1:]) for line in sorted(lines))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:::mlflow", "ignore:::wandb", "ignore:::alembic", "ignore:::sqlalchemy")
@pytest.mark.parametrize("page", [page for page in PAGES if commands_in(page)], ids=lambda page: page.name)
def test_commands_of_the_documents_run(page: Path, lowres_ssl: Command, project: Path) -> None:
    absent, dataset = [], TRAINED[0]
    for line in commands_in(page):
        # RUN is of the set that the page spoke of last.
        dataset = next((name for name in TRAINED if f"dataset={name}" in line.split()), dataset)
        words = cut_down(line, project, dataset)
        needed = [module for word, module in NEEDS.items() if word in words and find_spec(module) is None]
        if needed:
            absent += needed
            continue
        apart = any(word.startswith("hydra/") for word in words)
        (type_apart if apart else lowres_ssl)(*words, code=ENDS_WITH.get(line, 0))
    if absent:
        pytest.skip(f"all were typed but those that need {', '.join(absent)}")


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in PAGES if "```python" in page.read_text()], ids=lambda page: page.name
)
def test_python_of_the_documents_runs(page: Path, project: Path) -> None:
    names = {'"RUN"': repr(str(run_of(project, "breast"))), '"FOLDER"': '"data/cells"', "resnet50": "resnet18"}
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        code = re.sub("|".join(names), lambda found: names[found[0]], block)
        exec(compile(code, str(page), "exec"), {})
