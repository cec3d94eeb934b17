"""A stored plan run to its end, step by step and by the clock; what is done is not repeated, what is late is dropped.

Every step is a command of ours in a process of its own (`children`). What becomes of it is written at once.
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

from lowres_ssl.benchmark.plan import RANDOM_STEP_NAME, BenchmarkPlan, write_benchmark_plan
from lowres_ssl.benchmark.schedule import fits_in_budget
from lowres_ssl.benchmark.steps import (
    BenchmarkStep,
    build_training_command,
    plan_extra_steps,
    plan_final_steps,
    plan_random_steps,
    plan_training_steps,
)
from lowres_ssl.config.overrides import format_command
from lowres_ssl.console import format_duration, log_info
from lowres_ssl.errors import TrainingError
from lowres_ssl.runs.index import read_index
from lowres_ssl.sweeps.jobs import iter_failures

CLI_COMMAND = (sys.executable, "-m", "lowres_ssl")
CHILD_POLL_SECONDS = 0.2
CHILD_REPORT_SECONDS = 60.0


@dataclass(frozen=True)
class ExitStatus:
    """How a command ended. `code`: its exit code, minus the signal's number if one killed it; `stopped`: by us, since
    it was given no more time."""

    code: int
    seconds: float
    stopped: bool = False


def run_subprocess(words: Sequence[str], *, log: Path, limit: float | None = None) -> ExitStatus:
    """`lowres-ssl WORDS`, its output added to the end of `log`; its progress goes to the terminal, if there is one,
    else the latest line of the log is shown every minute.

    After `limit` seconds it is asked to stop, as by Ctrl-C, and waited for: a training saves where it is. So it is if
    this process is interrupted or terminated, which is raised on afterwards; a second Ctrl-C waits for nothing.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with log.open("ab") as file:
        file.write(f"\n$ lowres-ssl {' '.join(words)}\n".encode())
        file.flush()
        # A session of its own: a Ctrl-C on the terminal reaches this process alone, which passes it on once. A training
        # takes a second one for impatience.
        child = subprocess.Popen(
            [*CLI_COMMAND, *words],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=None if sys.stderr.isatty() else file,
            start_new_session=True,
        )
        try:
            stopped = not wait_for_exit(child, started, limit, log)
            if stopped:
                signal_child(child, signal.SIGINT)
                child.wait()
        except KeyboardInterrupt as interruption:  # `Interrupted`, which SIGTERM raises, is one
            stop_child(child, signal.SIGTERM if getattr(interruption, "exit_code", 130) == 143 else signal.SIGINT)
            raise
    return ExitStatus(child.returncode, time.monotonic() - started, stopped)


def wait_for_exit(child: "subprocess.Popen[bytes]", started: float, limit: float | None, log: Path) -> bool:
    shown = started
    while child.poll() is None:
        now = time.monotonic()
        if limit is not None and now - started > limit:
            return False
        if now - shown > CHILD_REPORT_SECONDS and not sys.stderr.isatty():
            log_info(f"    {read_last_line(log)}")
            shown = now
        time.sleep(CHILD_POLL_SECONDS)
    return True


