"""`lowres-ssl benchmark`: its order, its clock and its end, with made-up runs; one of them for real, small."""

import json
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from stored_runs import made_up_run
from typed import Command

from lowres_ssl.benchmark import decision, runner
from lowres_ssl.benchmark.runner import ExitStatus
from lowres_ssl.commands import benchmark as command
from lowres_ssl.errors import Interrupted

ACCURACIES = {"random": 0.6, "random_calibrated": 0.65, "trivial": 0.5, "imagenet": 0.7, "dcl": 0.9, "simclr": 0.75}
ASKED = ("dataset=folder", "methods=[dcl,simclr,simsiam]", "image_size=20", "probe=[knn]", "chosen_by=knn")
VIEWS_A_SECOND = 20.0


@dataclass
class Machine:
    """One that takes as long as we say and runs what we make up.

    slowness: of whatever is run for longer than a trial. fetches: whether ImageNet weights can be had. failing: methods
    that never have a result. interrupted: words at which somebody presses Ctrl-C, once, by what is raised then.
    """

    now: float = 0.0
    slowness: float = 1.0
    fetches: bool = False
    failing: Sequence[str] = ()
    interrupted: dict[str, BaseException] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)

    def run(self, words: Sequence[str], *, log: Path, limit: float | None = None) -> ExitStatus:
        typed = dict(word.partition("=")[::2] for word in words)
        self.commands.append(shlex.join(words))
        for word in list(self.interrupted):
            if word in words:
                raise self.interrupted.pop(word)
        if words[0] == "report":
            Path(typed["file"]).write_text("made up, below: " + Path(typed["preface"]).read_text())
        if words[0] != "pretrain":
            self.now += 3.0
            return ExitStatus(0, 3.0)
        methods, seeds = typed["method"].split(","), typed["seed"].split(",")
        epochs = int(typed.get("epochs", 0))
        training = 48 * epochs / VIEWS_A_SECOND * (self.slowness if epochs > 1 else 1.0)
        seconds = 2.0 + len(seeds) * training
        if limit is not None and seconds > limit:
            self.now += limit
            return ExitStatus(130, limit, stopped=True)
        self.now += seconds
        if "imagenet" in methods and not self.fetches:
            log.write_text("lowres-ssl: resnet18-f37072fd.pth cannot be fetched")
            return ExitStatus(3, seconds)
        for method in methods:
            if method in self.failing:
                log.write_text("lowres-ssl: out of memory")
                return ExitStatus(1, seconds)
            for seed in seeds:
                self.make_up(typed, method, int(seed), epochs, training)
        return ExitStatus(0, seconds)

    def make_up(self, typed: dict[str, str], method: str, seed: int, epochs: int, training: float) -> None:
        start = " from imagenet" if "initial_weights" in typed else ""
        own: dict[str, Any] = {"dataset": "folder", "images": 90, "backbone": typed["backbone"]}
        for each in (method, *(["random_calibrated"] if method == "random" else [])):
            made_up_run(
                Path(typed["output_dir"]),
                method=each,
                entry=each + start,
                seed=seed,
                epochs=epochs,
                image_size=int(typed["image_size"]),
                batch_size=int(typed.get("batch_size", 16)),
                accuracy=ACCURACIES.get(each, 0.62) - (0.3 if start else 0.0),
                training_seconds=training,
                **own,
            )


@pytest.fixture
def machine(cells: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(command, "time", SimpleNamespace(monotonic=lambda: made.now))
    monkeypatch.setattr(runner, "time", SimpleNamespace(monotonic=lambda: made.now))
    monkeypatch.setattr(runner, "run_subprocess", made.run)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: "nowhere")
    monkeypatch.setenv("HF_HUB_CACHE", "nowhere")
    monkeypatch.setattr(decision, "RESAMPLES", 400)
    return made


def list_runs(machine: Machine) -> list[tuple[str, str, str]]:
    """Method, seed and epochs of each training."""
    words = (dict(word.partition("=")[::2] for word in shlex.split(each)) for each in machine.commands)
    return [(own["method"], own["seed"], own["epochs"]) for own in words if "epochs" in own and "method" in own]


