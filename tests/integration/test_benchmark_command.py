"""`lowres-ssl benchmark`: its plan, its clock and its end, with made-up costs and runs; one of them for real, small."""

import json
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from stored_runs import made_up_run
from typed import Command

from lowres_ssl.benchmark import decision, request, runner
from lowres_ssl.benchmark.cost_estimate import CostRequest
from lowres_ssl.benchmark.runner import ExitStatus
from lowres_ssl.benchmark.schedule import BenchmarkCosts
from lowres_ssl.commands import benchmark as command
from lowres_ssl.device import DevicePrecision
from lowres_ssl.errors import ConfigError
from lowres_ssl.io.atomic import write_json

ACCURACIES = {"random": 0.6, "random_calibrated": 0.65, "trivial": 0.5, "dcl": 0.9, "simclr": 0.6, "simsiam": 0.62}
UNTRAINED = ("random", "random_calibrated", "trivial")
METHODS = "methods=[random,dcl,simsiam]"
ASKED = ("dataset=folder", METHODS, "image_size=20", "probe=[knn]")


@dataclass
class Machine:
    """One that costs what we say and runs what we make up. `slowness`: how much slower it is than measured.

    `failing`: methods that never have a result. `deadly`: at whose name a sweep's process is killed; alone they run.
    `interrupted`: the seed at which somebody presses Ctrl-C, once. `random_seed`: seconds of a further seed of the
    random encoders; as it is, no budget pays for one.
    """

    now: float = 0.0
    measuring: float = 0.0
    random_seed: float = 1e6
    slowness: float = 1.0
    failing: Sequence[str] = ()
    deadly: Sequence[str] = ()
    interrupted: str | None = None
    measured: int = 0
    commands: list[str] = field(default_factory=list)

    def measure(self, asked: CostRequest) -> BenchmarkCosts:
        self.measured += 1
        self.now += self.measuring
        epoch = {name: 10.0 for name in asked.configs if name not in UNTRAINED}
        extras = {"labels": 4.0} if asked.fewer_labels else {}
        extras |= {"linear": 90.0}
        return BenchmarkCosts(
            epoch=epoch,
            round_base=20.0,
            run=5.0,
            prepare=5.0,
            report=15.0,
            start=1.0,
            random_seed=self.random_seed,
            extras=extras,
            views=dict.fromkeys(epoch, 100.0),
            device="a made-up machine, fp32",
        )

    def run(self, words: Sequence[str], *, log: Path, limit: float | None = None) -> ExitStatus:
        typed = dict(word.partition("=")[::2] for word in words)
        self.commands.append(shlex.join(words))
        before = self.now
        if words[0] == "report":
            Path(typed["file"]).write_text("made up, below: " + Path(typed["preface"]).read_text())
        if words[0] != "pretrain":
            self.now += 5 * self.slowness
            return ExitStatus(0, self.now - before)
        if self.interrupted == typed["seed"]:
            self.interrupted = None
            raise KeyboardInterrupt
        methods, seeds, code = typed["method"].split(","), typed["seed"].split(","), 0
        trained = [method for method in methods if method not in UNTRAINED]
        scored_only = "label_fraction" in typed or "linear" in typed["probe"]
        each = 20 + 10 * int(typed["epochs"]) * len(trained) if trained else self.random_seed
        each = 4 if scored_only else each
        self.now += self.slowness * len(seeds) * each
        if limit is not None and self.now - before > limit:
            self.now = before + limit
            return ExitStatus(130, limit, stopped=True)
        for method in methods:
            if method in self.deadly and len(methods) > 1 and not scored_only:
                return ExitStatus(-signal.SIGKILL, self.now - before)
            if method in self.failing:
                code = 1
                told = {"command": f"lowres-ssl pretrain method={method}", "message": "out of memory", "exit_code": 1}
                write_json(Path(typed["output_dir"]) / "sweeps" / "1" / "failed-0.json", told)
                continue
            for seed in seeds:
                made_up_run(
                    Path(typed["output_dir"]),
                    method=method,
                    seed=int(seed),
                    dataset="folder",
                    epochs=int(typed["epochs"]),
                    image_size=20,
                    accuracy=ACCURACIES[method],
                    images=90,
                )
        return ExitStatus(code, self.now - before)


