"""`lowres-ssl tune`, and what takes its settings from it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from in_process import type_command
from small_runs import SMALL
from typed import Command, be_in, the_run

from lowres_ssl.encoders.weights_file import load_tensors
from lowres_ssl.probes.linear import MLPProbe

QUICK = ("batch_size=[8,16]", "learning_rate=[0.01,0.001]", "seeds=2", "probe.linear.epochs=4")
TUNED = "probe.linear.settings_from=tuned"


def settings(run: Path, origin: str) -> list[dict[str, Any]]:
    found = [json.loads(path.read_text())["settings"] for path in run.glob("linear-*/result.json")]
    return [each for each in found if each["settings_from"] == origin]


def chosen(run: Path) -> dict[str, Any]:
    path = run.parents[1] / "tuned" / f"{run.name}.json"
    return dict(json.loads(path.read_text())["chosen"])


@pytest.fixture(scope="module")
def tuned_once(trained_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = shutil.copytree(trained_once, tmp_path_factory.mktemp("tuned"), dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as monkeypatch:
        be_in(folder, monkeypatch)
        assert type_command("tune", *QUICK) == 0
    return folder


@pytest.fixture
def tuned(lowres_ssl: Command, tuned_once: Path, tmp_path: Path) -> Path:
    """The folder of a run that was tuned, as was its random row."""
    shutil.copytree(tuned_once, tmp_path, dirs_exist_ok=True)
    return the_run("folder-simclr-*", tmp_path)


def test_same_search_is_read_and_another_is_made(
    lowres_ssl: Command, tuned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(MLPProbe, "fit", lambda *_: pytest.fail("it was there"))
        answer = lowres_ssl("tune", *QUICK)
    assert answer.err.count("chosen already") == 3
    (line,) = (line for line in answer.out.splitlines() if line.startswith(tuned.name))
    ours = chosen(tuned)
    assert line.split()[1:4] == [f"{ours['batch_size']}", f"({ours['learning_rate']:g})", f"{ours['accuracy']:.3f}"]
    assert "chosen already" not in lowres_ssl("tune", *QUICK, "force=true").err
    another = lowres_ssl("tune", *QUICK, "rule=quarter").err
    assert "chosen already" not in another
    assert another.count("was chosen before, by another search; this one replaces it") == 3


def test_runs_are_named_or_filtered(lowres_ssl: Command, tuned: Path) -> None:
    def count(*chosen: str) -> str:
        return lowres_ssl("tune", *QUICK, *chosen).err.partition(",")[0]

    assert count("method=[simclr,dcl]", "seed=0", "recipe=paper", "filters.batch_size=8") == "tune: 1 run"
    random = next(tuned.parent.glob("folder-random-*"))
    assert count(f"run=[{tuned.name},{random}]") == "tune: 2 runs"
    assert count(f"run={tuned}") == "tune: 1 run"
    # As the command below a table has it: an untrained encoder is of any recipe, once it is named.
    assert count("recipe=tuned", "method=[random]") == "tune: 1 run"


def test_evaluation_takes_tuned_settings_and_says_so(lowres_ssl: Command, tuned: Path) -> None:
    answer = lowres_ssl("evaluate", f"run={tuned}", "probe=[linear]", TUNED)
    (own,), ours = settings(tuned, "tuned"), chosen(tuned)
    assert all(own[key] == ours[key] for key in ("batch_size", "learning_rate"))
    # The run is there, and so are its scores.
    again = lowres_ssl("pretrain", "dataset=folder", *SMALL, "probe=[knn,linear]", TUNED)
    assert again.err.count("were chosen with epochs=4, and score with epochs=100") == 1
    assert again.err.index("were chosen with") < again.err.index("finished already")  # before the long work
    assert len(settings(tuned, "tuned")) == 1
    assert answer.err.count("were chosen with epochs=4, and score with epochs=100; give lowres-ssl tune the same") == 1
    alike = lowres_ssl("evaluate", f"run={tuned}", "probe=[linear]", TUNED, "probe.linear.epochs=4")
    assert "were chosen with" not in alike.err


def test_typed_settings_are_called_typed_though_the_numbers_are_the_papers(lowres_ssl: Command, tuned: Path) -> None:
    typed = ("evaluate", f"run={tuned}", "probe=[linear]", "probe.linear.epochs=4")
    lowres_ssl(*typed)
    (paper,) = settings(tuned, "paper")
    numbers = {key: paper[key] for key in ("batch_size", "learning_rate")}
    lowres_ssl(*typed, *(f"probe.linear.{key}={value}" for key, value in numbers.items()))
    assert [{key: each[key] for key in numbers} for each in settings(tuned, "typed")] == [numbers]
    assert len(settings(tuned, "paper")) == 1


def test_test_features_are_not_read(lowres_ssl: Command, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[set[str]] = []

    def watch(path: Path, names: Any = None) -> Any:
        asked.append(set(names or ["all"]))
        return load_tensors(path, names)

    monkeypatch.setattr("lowres_ssl.evaluate.features.load_tensors", watch)
    lowres_ssl("tune", *QUICK, f"run={trained}")
    assert asked == [{"train", "validation"}]
