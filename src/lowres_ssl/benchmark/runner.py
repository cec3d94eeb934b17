"""Run a stored plan to its end by the clock. What is done is not repeated, what is late is dropped.

Each step is a command of ours in a process of its own. The plan is stored again after each.
"""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lowres_ssl.benchmark.plan import (
    BenchmarkCall,
    BenchmarkPlan,
    BenchmarkStep,
    build_training_command,
    plan_extra_steps,
    plan_final_steps,
    plan_training_steps,
    write_benchmark_plan,
)
from lowres_ssl.benchmark.schedule import fits_in_budget
from lowres_ssl.config.overrides import format_command
from lowres_ssl.console import format_duration, log_info
from lowres_ssl.errors import TrainingError
from lowres_ssl.runs.index import read_index
from lowres_ssl.sweeps.jobs import iter_failures

CLI_COMMAND = (sys.executable, "-m", "lowres_ssl")
MAX_OVERRUN = 1.5  # budgets; a step that may be left out is stopped then
# A process that ends so was ended by somebody else, or by the system for its memory.
KILL_CODES = (128 + signal.SIGKILL, 128 + signal.SIGTERM, 128 + signal.SIGINT)


@dataclass(frozen=True)
class ExitStatus:
    """How a command ended. code: its exit code, minus the signal's number if one killed it; stopped: by us, for want of
    time."""

    code: int
    seconds: float
    stopped: bool = False


def run_subprocess(words: Sequence[str], *, log: Path, limit: float | None = None) -> ExitStatus:
    """Run `lowres-ssl WORDS` and append its output to `log`; its progress goes to the terminal, if there is one.

    After `limit` seconds it is sent SIGINT and waited for: a training saves its state. So it is if this process is
    interrupted or terminated, which is raised on afterwards; a second Ctrl-C kills it.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with log.open("ab") as file:
        file.write(f"\n$ lowres-ssl {' '.join(words)}\n".encode())
        file.flush()
        # In a session of its own: a Ctrl-C on the terminal reaches this process alone, which passes it on once.
        child = subprocess.Popen(
            [*CLI_COMMAND, *words],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=None if sys.stderr.isatty() else file,
            start_new_session=True,
        )
        try:
            child.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            stop_child(child, signal.SIGINT)
            return ExitStatus(child.returncode, time.monotonic() - started, stopped=True)
        except KeyboardInterrupt as interruption:  # `Interrupted`, which SIGTERM raises, is one
            stop_child(child, signal.SIGTERM if getattr(interruption, "exit_code", 130) == 143 else signal.SIGINT)
            raise
    return ExitStatus(child.returncode, time.monotonic() - started)


def stop_child(child: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    """Signal the child and all that it has started, and wait; at a Ctrl-C meanwhile kill them."""
    if child.poll() is None:
        os.killpg(child.pid, number)
        try:
            child.wait()
        except KeyboardInterrupt:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def read_last_line(log: Path) -> str:
    """The last line of a log that is not blank; "" if there is none."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