def test_untrained_encoders_come_first_then_rungs_then_seeds_then_the_answer(
    lowres_ssl: Command, machine: Machine
) -> None:
    typed = ("benchmark", *ASKED, "budget=2h", "epochs=400")
    lowres_ssl(*typed, "dry_run=true")
    assert machine.commands == []
    answer = lowres_ssl(*typed)
    plan, end = answer.out.split("Which encoder for ")
    assert re.search(r"1\. not trained +random initialisation, mean colour and size, imagenet resnet18 at 224 px", plan)
    assert "method=random,trivial seed=0,1,2" in machine.commands[0]
    assert {"method=imagenet", "image_size=224", "baselines=false"} < set(shlex.split(machine.commands[1]))
    trial, *others = list_runs(machine)
    assert trial == ("dcl", "0", "1")
    assert others[:3] == [("dcl", "0", "312"), ("simclr", "0", "312"), ("simsiam", "0", "312")]
    assert others[3:5] == [("dcl", "0", "400"), ("simclr", "0", "400")]
    assert others[5:7] == [("dcl", "1", "400"), ("dcl", "2", "400")]
    assert end.startswith("folder?\n\nUse dcl, trained on your images for ")
    assert "No ImageNet weights: " in end
    report = re.search(r"^Report: (.*)$", end, re.MULTILINE)
    assert report is not None
    assert Path(report[1]).read_text().startswith("made up, below: Which encoder for folder?\n\nUse dcl")
    for each in machine.commands:
        assert f"$ lowres-ssl {each}" in answer.err, "every command is shown as it can be typed"

    machine.commands.clear()
    assert lowres_ssl(*typed).out == answer.out
    assert machine.commands == []
    assert "To continue" not in end
    assert "budget=8h" in end


def test_encoder_of_others_is_scored_and_trained_on_where_it_can_be_had(lowres_ssl: Command, machine: Machine) -> None:
    machine.fetches = True
    answer = lowres_ssl("benchmark", *ASKED, "budget=1h", "epochs=210")
    assert "No ImageNet weights" not in answer.out
    assert list_runs(machine)[:2] == [("dcl", "0", "1")] * 2, "an epoch of each kind of start is timed"
    continued = [each for each in machine.commands if "initial_weights=imagenet" in each]
    assert {"image_size=112", "scored_size=224", "epochs=1"} < set(shlex.split(continued[0]))
    assert {"image_size=112", "scored_size=224", "epochs=210"} < set(shlex.split(continued[1]))
    assert re.search(r"^dcl from imagenet resnet18 +6,720 ", answer.out, re.MULTILINE)
    assert re.search(r"^imagenet resnet18 +none +1 ", answer.out, re.MULTILINE)


def test_weights_that_were_put_into_the_cache_afterwards_are_scored(
    lowres_ssl: Command, machine: Machine, cells: Path
) -> None:
    typed = ("benchmark", *ASKED, "budget=10min", "data_dir=own", f"dataset.root={cells}")
    assert "No ImageNet weights" in lowres_ssl(*typed).out
    Path("own/weights").mkdir(parents=True)
    Path("own/weights/resnet18-f37072fd.pth").touch()
    machine.fetches = True
    for repetition in range(2):
        machine.commands.clear()
        answer = lowres_ssl(*typed)
        assert re.search(r"^imagenet resnet18 +none +1 ", answer.out, re.MULTILINE)
        assert bool(machine.commands) == (repetition == 0)


@pytest.mark.parametrize(("stop", "code"), [(KeyboardInterrupt(), 130), (Interrupted("terminated", 143), 143)])
def test_interrupted_it_answers_by_what_it_has_and_goes_on(
    lowres_ssl: Command, machine: Machine, stop: BaseException, code: int
) -> None:
    machine.interrupted = {"seed=1": stop}
    answer = lowres_ssl("benchmark", *ASKED, "budget=1h", "epochs=210", code=code)
    assert "\nCannot tell. Best so far: dcl, trained on your images for " in answer.out
    continued = re.search(r"^To continue: lowres-ssl (.*)$", answer.out, re.MULTILINE)
    assert continued is not None
    machine.commands.clear()
    second = lowres_ssl(*shlex.split(continued[1]))
    assert list_runs(machine)[:2] == [("dcl", "1", "210"), ("dcl", "2", "210")]
    assert "\nUse dcl, " in second.out


def test_first_answer_is_there_before_anything_is_trained(lowres_ssl: Command, machine: Machine) -> None:
    machine.fetches = True
    machine.interrupted = {"epochs=1": KeyboardInterrupt()}
    answer = lowres_ssl("benchmark", *ASKED, "budget=1h", code=130)
    assert re.search(r"^(Use|Cannot tell\. Best so far:) frozen imagenet resnet18 features", answer.out, re.MULTILINE)