def stop_child(child: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    """Ask it to end and wait; at a second Ctrl-C end it."""
    signal_child(child, number)
    try:
        child.wait()
    except KeyboardInterrupt:
        signal_child(child, signal.SIGKILL)
        child.wait()


def signal_child(child: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    """The signal to the child and whatever it has started."""
    if child.poll() is None:
        os.killpg(child.pid, number)


def read_last_line(log: Path) -> str:
    """The last line of what was logged; nothing if there is none."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


# A step that may be left out is stopped when so many budgets are used up.
MAX_OVERRUN = 1.5
# A process that ends so was ended by somebody else, or by the system for its memory.
KILL_CODES = (128 + signal.SIGKILL, 128 + signal.SIGTERM, 128 + signal.SIGINT)


@dataclass(frozen=True)
class BudgetClock:
    """How much of the budget is used up: what earlier calls took, and this one since it began."""

    before: float
    started: float

    def spent(self) -> float:
        return self.before + time.monotonic() - self.started


@dataclass(frozen=True)
class ScoringChoice:
    """What everything is scored with: the probes, and the fractions of the labels for the extra of that name."""

    probes: tuple[str, ...]
    fewer_labels: tuple[float, ...]


def run_plan(
    study: BenchmarkPlan, clock: BudgetClock, probed: ScoringChoice, before_report: Callable[[BenchmarkPlan], None]
) -> BenchmarkPlan:
    """Every step that is not done yet and that there is time for. Raises `TrainingError` if no method has a result."""
    study.folder.mkdir(parents=True, exist_ok=True)
    pace, first = 1.0, study.spent > 0  # the first step of a call that goes on was begun by another
    for step in plan_training_steps(study):
        if step.name in study.done or step.name in study.dropped:
            continue
        if not can_start_step(study, step, clock, pace):
            study = drop_steps(study, [step.name], clock)
            continue
        study, ended = train_seed(study, step, clock)
        if ended is not None and not first:
            pace = ended.seconds / step.seconds
        first = False
    if not study.seeds_done():
        raise TrainingError(f"no seed could be run; {'; '.join(study.failed) or 'see ' + str(study.log)}")
    for step in [*plan_random_steps(study), *plan_extra_steps(study, probed.probes, probed.fewer_labels)]:
        if step.name in study.done or step.name in study.dropped:
            continue
        if can_start_step(study, step, clock, pace):
            study = run_extra(study, step, clock)
        else:
            study = drop_steps(study, [step.name], clock)
    for step in plan_final_steps(study, probed.probes):
        if step.name not in study.done or (step.name == "report" and not study.report.exists()):
            if step.name == "report":
                before_report(study)
            study = run_extra(study, step, clock)
    return study


def can_start_step(study: BenchmarkPlan, step: BenchmarkStep, clock: BudgetClock, pace: float) -> bool:
    return fits_in_budget(
        step.seconds * pace,
        spent=clock.spent(),
        still_to_come=study.costs.report * pace,
        budget=study.budget,
        seed=step.seed,
    )


def train_seed(
    study: BenchmarkPlan, step: BenchmarkStep, clock: BudgetClock
) -> tuple[BenchmarkPlan, ExitStatus | None]:
    """All methods with one seed, or none: a seed that is stopped for want of time is dropped whole."""
    assert step.seed is not None
    limit = None if step.seed == 0 else MAX_OVERRUN * study.budget - clock.spent()
    ended = run_step(study, step, clock, limit)
    if ended.stopped:
        return drop_steps(study, [step.name], clock), None
    messages = dict[str, str]()
    missing = find_unscored_methods(study, step.seed)
    if missing and (ended.code < 0 or ended.code in KILL_CODES):
        log_info(
            f"{step.name}: its process was ended (exit code {ended.code}); {', '.join(missing)} once more, each alone"
        )
        for method in missing:
            alone = BenchmarkStep(step.name, build_training_command(study, [method], str(step.seed)), 0.0, step.seed)
            again = run_step(study, alone, clock, limit)
            messages[method] = explain_failure(study, again)
        missing = find_unscored_methods(study, step.seed)
    elif missing:
        messages = read_sweep_errors(study)
    failed = tuple(
        f"{method}, {step.name}: {messages.get(method) or explain_failure(study, ended)}" for method in missing
    )
    for line in failed:
        log_info(f"failed: {line}")
    if len(missing) == len(study.methods):
        raise TrainingError(f"{step.name}: no method has a result; {failed[0]}")
    return save_progress(study.after(step.name, ended.seconds, failed), clock), ended


def run_extra(study: BenchmarkPlan, step: BenchmarkStep, clock: BudgetClock) -> BenchmarkPlan:
    """A step without which there is an answer all the same."""
    late = step.name in (RANDOM_STEP_NAME, *study.allotment.extras)
    ended = run_step(study, step, clock, MAX_OVERRUN * study.budget - clock.spent() if late else None)
    if ended.stopped:
        return drop_steps(study, [step.name], clock)
    if ended.code == 0:
        others = tuple(each for each in study.failed if not each.startswith(f"{step.name}: "))
        return save_progress(replace(study, failed=others).after(step.name, ended.seconds), clock)
    failure = f"{step.name}: {explain_failure(study, ended)}"
    log_info(f"failed: {failure}")
    return save_progress(replace(study, failed=tuple(dict.fromkeys([*study.failed, failure]))), clock)


def run_step(study: BenchmarkPlan, step: BenchmarkStep, clock: BudgetClock, limit: float | None) -> ExitStatus:
    log_info(f"[{format_duration(clock.spent())} of {format_duration(study.budget)}] $ {format_command(*step.words)}")
    try:
        ended = run_subprocess(step.words, log=study.log, limit=None if limit is None else max(limit, 0.0))
    except KeyboardInterrupt:
        save_progress(study, clock)
        raise
    planned = f", {format_duration(step.seconds)} were planned" if step.seconds else ""
    log_info(f"    {'stopped' if ended.stopped else 'ended'} after {format_duration(ended.seconds)}{planned}")
    return ended


def save_progress(study: BenchmarkPlan, clock: BudgetClock) -> BenchmarkPlan:
    study = replace(study, spent=clock.spent())
    write_benchmark_plan(study)
    return study


def drop_steps(study: BenchmarkPlan, names: Sequence[str], clock: BudgetClock) -> BenchmarkPlan:
    for name in names:
        log_info(
            f"{name}: left out, for all methods alike; {format_duration(clock.spent())} "
            f"of {format_duration(study.budget)} are used "
            "up, and it would not end in time"
        )
    return save_progress(replace(study, dropped=(*study.dropped, *names)), clock)


def find_unscored_methods(study: BenchmarkPlan, seed: int) -> list[str]:
    """The methods that have no finished, scored run of this seed, in order."""
    frame, _ = read_index(study.folder)
    whole = (frame["state"] == "finished") & (frame["label_fraction"] == 1)
    there = frame[whole & (frame["seed"] == seed)]
    untrained = there["epochs"].fillna(0) == 0
    there = there[untrained | (there["epochs"] == study.allotment.epochs)]
    return [method for method in study.methods if method not in set(there["method"])]


def read_sweep_errors(study: BenchmarkPlan) -> dict[str, str]:
    """What each method failed with in the latest sweep."""
    folders = sorted(path for path in (study.folder / "sweeps").glob("*") if path.is_dir())
    found: dict[str, str] = {}
    for failure in iter_failures(folders[-1]) if folders else ():
        words = dict(word.partition("=")[::2] for word in shlex.split(failure.command))
        found[words.get("method", "")] = failure.message
    return found


def explain_failure(study: BenchmarkPlan, ended: ExitStatus) -> str:
    """What a command said last; on a terminal it said so there."""
    if sys.stderr.isatty():
        return f"exit code {ended.code}, see above"
    return read_last_line(study.log) or f"exit code {ended.code}"
