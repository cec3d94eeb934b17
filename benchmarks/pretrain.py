"""Views a second of pre-training: this package's loop against the bare step, Lightly and a plain loop."""

import os
import statistics
from contextlib import ExitStack
from dataclasses import replace

from benchmarks.contestants import Case
from benchmarks.experiment import about_data, experiment
from benchmarks.table import arguments, machine, markdown, median_and_spread
from benchmarks.turns import Contestant

LABELS = {
    "ours": "ours",
    "bare": "bare step",
    "lightly_parts": "Lightly as documented",
    "lightly_tuned": "Lightly, bf16, channels_last",
    "plain": "plain loop",
}
MOST_STEPS = 60


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--method", nargs="+", default=["simclr"])
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--batch-size", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--against", nargs="*", default=list(LABELS)[1:], choices=list(LABELS)[1:])
    parser.add_argument("--seconds", type=float, default=8.0, help="about how long a turn lasts")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, os.cpu_count() or 1], help="Lightly's, all tried")
    parser.add_argument("--compiled", default="auto", help="compile=... of ours and of the bare step")
    given = parser.parse_args()
    print(machine(given.device), flush=True)
    rows = []
    for method in given.method:
        for batch_size in given.batch_size:
            overrides = [
                *about_data(given.data, given.work, given.images),
                "recipe=tuned",
                f"method={method}",
                f"backbone={given.backbone}",
                f"image_size={given.image_size}",
                f"batch_size={batch_size}",
                f"device={given.device}",
                f"compile={given.compiled}",
                "evaluate=false",
            ]
            experiment(overrides)  # so that the store is there before anyone starts
            case = Case(
                overrides=tuple(overrides),
                method=method,
                backbone=given.backbone,
                image_size=given.image_size,
                batch_size=batch_size,
                device=given.device,
            )
            against = [name for name in given.against if name != "plain" or method == "simclr"]
            rows += contest(case, ["ours", *against], given.repetitions, given.seconds, given.workers)
    heads = ["method", "batch size", "", "views a second", "ours is", "DataLoader workers"]
    title = f"{given.backbone}, {given.image_size} px, median of {given.repetitions} turns (smallest-largest)"
    print(f"\n{title}\n\n{markdown(heads, rows)}")


def contest(case: Case, names: list[str], repetitions: int, seconds: float, workers: list[int]) -> list[list[str]]:
    """One row a contestant; they take turns, each of about `seconds`."""
    with ExitStack() as stack:
        players, steps = [], []
        for name in names:
            player, speed = best_of(name, case, workers if name.startswith("lightly") else [0])
            players.append(stack.enter_context(player))
            steps.append(max(1, min(MOST_STEPS, round(seconds * speed / (2 * case.batch_size)))))
        speeds: list[list[float]] = [[] for _ in names]
        for _ in range(repetitions):
            for player, number, taken in zip(players, steps, speeds, strict=True):
                taken.append(player.turn(number))
    rows = []
    for player, taken in zip(players, speeds, strict=True):
        # Turn by turn, so that what slowed the machine for a while slowed both.
        ratio = statistics.median(ours / theirs for ours, theirs in zip(speeds[0], taken, strict=True))
        told = str(player.case.workers) if player.name.startswith("lightly") else ""
        versus = "" if player.name == "ours" else f"{ratio:.2f} times as fast"
        rows.append([case.method, str(case.batch_size), LABELS[player.name], median_and_spread(taken), versus, told])
        print(*rows[-1], flush=True)
    return rows


def best_of(name: str, case: Case, workers: list[int]) -> tuple[Contestant, float]:
    """The contestant with the number of workers that served it best, warmed up, and its speed in its second turn."""
    tried = []
    for number in workers:
        player = Contestant(name, replace(case, workers=number))
        for _ in range(3 if case.device != "cpu" else 1):  # a step is compiled in its first run, recorded in its second
            slow = player.turn(1) < case.batch_size  # two views each: a step took more than two seconds
        tried.append((player.turn(1 if slow else 10), player))
    tried.sort(key=lambda entry: -entry[0])
    for _, player in tried[1:]:
        player.__exit__(None, None, None)
    return tried[0][1], tried[0][0]


if __name__ == "__main__":
    main()