@pytest.mark.parametrize(
    ("budget", "slowness", "seeds"), [(600, 1.0, 3), (3600, 1.1, 3), (3600, 1.7, 1), (600, 10.0, 0)]
)
def test_budget_is_kept_within_a_tenth(
    lowres_ssl: Command, machine: Machine, budget: int, slowness: float, seeds: int
) -> None:
    machine.slowness = slowness
    answer = lowres_ssl("benchmark", *ASKED, f"budget={budget}s")
    assert (0.85 if seeds == 3 else 0.5) * budget <= machine.now <= 1.1 * budget
    if seeds < 3:
        assert "Cannot tell" in answer.out
    else:
        assert re.search(r"^dcl +[\d,]+ +[3-9] ", answer.out, re.MULTILINE)


def test_method_that_fails_is_told_and_spares_the_others(lowres_ssl: Command, machine: Machine) -> None:
    machine.failing = ["simclr"]
    answer = lowres_ssl("benchmark", *ASKED, "budget=1h", "epochs=210", code=1)
    assert "Use dcl, " in answer.out
    assert "Failed: simclr, seed 0, " in answer.out
    assert answer.last_line.startswith("lowres-ssl: 1 failure, see above and ")
    assert "out of memory" in answer.last_line


@pytest.mark.parametrize("fails", [False, True])
def test_on_a_gpu_the_encoder_of_the_paper_is_taken_where_its_memory_holds_it(
    lowres_ssl: Command, machine: Machine, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    run = machine.run

    def run_on_small_gpu(words: Sequence[str], *, log: Path, limit: float | None = None) -> ExitStatus:
        if fails and {"backbone=resnet50", "method=dcl"} < set(words):
            return ExitStatus(1, 9.0)
        return run(words, log=log, limit=limit)

    monkeypatch.setattr(runner, "run_subprocess", run_on_small_gpu)
    gpu = SimpleNamespace(device=torch.device("cuda"), precision="bf16", describe=lambda: "a GPU, bf16")
    monkeypatch.setattr(command, "resolve_device", lambda *_: gpu)
    chosen = ("benchmark", "dataset=folder", "methods=[dcl]", "probe=[knn]", "chosen_by=knn", "epochs=3")
    answer = lowres_ssl(*chosen, "budget=30min")
    assert "\nresnet50 at 24 px, recipe tuned, batch size 16, KNN k = 5;" in answer.out
    last = [each for each in machine.commands if "method=dcl" in each][-1]
    assert ("backbone=resnet18" in last) == fails
    assert "Use dcl, " in answer.out
    assert "\nresnet18 at 24 px" in lowres_ssl(*chosen, "budget=5min", "dry_run=true").out


PHANTOM = ("dataset=phantom", "dataset.subset=80", "image_size=24", "methods=[dcl,simsiam]", "pretrained=[]")


@pytest.mark.slow
def test_real_benchmark_is_interrupted_and_goes_on_to_its_report(tmp_path: Path) -> None:
    """On the phantom, everything real: trained in processes of its own, interrupted once, reported."""
    command = [sys.executable, "-m", "lowres_ssl", "benchmark", *PHANTOM, "budget=6min", "seeds=2", "epochs=2"]
    first = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # tests in the background ignore it
    )
    plans = tmp_path / "outputs" / "benchmark"
    end = time.monotonic() + 480

    def done() -> list[str]:
        return [run["name"] for path in plans.glob("*.json") for run in json.loads(path.read_text())["race"]["runs"]]

    while "simsiam" not in done() and first.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.1)
    time.sleep(1.0)
    first.send_signal(signal.SIGINT)
    out, err = first.communicate(timeout=60)
    assert first.returncode == 130, err
    assert "Cannot tell" in out
    encoders = {path: path.stat().st_mtime_ns for path in plans.glob("*/pretrain/*-s0-*/encoder.safetensors")}
    assert len(encoders) == 6  # random, random_calibrated, trivial, the trial, and both after two epochs

    second = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    assert encoders == {path: path.stat().st_mtime_ns for path in encoders}
    assert "2 seeds of " in second.stdout
    (report,) = plans.glob("*/report-*.html")
    assert "random initialisation" in report.read_text()