class BenchmarkRunner:
    """Run a plan's steps and keep the plan up to date. `probes`: what everything is scored with; `started`: when this
    call began, by `time.monotonic`. Of the budget as much as the plan has `spent` is used up already."""

    def __init__(self, plan: BenchmarkPlan, call: BenchmarkCall, probes: Sequence[str], started: float) -> None:
        self.plan, self.call, self.probes, self.started = plan, call, probes, started
        self.before = plan.spent
        self.pace = 1.0  # seconds taken for each that was planned; not by a step that an earlier call began
        self.is_first_step = True

    @property
    def log(self) -> Path:
        return self.call.file(self.plan.asked, "log.txt")

    def spent(self) -> float:
        return self.before + time.monotonic() - self.started

    def run(self, before_report: Callable[[BenchmarkPlan], None]) -> BenchmarkPlan:
        """Run every step that is not done yet and that there is time for. Raises `TrainingError` if no method has a
        result."""
        self.call.folder(self.plan.asked).mkdir(parents=True, exist_ok=True)
        for step in plan_training_steps(self.plan, self.call):
            self.run_if_in_time(step, self.train_seed)
        if not self.plan.seeds_done:
            raise TrainingError(f"no seed could be run; {'; '.join(self.plan.failed) or f'see {self.log}'}")
        for step in plan_extra_steps(self.plan, self.call, self.probes):
            self.run_if_in_time(step, self.run_extra)
        has_report = self.call.file(self.plan.asked, "report.html").exists()
        for step in plan_final_steps(self.plan, self.call, self.probes):
            if step.name not in self.plan.done or (step.name == "report" and not has_report):
                if step.name == "report":
                    before_report(self.plan)
                self.run_extra(step, limited=False)
        return self.plan

    def run_if_in_time(self, step: BenchmarkStep, run: Callable[[BenchmarkStep], None]) -> None:
        if step.name in self.plan.done or step.name in self.plan.dropped:
            return
        if fits_in_budget(
            step.seconds * self.pace,
            spent=self.spent(),
            still_to_come=self.plan.costs.report * self.pace,
            budget=self.plan.asked.budget,
            seed=step.seed,
        ):
            run(step)
        else:
            self.drop(step)

    def train_seed(self, step: BenchmarkStep) -> None:
        """Train all methods with one seed, or none: a seed that is stopped for want of time is dropped whole."""
        seed, whole = step.seed or 0, self.before == 0 or not self.is_first_step
        self.is_first_step = False
        limit = None if seed == 0 else self.limit
        ended = self.run_step(step, limit)
        if ended.stopped:
            self.drop(step)
            return
        missing = self.find_unscored_methods(seed)
        messages = self.read_sweep_errors() if missing else {}
        if missing and (ended.code < 0 or ended.code in KILL_CODES):
            again = ", ".join(missing)
            log_info(f"{step.name}: its process was killed (exit code {ended.code}); {again} once more, each alone")
            for method in missing:
                words = build_training_command(self.plan, self.call, [method], str(seed))
                alone = self.run_step(BenchmarkStep(step.name, words, 0.0, seed), limit)
                messages[method] = self.explain_failure(alone)
            missing = self.find_unscored_methods(seed)
        reasons = [messages.get(method) or self.explain_failure(ended) for method in missing]
        failed = tuple(f"{method}, {step.name}: {why}" for method, why in zip(missing, reasons, strict=True))
        for line in failed:
            log_info(f"failed: {line}")
        if len(missing) == len(self.plan.methods):
            raise TrainingError(f"{step.name}: no method has a result; {failed[0]}")
        if whole:
            self.pace = ended.seconds / step.seconds
        self.save(self.plan.after(step.name, ended.seconds, failed))

    @property
    def limit(self) -> float:
        """The seconds that a step may take that can be left out."""
        return max(0.0, MAX_OVERRUN * self.plan.asked.budget - self.spent())

    def run_extra(self, step: BenchmarkStep, *, limited: bool = True) -> None:
        """Run a step without which there is an answer all the same."""
        ended = self.run_step(step, self.limit if limited else None)
        others = tuple(each for each in self.plan.failed if not each.startswith(f"{step.name}: "))
        if ended.stopped:
            self.drop(step)
        elif ended.code == 0:
            self.save(replace(self.plan, failed=others).after(step.name, ended.seconds))
        else:
            failure = f"{step.name}: {self.explain_failure(ended)}"
            log_info(f"failed: {failure}")
            self.save(replace(self.plan, failed=(*others, failure)))

    def run_step(self, step: BenchmarkStep, limit: float | None) -> ExitStatus:
        log_info(f"[{self.format_spent()}] $ {format_command(*step.words)}")
        try:
            ended = run_subprocess(step.words, log=self.log, limit=limit)
        except KeyboardInterrupt:
            self.save(self.plan)
            raise
        planned = f", {format_duration(step.seconds)} were planned" if step.seconds else ""
        log_info(f"    {'stopped' if ended.stopped else 'ended'} after {format_duration(ended.seconds)}{planned}")
        return ended

    def drop(self, step: BenchmarkStep) -> None:
        log_info(f"{step.name}: left out, for all methods alike; {self.format_spent()} are used up: no time for it")
        self.save(replace(self.plan, dropped=(*self.plan.dropped, step.name)))

    def format_spent(self) -> str:
        return f"{format_duration(self.spent())} of {format_duration(self.plan.asked.budget)}"

    def save(self, plan: BenchmarkPlan) -> None:
        self.plan = replace(plan, spent=self.spent())
        write_benchmark_plan(self.call, self.plan)

    def find_unscored_methods(self, seed: int) -> list[str]:
        """The methods that have no finished, scored run of this seed, in order."""
        frame, _ = read_index(self.call.folder(self.plan.asked))
        whole = (frame["state"] == "finished") & (frame["label_fraction"] == 1) & (frame["seed"] == seed)
        there = frame[whole & frame["epochs"].fillna(0).isin([0, self.plan.schedule.epochs])]
        return [method for method in self.plan.methods if method not in set(there["method"])]

    def read_sweep_errors(self) -> dict[str, str]:
        """The error of each method that failed in the latest sweep."""
        folders = sorted(path for path in (self.call.folder(self.plan.asked) / "sweeps").glob("*") if path.is_dir())
        found: dict[str, str] = {}
        for failure in iter_failures(folders[-1]) if folders else ():
            words = dict(word.partition("=")[::2] for word in shlex.split(failure.command))
            found[words.get("method", "")] = failure.message
        return found

    def explain_failure(self, ended: ExitStatus) -> str:
        """The last line that a command printed; on a terminal it was printed there."""
        if sys.stderr.isatty():
            return f"exit code {ended.code}, see above"
        return read_last_line(self.log) or f"exit code {ended.code}"
