"""A stored plan run to its end, step by step and by the clock; what is done is not repeated, what is late is dropped.

Every step is a command of ours in a process of its own (`children`). What becomes of it is written at once.
"""

import shlex
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from lowres_ssl.benchmark.allotment import is_in_time
from lowres_ssl.benchmark.children import Ended, last_words, run_command
from lowres_ssl.benchmark.rounds import Step, extra_steps, last_steps, random_steps, training, training_steps
from lowres_ssl.benchmark.study import RANDOM_STEP, Study, write_study
from lowres_ssl.command_line.overrides import command_line
from lowres_ssl.errors import TrainingError
from lowres_ssl.results.ledger import ledger
from lowres_ssl.sweeps.jobs import failures_in
from lowres_ssl.terminal import duration, say

# A step that may be left out is stopped when so many budgets are used up.
LATE = 1.5
# A process that ends so was ended by somebody else, or by the system for its memory.
KILLED = (128 + signal.SIGKILL, 128 + signal.SIGTERM, 128 + signal.SIGINT)


@dataclass(frozen=True)
class Clock:
    """How much of the budget is used up: what earlier calls took, and this one since it began."""

    before: float
    started: float

    def spent(self) -> float:
        return self.before + time.monotonic() - self.started


@dataclass(frozen=True)
class Probed:
    """What everything is scored with: the probes, and the fractions of the labels for the extra of that name."""

    probes: tuple[str, ...]
    fewer_labels: tuple[float, ...]


def run_study(study: Study, clock: Clock, probed: Probed, before_report: Callable[[Study], None]) -> Study:
    """Every step that is not done yet and that there is time for. Raises `TrainingError` if no method has a result."""
    study.folder.mkdir(parents=True, exist_ok=True)
    pace, first = 1.0, study.spent > 0  # the first step of a call that goes on was begun by another
    for step in training_steps(study):
        if step.name in study.done or step.name in study.dropped:
            continue
        if not begins(study, step, clock, pace):
            study = dropped(study, [step.name], clock)
            continue
        study, ended = train_seed(study, step, clock)
        if ended is not None and not first:
            pace = ended.seconds / step.seconds
        first = False
    if not study.seeds_done():
        raise TrainingError(f"no seed could be run; {'; '.join(study.failed) or 'see ' + str(study.log)}")
    for step in [*random_steps(study), *extra_steps(study, probed.probes, probed.fewer_labels)]:
        if step.name in study.done or step.name in study.dropped:
            continue
        if begins(study, step, clock, pace):
            study = run_extra(study, step, clock)
        else:
            study = dropped(study, [step.name], clock)
    for step in last_steps(study, probed.probes):
        if step.name not in study.done or (step.name == "report" and not study.report.exists()):
            if step.name == "report":
                before_report(study)
            study = run_extra(study, step, clock)
    return study


def begins(study: Study, step: Step, clock: Clock, pace: float) -> bool:
    return is_in_time(
        step.seconds * pace,
        spent=clock.spent(),
        still_to_come=study.costs.report * pace,
        budget=study.budget,
        seed=step.seed,
    )


def train_seed(study: Study, step: Step, clock: Clock) -> tuple[Study, Ended | None]:
    """All methods with one seed, or none: a seed that is stopped for want of time is dropped whole."""
    assert step.seed is not None
    limit = None if step.seed == 0 else LATE * study.budget - clock.spent()
    ended = run(study, step, clock, limit)
    if ended.stopped:
        return dropped(study, [step.name], clock), None
    messages = dict[str, str]()
    missing = without_result(study, step.seed)
    if missing and (ended.code < 0 or ended.code in KILLED):
        say(f"{step.name}: its process was ended (exit code {ended.code}); {', '.join(missing)} once more, each alone")
        for method in missing:
            alone = Step(step.name, training(study, [method], str(step.seed)), 0.0, step.seed)
            again = run(study, alone, clock, limit)
            messages[method] = why(study, again)
        missing = without_result(study, step.seed)
    elif missing:
        messages = sweep_messages(study)
    failed = tuple(f"{method}, {step.name}: {messages.get(method) or why(study, ended)}" for method in missing)
    for line in failed:
        say(f"failed: {line}")
    if len(missing) == len(study.methods):
        raise TrainingError(f"{step.name}: no method has a result; {failed[0]}")
    return keep(study.after(step.name, ended.seconds, failed), clock), ended


def run_extra(study: Study, step: Step, clock: Clock) -> Study:
    """A step without which there is an answer all the same."""
    late = step.name in (RANDOM_STEP, *study.allotment.extras)
    ended = run(study, step, clock, LATE * study.budget - clock.spent() if late else None)
    if ended.stopped:
        return dropped(study, [step.name], clock)
    if ended.code == 0:
        others = tuple(each for each in study.failed if not each.startswith(f"{step.name}: "))
        return keep(replace(study, failed=others).after(step.name, ended.seconds), clock)
    failure = f"{step.name}: {why(study, ended)}"
    say(f"failed: {failure}")
    return keep(replace(study, failed=tuple(dict.fromkeys([*study.failed, failure]))), clock)


def run(study: Study, step: Step, clock: Clock, limit: float | None) -> Ended:
    say(f"[{duration(clock.spent())} of {duration(study.budget)}] $ {command_line(*step.words)}")
    try:
        ended = run_command(step.words, log=study.log, limit=None if limit is None else max(limit, 0.0))
    except KeyboardInterrupt:
        keep(study, clock)
        raise
    planned = f", {duration(step.seconds)} were planned" if step.seconds else ""
    say(f"    {'stopped' if ended.stopped else 'ended'} after {duration(ended.seconds)}{planned}")
    return ended


def keep(study: Study, clock: Clock) -> Study:
    study = replace(study, spent=clock.spent())
    write_study(study)
    return study


def dropped(study: Study, names: Sequence[str], clock: Clock) -> Study:
    for name in names:
        say(
            f"{name}: left out, for all methods alike; {duration(clock.spent())} of {duration(study.budget)} are used "
            "up, and it would not end in time"
        )
    return keep(replace(study, dropped=(*study.dropped, *names)), clock)


def without_result(study: Study, seed: int) -> list[str]:
    """The methods that have no finished, scored run of this seed, in order."""
    frame, _ = ledger(study.folder)
    whole = (frame["state"] == "finished") & (frame["label_fraction"] == 1)
    there = frame[whole & (frame["seed"] == seed)]
    untrained = there["epochs"].fillna(0) == 0
    there = there[untrained | (there["epochs"] == study.allotment.epochs)]
    return [method for method in study.methods if method not in set(there["method"])]


def sweep_messages(study: Study) -> dict[str, str]:
    """What each method failed with in the latest sweep."""
    folders = sorted(path for path in (study.folder / "sweeps").glob("*") if path.is_dir())
    found: dict[str, str] = {}
    for failure in failures_in(folders[-1]) if folders else ():
        words = dict(word.partition("=")[::2] for word in shlex.split(failure.command))
        found[words.get("method", "")] = failure.message
    return found


def why(study: Study, ended: Ended) -> str:
    """What a command said last; on a terminal it said so there."""
    if sys.stderr.isatty():
        return f"exit code {ended.code}, see above"
    return last_words(study.log) or f"exit code {ended.code}"
