"""`lowres-ssl tune`, and what takes its settings from it."""

import json
from pathlib import Path
from typing import Any

import pytest
from typed import SMALL, Command

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


@pytest.fixture
def tuned(lowres_ssl: Command, trained: Path) -> Path:
    """The folder of a run that was tuned, as was its random row."""
    answer = lowres_ssl("tune", *QUICK)
    assert answer.code == 0, answer.err
    (line,) = (line for line in answer.out.splitlines() if line.startswith(trained.name))
    ours = chosen(trained)
    assert line.split()[1:4] == [f"{ours['batch_size']}", f"({ours['learning_rate']:g})", f"{ours['accuracy']:.3f}"]
    return trained


def test_same_search_is_read_and_another_is_made(
    lowres_ssl: Command, tuned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MLPProbe, "fit", lambda *_: pytest.fail("it was there"))
    answer = lowres_ssl("tune", *QUICK)
    assert answer.code == 0, answer.err
    assert answer.err.count("chosen already") == 3
    monkeypatch.undo()
    monkeypatch.chdir(tuned.parents[2])
    assert "chosen already" not in lowres_ssl("tune", *QUICK, "force=true").err
    another = lowres_ssl("tune", *QUICK, "rule=quarter").err
    assert "chosen already" not in another
    assert another.count("was chosen before, by another search; this one replaces it") == 3


def test_runs_are_named_or_filtered(lowres_ssl: Command, trained: Path) -> None:
    assert lowres_ssl(
        "tune", *QUICK, "method=[simclr,dcl]", "seed=0", "recipe=paper", "filters.batch_size=8"
    ).err.startswith("tune: 1 run,")
    random = next(trained.parent.glob("folder-random-*"))
    assert lowres_ssl("tune", *QUICK, f"run=[{trained.name},{random}]").err.startswith("tune: 2 runs,")
    assert lowres_ssl("tune", *QUICK, f"run={trained}").err.startswith("tune: 1 run,")
    # As the command below a table has it: an untrained encoder is of any recipe, once it is named.
    assert lowres_ssl("tune", *QUICK, "recipe=tuned", "method=[random]").err.startswith("tune: 1 run,")


@pytest.mark.parametrize(
    ("typed", "key"),
    [
        ("recipe=tuned", "recipe=tuned"),  # there is an untrained one
        ("filters.colour=red", "'filters.colour'"),
        ("probe=[knn]", "probe"),
        ("batch_size=[1]", "batch_size"),
        ("learning_rate=[0.1,0.1]", "learning_rate"),
        ("seeds=0", "seeds=0"),
    ],
)
def test_what_cannot_be_tuned_is_refused(lowres_ssl: Command, trained: Path, typed: str, key: str) -> None:
    answer = lowres_ssl("tune", typed)
    assert answer.code == 2
    assert key in answer.last_line


def test_evaluation_takes_tuned_settings_and_says_so(lowres_ssl: Command, tuned: Path) -> None:
    answer = lowres_ssl("evaluate", f"run={tuned}", "probe=[linear]", TUNED)
    assert answer.code == 0, answer.err
    (own,) = settings(tuned, "tuned")
    assert {key: own[key] for key in ("batch_size", "learning_rate")} == {
        key: chosen(tuned)[key] for key in ("batch_size", "learning_rate")
    }
    # The run is there, and so are its scores.
    again = lowres_ssl("pretrain", "dataset=folder", *SMALL, "probe=[knn,linear]", TUNED)
    assert again.code == 0
    assert again.err.count("were chosen with epochs=4, and score with epochs=100") == 1
    assert again.err.index("were chosen with") < again.err.index("finished already")  # before the long work
    assert len(settings(tuned, "tuned")) == 1
    assert answer.err.count("were chosen with epochs=4, and score with epochs=100; give lowres-ssl tune the same") == 1
    alike = lowres_ssl("evaluate", f"run={tuned}", "probe=[linear]", TUNED, "probe.linear.epochs=4")
    assert "were chosen with" not in alike.err


def test_typed_settings_are_called_typed_though_the_numbers_are_the_papers(lowres_ssl: Command, tuned: Path) -> None:
    assert lowres_ssl("evaluate", f"run={tuned}", "probe=[linear]").code == 0
    (paper,) = settings(tuned, "paper")
    numbers = {key: paper[key] for key in ("batch_size", "learning_rate")}
    same = [f"probe.linear.{key}={value}" for key, value in numbers.items()]
    assert lowres_ssl("evaluate", f"run={tuned}", *same).code == 0
    assert [{key: each[key] for key in numbers} for each in settings(tuned, "typed")] == [numbers]
    assert len(settings(tuned, "paper")) == 1


def test_nothing_tuned_is_said_before_the_long_work(lowres_ssl: Command, trained: Path, tmp_path: Path) -> None:
    answer = lowres_ssl("pretrain", "method=vicreg", "dataset=folder", *SMALL, "probe=[knn,linear]", TUNED)
    assert answer.code == 2
    assert "nothing was tuned for vicreg on folder" in answer.last_line
    assert not list((tmp_path / "outputs" / "pretrain").glob("*vicreg*"))
    assert lowres_ssl("evaluate", f"run={trained}", TUNED).code == 2


def test_test_features_are_not_read(lowres_ssl: Command, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[set[str]] = []

    def watch(path: Path, names: Any = None) -> Any:
        asked.append(set(names or ["all"]))
        return load_tensors(path, names)

    monkeypatch.setattr("lowres_ssl.evaluate.features.load_tensors", watch)
    assert lowres_ssl("tune", *QUICK, f"run={trained}").code == 0
    assert asked == [{"train", "validation"}]
