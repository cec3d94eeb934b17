"""Views a second of several trainings side by side on one device: what a sweep of small ones may hope for."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from speed.contestants import Case
from speed.experiment import build_overrides, experiment
from speed.table import arguments, machine, markdown, median_and_spread
from speed.turns import Contestant, EndedError


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--method", default="simclr")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--together", type=int, nargs="+", default=[1, 2, 4], help="how many at a time")
    parser.add_argument("--steps", type=int, default=60, help="of each training in a turn")
    given = parser.parse_args()
    print(machine(given.device), flush=True)
    own = ("recipe=tuned", f"method={given.method}", f"batch_size={given.batch_size}", "evaluate=false")
    # Each process would compile for itself, which takes longer than the turns.
    overrides = build_overrides(given, *own, "compile=never")
    experiment(overrides)  # so that the store is there before anyone starts
    case = Case(overrides, given.method, given.backbone, given.image_size, given.batch_size, given.device)
    rows = []
    for number in given.together:
        try:
            turns = speeds(case, number, given.steps, given.repetitions)
            figures = [median_and_spread([speed for turn in turns for speed in turn])]
            figures += [median_and_spread([sum(turn) for turn in turns])]
        except EndedError as error:
            figures = [str(error), ""]
        rows.append([str(number), *figures])
        print(*rows[-1], flush=True)
    title = f"{given.method}, {given.backbone}, {given.image_size} px, batch size {given.batch_size}"
    heads = ["side by side", "views a second of each", "of all together"]
    print(f"\n{title}, {given.steps} steps a turn\n\n{markdown(heads, rows)}")


def speeds(case: Case, number: int, steps: int, repetitions: int) -> list[list[float]]:
    """Views a second of each of `number` trainings, turn by turn. All start a turn together, in processes of their
    own."""
    with ExitStack() as stack, ThreadPoolExecutor(number) as pool:
        players = [stack.enter_context(Contestant("ours", case)) for _ in range(number)]
        for player in players:
            player.warm_up()
        return [
            list(pool.map(lambda player: player.views_a_second(steps, player.turn(steps).steps), players))
            for _ in range(repetitions)
        ]


if __name__ == "__main__":
    main()
