"""Run a benchmark by the clock: each step is a command in a process of its own, the plan is stored after each."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from lowres_ssl.benchmark.decision import find_best_pretrained, read_results, select_candidate
from lowres_ssl.benchmark.plan import (
    RANDOM_STEP,
    BenchmarkPlan,
    BenchmarkStep,
    Request,
    plan_final_steps,
    plan_frozen_steps,
    plan_more_random,
    plan_run,
    write_benchmark_plan,
)
from lowres_ssl.benchmark.printing import write_answer
from lowres_ssl.benchmark.schedule import START_WORD, FinishedRun, NextRun, find_next_run
from lowres_ssl.config.overrides import format_command
from lowres_ssl.console import format_duration, log_info, pluralise
from lowres_ssl.errors import TrainingError
from lowres_ssl.runs.run import Run

CLI_COMMAND = (sys.executable, "-m", "lowres_ssl")
RESERVED_SHARE = 0.07  # of the budget, for what is slower than measured
MAX_LATE_SHARE = 0.1  # of the budget: so much later than planned a run may end that the answer needs
MAX_OVERRUN = 1.05  # budgets, tables and report included: a training that still runs is stopped then
MIN_FETCH_SECONDS, FETCH_SHARE = 90.0, 0.1  # for scoring a pre-trained encoder, whose weights may be fetched


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
    """Run a plan's steps and keep the plan up to date. `started`: when this call began, by `time.monotonic`; of the
    budget as much as the plan has `spent` is used up already. `doubts`: of the images, lines of the answer, which is
    stored whenever there is more to answer by."""

    def __init__(self, plan: BenchmarkPlan, request: Request, started: float, doubts: Sequence[str]) -> None:
        self.plan, self.request, self.started, self.doubts = plan, request, started, doubts
        self.before = plan.spent

    @property
    def log(self) -> Path:
        return self.request.file(self.plan.asked, "log.txt")

    def spent(self) -> float:
        return self.before + time.monotonic() - self.started

    def left(self, budgets: float) -> float:
        """The seconds until so many budgets are used up, without those of tables, comparison and report."""
        return budgets * self.plan.asked.budget - self.spent() - self.plan.report_seconds

    def run(self) -> None:
        """Run what is not done yet and what there is time for. An interruption leaves the plan as far as it is."""
        if self.plan.finished:
            return
        self.request.folder(self.plan.asked).mkdir(parents=True, exist_ok=True)
        self.score_frozen()
        while (run := self.choose_run()) is not None:
            self.train(run)
        if self.plan.race.finalist is None:
            log_info("no time for a training: the answer is by encoders that nothing was trained for")
        if (step := plan_more_random(self.plan, self.request, self.left(1.0))) is not None:
            self.run_step(step, self.left(MAX_OVERRUN))
        for step in plan_final_steps(self.plan, self.request):
            if step.name == "report":
                self.answer()
            ended = self.run_step(step)
            if ended.code:
                self.fail(step.name, ended)
        self.save(replace(self.plan, finished=True))

    def score_frozen(self) -> None:
        """Score the encoders that nothing is trained for, then enter the candidates that start from the best of them.

        Pre-trained weights may have to be fetched, and a network may not answer: that has a limit.
        """
        for step in plan_frozen_steps(self.plan, self.request):
            if step.name in {*self.plan.done, *self.plan.missing}:
                continue
            longest = None if step.name == RANDOM_STEP else max(MIN_FETCH_SECONDS, FETCH_SHARE * self.plan.asked.budget)
            ended = self.run_step(step, longest)
            if ended.code and step.name == RANDOM_STEP:
                raise TrainingError(f"random initialisation cannot be scored: {self.explain_failure(ended)}")
            if ended.code:
                log_info(f"left out: {step.name}: {self.explain_failure(ended)}")
                self.save(replace(self.plan, missing=(*self.plan.missing, step.name)))
        best = find_best_pretrained(self.plan, self.read_rows())
        if best is not None and not self.plan.race.runs:
            continued = tuple(f"{method}{START_WORD}{best}" for method in self.plan.asked.continued)
            candidates = (*continued, *self.plan.asked.methods)
            self.save(replace(self.plan, race=replace(self.plan.race, candidates=candidates)))
        self.answer()

    def choose_run(self) -> NextRun | None:
        """Choose the next training, and log where a rung begins."""
        before = self.plan.race
        race, run = find_next_run(before, self.left(1 - RESERVED_SHARE), MAX_LATE_SHARE * self.plan.asked.budget)
        if race.rungs != before.rungs:
            self.save(replace(self.plan, race=race))
            rung = race.rungs[-1]
            views = f"{race.count_views(rung.epochs):,} views ({pluralise(rung.epochs, 'epoch')})"
            log_info(f"rung {len(race.rungs)}, {views} each: {', '.join(rung.names)}")
        return run

    def train(self, run: NextRun) -> None:
        """Train a candidate and note its validation accuracy; one that fails is out of the race."""
        step, smaller = plan_run(self.plan, self.request, run), self.plan.smaller
        ended = self.run_step(step, self.left(MAX_OVERRUN))
        done = self.read_run(run, ended)
        if done.score is None and not self.plan.race.runs and smaller not in (None, self.plan.settings):
            assert smaller is not None
            log_info(f"{step.name}: {self.explain_failure(ended)}; again with {smaller.backbone}")
            self.save(replace(self.plan.restart(), settings=smaller))
            self.score_frozen()
            return
        if done.score is None and not ended.stopped:
            self.fail(step.name, ended)
        self.save(replace(self.plan, race=self.plan.race.add(done)))
        if done.score is not None:
            log_info(f"    validation accuracy by {self.plan.asked.chosen_by}: {done.score:.3f}")
        self.answer()

    def answer(self) -> None:
        write_answer(self.plan, self.request, self.doubts)

    def read_run(self, run: NextRun, ended: ExitStatus) -> FinishedRun:
        """Read how long a training took and its validation accuracy, of one that ended as it should."""
        rows = select_candidate(self.read_rows(), self.plan, run.name, run.epochs, half=run.half)
        own = rows[(rows["seed"] == run.seed) & (rows["probe"] == self.plan.asked.chosen_by)]
        if ended.code or own.empty:
            return FinishedRun(run.name, run.epochs, run.seed, ended.seconds, 0.0, None, run.half)
        record = Run(Path(own["result"].iloc[0]).parent).read()
        assert record.outcome is not None, "it is finished"
        training, score = record.outcome.training_seconds, float(own["validation_accuracy"].iloc[0])
        # One of an earlier benchmark was found, not trained: what the command took is what it takes beside its epochs.
        seconds = ended.seconds if ended.seconds > training else training + ended.seconds
        sees_labels = record.labels is not None
        return FinishedRun(run.name, run.epochs, run.seed, seconds, training, score, run.half, sees_labels)

    def read_rows(self) -> pd.DataFrame:
        return read_results(self.request.folder(self.plan.asked))

    def run_step(self, step: BenchmarkStep, limit: float | None = None) -> ExitStatus:
        """Run a command; after `limit` seconds it is stopped."""
        log_info(f"[{self.format_spent()}] $ {format_command(*step.words)}")
        try:
            ended = run_subprocess(step.words, log=self.log, limit=None if limit is None else max(1.0, limit))
        except KeyboardInterrupt:
            self.save(self.plan)
            raise
        log_info(f"    {'stopped' if ended.stopped else 'ended'} after {format_duration(ended.seconds)}")
        if ended.code == 0:
            self.save(replace(self.plan, done={**self.plan.done, step.name: ended.seconds}))
        return ended

    def check_no_failures(self) -> None:
        """Raise `TrainingError` if something failed."""
        if failed := self.plan.failed:
            raise TrainingError(f"{pluralise(len(failed), 'failure')}, see above and {self.log}: {failed[0]}")

    def fail(self, name: str, ended: ExitStatus) -> None:
        failure = f"{name}: {self.explain_failure(ended)}"
        log_info(f"failed: {failure}")
        self.save(replace(self.plan, failed=(*self.plan.failed, failure)))

    def format_spent(self) -> str:
        return f"{format_duration(self.spent())} of {format_duration(self.plan.asked.budget)}"

    def save(self, plan: BenchmarkPlan) -> None:
        self.plan = replace(plan, spent=self.spent())
        write_benchmark_plan(self.request, self.plan)

    def explain_failure(self, ended: ExitStatus) -> str:
        """The last line that a command printed; on a terminal it was printed there."""
        if ended.stopped:
            return f"stopped after {format_duration(ended.seconds)}"
        if sys.stderr.isatty():
            return f"exit code {ended.code}, see above"
        return read_last_line(self.log) or f"exit code {ended.code}"
