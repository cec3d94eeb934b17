"""Views a second of pre-training: this package's loop against the bare step, Lightly and a plain loop."""

import argparse
import os
import statistics
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from lowres_ssl.device import MEMORY_FORMATS
from speed.contestants import Case
from speed.experiment import build_overrides, device_of, experiment
from speed.table import arguments, machine, markdown, median_and_spread
from speed.turns import Contestant, EndedError

LABELS = {
    "ours": "ours",
    "bare": "bare step",
    "lightly_parts": "Lightly as documented",
    "lightly_tuned": "Lightly, bf16, channels_last",
    "plain": "plain loop",
}
# Of a turn. Fewer than four say nothing of a DataLoader's workers, which make a batch each while a step runs.
LEAST_STEPS, MOST_STEPS = 4, 60
WORKERS = [0, *(2**power for power in range((os.cpu_count() or 1).bit_length()))]


@dataclass
class Entry:
    """A contestant as it takes part: `steps` a turn; `speeds`: views a second, one a turn; `with_end`: the same with
    what ends an epoch; `ended`: why it dropped out, if it did."""

    name: str
    case: Case
    steps: int = LEAST_STEPS
    speeds: list[float] = field(default_factory=list)
    with_end: list[float] = field(default_factory=list)
    ended: str = ""

    def take_turn(self, player: Contestant) -> None:
        try:
            taken = player.turn(self.steps)
        except EndedError as error:
            self.ended = str(error)
            return
        self.speeds.append(player.views_a_second(self.steps, taken.steps))
        if taken.with_end is not None:
            self.with_end.append(player.views_a_second(self.steps, taken.with_end))


def main() -> None:
    given = options().parse_args()
    print(machine(given.device), flush=True)
    rows, lost = [], []
    for method in given.method:
        for batch_size in given.batch_size:
            own = (f"recipe={given.recipe}", f"method={method}", f"batch_size={batch_size}")
            overrides = build_overrides(given, *own, f"compile={given.compiled}", "evaluate=false")
            experiment(overrides)  # so that the store is there before anyone starts
            case = Case(overrides, method, given.backbone, given.image_size, batch_size, given.device)
            against = [name for name in given.against if name != "plain" or method == "simclr"]
            entries = [best_of(name, case, given) for name in ("ours", *against)]
            (one_at_a_time if given.one_at_a_time else side_by_side)(entries, given.repetitions)
            told = told_of(entries)
            for row in told:
                print(*row, flush=True)
            rows += told
            lost += [f"{method}, batch size {batch_size}"] if entries[0].ended else []
    heads = ["method", "batch size", "", "views a second", "ours is", "with"]
    title = f"{given.backbone}, {given.image_size} px, median of {given.repetitions} turns (smallest-largest)"
    print(f"\n{title}\n\n{markdown(heads, rows)}")
    if lost:
        sys.exit(f"speed.pretrain: ours did not last ({'; '.join(lost)}); what it said stands above")


def options() -> argparse.ArgumentParser:
    parser = arguments(__doc__)
    parser.add_argument("--method", nargs="+", default=["simclr"])
    parser.add_argument("--recipe", default="tuned", help="of ours and of the bare step")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--batch-size", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--against", nargs="*", default=list(LABELS)[1:], choices=list(LABELS)[1:])
    parser.add_argument("--seconds", type=float, default=8.0, help=f"of a turn, about; of {LEAST_STEPS} steps at least")
    parser.add_argument("--workers", type=int, nargs="+", default=WORKERS, help="Lightly's, all tried")
    parser.add_argument("--compiled", default="auto", help="compile=... of ours and of the bare step")
    one = "a contestant's process lives for one turn alone: for sizes that do not fit side by side"
    parser.add_argument("--one-at-a-time", action="store_true", help=one)
    return parser


def best_of(name: str, case: Case, given: argparse.Namespace) -> Entry:
    """The contestant with the number of workers, or the memory layout, that served it best, and as many steps a turn as
    take `--seconds`. Its process has ended, so that the next is tried without it."""
    tried: list[tuple[float, Case]] = []
    ended = ""
    for own in cases(name, case, given):
        with Contestant(name, own) as player:
            try:
                slow = player.warm_up() < case.batch_size  # two views each: a step took more than two seconds
                steps = LEAST_STEPS if slow else 10
                tried.append((player.views_a_second(steps, player.turn(steps).steps), own))
            except EndedError as error:
                ended = str(error)
    if not tried:
        return Entry(name, case, ended=ended)
    speed, own = max(tried, key=lambda entry: entry[0])
    wanted = round(given.seconds * speed / (2 * case.batch_size))
    return Entry(name, own, max(LEAST_STEPS, min(MOST_STEPS, wanted)))


def cases(name: str, case: Case, given: argparse.Namespace) -> list[Case]:
    """What a contestant is tried with. Ours chooses for itself, as for a user."""
    if name.startswith("lightly"):
        return [replace(case, workers=number) for number in given.workers]
    if name == "bare" and device_of(case.device).type == "cpu":
        return [replace(case, layout=layout) for layout in MEMORY_FORMATS]
    return [case]


def side_by_side(entries: list[Entry], repetitions: int) -> None:
    """All processes are there at once; one works, the others wait."""
    with ExitStack() as stack:
        players = []
        for entry in entries:
            if not entry.ended:
                players.append((entry, stack.enter_context(Contestant(entry.name, entry.case))))
                warm_up(*players[-1])
        for _ in range(repetitions):
            for entry, player in players:
                if not entry.ended:
                    entry.take_turn(player)


def one_at_a_time(entries: list[Entry], repetitions: int) -> None:
    """A process for each turn, warmed up: nobody's memory is taken by one who waits."""
    for _ in range(repetitions):
        for entry in entries:
            if not entry.ended:
                with Contestant(entry.name, entry.case) as player:
                    warm_up(entry, player)
                    if not entry.ended:
                        entry.take_turn(player)


def warm_up(entry: Entry, player: Contestant) -> None:
    try:
        player.warm_up()
    except EndedError as error:
        entry.ended = str(error)


def told_of(entries: list[Entry]) -> list[list[str]]:
    """One row a contestant, and one of ours with what ends an epoch; who dropped out has the reason for a figure."""
    ours, rows = entries[0], []
    for entry in entries:
        told = f"{entry.case.workers} workers" if entry.name.startswith("lightly") else ""
        told = entry.case.layout if entry.name == "bare" else told
        start = [entry.case.method, str(entry.case.batch_size)]
        if entry.ended:
            rows.append([*start, LABELS[entry.name], entry.ended, "", told])
            continue
        versus = "" if entry is ours or ours.ended else times_as_fast(ours.speeds, entry.speeds)
        rows.append([*start, LABELS[entry.name], median_and_spread(entry.speeds), versus, told])
        if entry.with_end:
            versus = times_as_fast(ours.speeds, entry.with_end)
            rows.append([*start, "ours, with the epoch's end", median_and_spread(entry.with_end), versus, ""])
    return rows


def times_as_fast(ours: list[float], theirs: list[float]) -> str:
    """Turn by turn, so that what slowed the machine for a while slowed both."""
    return f"{statistics.median(one / other for one, other in zip(ours, theirs, strict=True)):.2f} times as fast"


if __name__ == "__main__":
    main()