@pytest.fixture
def machine(cells: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    assert cells.is_dir()
    made = Machine()
    monkeypatch.setattr(request, "measure_in_subprocess", made.measure)
    monkeypatch.setattr(command, "time", SimpleNamespace(monotonic=lambda: made.now))
    monkeypatch.setattr(runner, "run_subprocess", made.run)
    monkeypatch.setattr(runner.BenchmarkRunner, "spent", lambda self: self.before + made.now)
    monkeypatch.setattr(decision, "RESAMPLES", 400)
    return made


def seeds_run(machine: Machine) -> list[str]:
    return [match[1] for each in machine.commands if (match := re.search(r"^pretrain .*seed=([\d,]+) ", each))]


def test_plan_is_shown_then_run_then_answered_and_kept(lowres_ssl: Command, machine: Machine) -> None:
    machine.measuring = 15.0
    typed = ("benchmark", *ASKED, "budget=7min", "tracker=tensorboard")
    assert lowres_ssl(*typed, "dry_run=true").code == 0
    assert machine.commands == []
    answer = lowres_ssl(*typed)
    assert answer.code == 0, answer.err
    plan, end = answer.out.split("Which method for ")
    assert re.search(r"3 seeds of random, dcl, simsiam +9 runs +3 x 2 min", plan)
    assert re.search(r"in all +\d min of 7 min", plan)
    assert re.search(r"read, measure, decode the images +20 s", plan)
    assert "No time for: linear (MLP) probe." in plan
    assert seeds_run(machine) == ["0", "1", "2", "0,1,2"]
    assert "label_fraction=[0.1]" in machine.commands[3]
    assert all("tracker=tensorboard" in each.split() for each in machine.commands[:4])
    assert [each.split()[0] for each in machine.commands[4:]] == ["tables", "compare", "report"]
    assert end.startswith("Folder?\n\nUse dcl. It is the best method on the validation images")
    report = re.search(r"^Report: (.*)$", end, re.MULTILINE)
    assert report is not None
    assert Path(report[1]).read_text().startswith("made up, below: Which method for Folder?\n\nUse dcl. It is the best")
    for each in machine.commands:
        assert f"$ lowres-ssl {each}" in answer.err, "every command is shown as it can be typed"

    machine.commands.clear()
    measured = machine.measured
    assert lowres_ssl(*typed).out == answer.out
    assert lowres_ssl("benchmark", *ASKED, "budget=7min").out.startswith(plan), "a tracker makes no other plan"
    assert (machine.measured, machine.commands) == (measured, [])
    again = re.search(r"^More certain: lowres-ssl (.*?)   #", end, re.MULTILINE)
    assert again is not None
    words = ["benchmark", *ASKED, "tracker=tensorboard", "epochs=4", "seeds=5", "budget=11min"]
    assert shlex.split(again[1]) == words
    machine.now = 0.0
    more = lowres_ssl(*words)
    assert "mean of 5 seeds" in more.out
    places = {word for each in machine.commands for word in each.split() if word.startswith("output_dir=")}
    assert len(places) == 1
    assert places.pop() in answer.err, "the runs that are there are kept"


def test_interrupted_it_goes_on_with_the_same_plan(lowres_ssl: Command, machine: Machine) -> None:
    machine.interrupted = "1"
    answer = lowres_ssl("benchmark", *ASKED, "budget=7min")
    assert answer.code == 130
    assert "Which method" not in answer.out
    machine.commands.clear()
    machine.now = 0.0
    second = lowres_ssl("benchmark", *ASKED, "budget=7min")
    assert second.code == 0, second.err
    assert machine.measured == 1
    assert seeds_run(machine) == ["1", "2", "0,1,2"]
    assert second.out.startswith(answer.out.rstrip())


@pytest.mark.parametrize(
    ("slowness", "seeds", "left_out"),
    [
        (1.3, ["0", "1", "2"], ["labels"]),
        (1.6, ["0", "1", "2"], ["labels"]),  # the third seed may be a quarter late
        (1.9, ["0", "1"], ["seed 2", "labels"]),
        (3.0, ["0", "0"], ["seed 1", "seed 2"]),  # the last is that of the labels
    ],
)
def test_on_a_slower_machine_extras_are_left_out_then_whole_seeds_from_the_last_on(
    lowres_ssl: Command, machine: Machine, slowness: float, seeds: list[str], left_out: list[str]
) -> None:
    machine.slowness = slowness
    answer = lowres_ssl("benchmark", *ASKED, "budget=7min")
    assert answer.code == 0, answer.err
    assert seeds_run(machine) == seeds
    assert re.findall(r"^Left out for want of time, for all methods alike: (.*)\.$", answer.out, re.M) == left_out
    few = re.search(r"^(\d) seeds?: too few to test a difference", answer.out, re.M)
    assert (few[1] if few else "3") == str(len(set(seeds)))
    assert few is None or "Cannot tell." in answer.out


def test_method_that_fails_is_told_and_spares_the_others(lowres_ssl: Command, machine: Machine) -> None:
    machine.failing = ["simsiam"]
    answer = lowres_ssl("benchmark", *ASKED, "budget=7min")
    assert answer.code == 1
    assert "Use dcl." in answer.out
    assert answer.out.count("Failed: simsiam, seed") == 3
    assert "Failed: simsiam, seed 1: out of memory." in answer.out
    assert "lowres-ssl: 4 failures" in answer.err or "lowres-ssl: 3 failures" in answer.err


def test_process_that_is_killed_spares_the_methods_after_it(lowres_ssl: Command, machine: Machine) -> None:
    machine.deadly = ["dcl"]
    answer = lowres_ssl("benchmark", *ASKED, "budget=30min", "seeds=2", "epochs=4", "fewer_labels=[]")
    assert answer.code == 0, answer.err
    assert [re.findall(r"method=(\S+) seed=0", each) for each in machine.commands[:3]] == [
        ["random,dcl,simsiam"],
        ["dcl"],
        ["simsiam"],
    ]
    assert "mean of 2 seeds" in answer.out


def test_methods_that_were_not_typed_are_left_out_where_three_seeds_of_all_do_not_fit(
    lowres_ssl: Command, machine: Machine
) -> None:
    own = [each for each in ASKED if each != METHODS]
    answer = lowres_ssl("benchmark", *own, "budget=4min", "fewer_labels=[]")
    assert answer.code == 0, answer.err
    plan, end = answer.out.split("Which method for ")
    assert re.search(r"3 seeds of random, random_calibrated, trivial, dcl, simclr ", plan)
    left_out = r"want of time: simsiam, vicreg\. All methods: (budget=\w+)\."
    offered = re.search(left_out, plan)
    assert offered is not None
    assert re.search(left_out, end)
    assert all("vicreg" not in each for each in machine.commands)
    again = re.search(r"^More certain: lowres-ssl (.*?)   #", end, re.MULTILINE)
    assert again is not None
    assert "methods=[random,random_calibrated,trivial,dcl,simclr]" in shlex.split(again[1])
    machine.now = 0.0
    machine.commands.clear()
    assert lowres_ssl(*shlex.split(again[1])).code == 0
    assert seeds_run(machine) == ["0", "1", "2", "3", "4"]
    machine.now = 0.0
    assert "Left out" not in lowres_ssl("benchmark", *own, offered[1], "fewer_labels=[]", "dry_run=true").out


PHANTOM = ("dataset=phantom", "dataset.subset=80", "image_size=24", "methods=[random,dcl,simsiam]", "fewer_labels=[]")


@pytest.mark.parametrize("refused", [False, True])
def test_on_a_gpu_the_encoder_of_the_paper_is_taken_where_it_fits(
    lowres_ssl: Command, machine: Machine, monkeypatch: pytest.MonkeyPatch, refused: bool
) -> None:
    """Into the budget, and into the GPU's memory."""
    small = machine.measure

    def measure(asked: CostRequest) -> BenchmarkCosts:
        is_large = next(iter(asked.configs.values())).backbone.name == "resnet50"
        if is_large and refused:
            raise ConfigError("a step needs more memory than there is")
        found = small(asked)
        return replace(found, epoch={name: (30 if is_large else 1) * each for name, each in found.epoch.items()})

    monkeypatch.setattr(request, "measure_in_subprocess", measure)
    monkeypatch.setattr(request, "resolve_device", lambda *_: DevicePrecision(torch.device("cuda"), "bf16"))
    for budget, encoder in (("7min", "resnet18"), ("3h", "resnet18" if refused else "resnet50")):
        answer = lowres_ssl("benchmark", "dataset=folder", METHODS, f"budget={budget}", "dry_run=true")
        assert f"\n{encoder} at 24 px, recipe tuned, batch size 16, KNN k = 5;" in answer.out, answer.err


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("typed", "key"),
    [
        ("budget=soon", "budget=soon"),
        ("budget=1min", "budget=60s"),
        ("seed=1", "seed"),
        ("methods=[dcl,simclr]", "methods"),
        ("methods=[random,vicregg]", "methods=vicregg"),
        ("seeds=0", "seeds=0"),
        ("pretrain_on=all", "pretrain_on=all"),
        ("chosen_by=linear", "chosen_by=linear"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_its_key(lowres_ssl: Command, typed: str, key: str) -> None:
    answer = lowres_ssl("benchmark", *ASKED, typed)
    assert answer.code == 2, answer.out
    assert answer.last_line.startswith(f"lowres-ssl: {key}")


@pytest.mark.slow
def test_real_benchmark_is_interrupted_and_goes_on_to_its_report(tmp_path: Path) -> None:
    """On the phantom, everything real: measured, trained in processes of its own, interrupted once, reported."""
    command = [sys.executable, "-m", "lowres_ssl", "benchmark", *PHANTOM, "budget=5min", "seeds=2", "epochs=2"]
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
    end = time.monotonic() + 240

    def done() -> list[str]:
        return [name for path in plans.glob("*.json") for name in json.loads(path.read_text())["done"]]

    while "seed 0" not in done() and first.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.1)
    time.sleep(1.0)
    first.send_signal(signal.SIGINT)
    out, err = first.communicate(timeout=60)
    assert first.returncode == 130, err
    assert "in all" in out
    encoders = {path: path.stat().st_mtime_ns for path in plans.glob("*/pretrain/*-s0-*/encoder.safetensors")}
    assert len(encoders) == 4  # the calibrated random encoder stands beside every method, named or not

    second = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    assert second.stdout.startswith(out.rstrip())
    assert encoders == {path: path.stat().st_mtime_ns for path in encoders}
    assert "mean of 2 seeds" in second.stdout
    (report,) = plans.glob("*/report-*.html")
    assert "random initialisation" in report.read_text()
