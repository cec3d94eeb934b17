"""Seconds of a whole search of the linear evaluation's settings, against one head at a time, on random features."""

import argparse
import time
from collections.abc import Callable
from functools import partial

import torch

from lowres_ssl.device import resolve_device
from lowres_ssl.evaluate.grid_search import SearchGrid, search_grid
from lowres_ssl.probes.base import Features
from lowres_ssl.probes.linear import limit_threads
from lowres_ssl.seeding import derive_seed
from speed.table import machine, markdown, median_and_spread

SETTINGS = {
    "hidden": 512,
    "step_size": 25,
    "gamma": 0.5,
    "encoder": "selected",
    "restart_from_best": False,
    "schedule_delay": 0,
}
RATES = (0.5, 0.1, 0.05, 0.01, 0.005, 0.001, 0.0005, 0.0001)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--features", type=int, nargs="+", default=[512, 2048])
    parser.add_argument("--epochs", type=int, default=100, help="fewer are measured, and multiplied up to 100")
    parser.add_argument("--rule", default="full", choices=["full", "quarter", "eighth"])
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    once = "once unless asked: a search is minutes of one and the same step, and its seconds a sum over very many"
    parser.add_argument("--repetitions", type=int, default=1, help=once)
    given = parser.parse_args()
    device = resolve_device(given.device, "fp32").set_up_process().device
    print(machine(given.device), flush=True)
    heads, rows = ["D", "search, s", "search, processor s", "one head at a time, s"], []
    for width in given.features:
        features = random_features(width, device)
        seeds = [derive_seed(0, "tune", number) for number in range(3)]
        grid = SearchGrid((16, 32, 64), RATES, seeds, given.rule, SETTINGS | {"epochs": given.epochs})
        found = [measured(features, grid) for _ in range(given.repetitions)]
        scaled = [[each * 100 / given.epochs for each in column] for column in zip(*found, strict=True)]
        rows.append([str(width), *(median_and_spread(column, 0) for column in scaled)])
        print(markdown(heads, rows[-1:]), flush=True)
    print(f"\n3 batch sizes x 8 rates x 3 seeds, rule {given.rule}, {given.epochs} epochs measured, as 100\n")
    print(markdown(heads, rows))


def measured(features: Features, grid: SearchGrid) -> tuple[float, float, float]:
    """Seconds of the search, on the clock and of all processors, and of its heads one at a time."""
    whole, processor = timed(partial(search_grid, features, grid))
    alone = 0.0
    for batch_size in grid.batch_sizes:
        probe = grid.probe(batch_size, grid.epochs)
        with limit_threads(features.train):
            one, _ = timed(partial(probe.fit, features, [0.001], [0]))
        alone += one * len(grid.rates) * len(grid.seeds)
    return whole, processor, alone


def random_features(width: int, device: torch.device) -> Features:
    """910 training, 130 validation and no test images of two classes."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (1040,), generator=generator)
    values = torch.randn(1040, width, generator=generator) + labels[:, None] * 0.1
    train, validation = values.to(device).split([910, 130])
    train_labels, validation_labels = labels.to(device).split([910, 130])
    return Features(train, train_labels, validation, validation_labels, train[:0], classes=2)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the clock and of all processors."""
    clock, processor = time.perf_counter(), time.process_time()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - clock, time.process_time() - processor


if __name__ == "__main__":
    main()
