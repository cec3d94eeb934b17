"""Train candidates for `recipe=tuned` on several sets and compare them by their validation images.

Each training is one `lowres-ssl pretrain` command with its random rows. A result is appended to `studies/recipe.csv`
when it is there, so a stopped study continues. `reveal` writes the accuracies on the test images of what is named to
`studies/recipe_test.csv`, once, at the end.
"""

import argparse
import csv
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from pathlib import Path

import pandas as pd

from lowres_ssl.runs.index import read_index

RESULTS = Path(__file__).with_name("recipe.csv")
TEST_RESULTS = Path(__file__).with_name("recipe_test.csv")
PROBES = ("knn", "logistic")
KEYS = ["dataset", "seed", "backbone", "size"]  # what a candidate and its random rows have in common
BASELINES = ("random", "random_calibrated", "weights")  # weights: the start of a training that continues


@dataclass(frozen=True)
class ImageSet:
    """words: what names the set on the command line, `{data}` the folder of the sets; training: its training images."""

    words: tuple[str, ...]
    training: int


def name_folder(name: str, *others: str) -> tuple[str, ...]:
    return ("dataset=folder", f"dataset.name={name}", f"dataset.root={{data}}/{name}", "images=histology", *others)


TILE = 'dataset.options.group_pattern="^(.*/tile[0-9]+)_"'
XRAYS = ("dataset=pneumonia", "dataset.root={data}/pneumonia", "dataset.subset=1300", "probe.knn.k=49")
SETS = {
    "blood_cells": ImageSet(name_folder("blood_cells", "probe.knn.k=22"), 896),
    "lung_tiles": ImageSet(name_folder("lung_tiles", TILE, "probe.knn.k=36"), 546),
    "xrays": ImageSet(XRAYS, 910),
    "phantom": ImageSet(("dataset=phantom", "probe.knn.k=20"), 448),
}
TRAINED_SIZE = 64
COMMON = ("backbone=resnet18", f"image_size={TRAINED_SIZE}", "probe=[knn,logistic]")

ADAMW = ("recipe=tuned", "optimiser=adamw", "learning_rate=0.001", "weight_decay=0.05")
# Its gain is over the random row of the recipe, so it brings none of its own.
ZERO_INIT = ("backbone.zero_init_residual=true", "baselines=false")
# What each candidate adds to its set's words. A name is a row of the tables; the first is where the study began.
CANDIDATES: dict[str, tuple[str, ...]] = {
    "sgd": ("method=dcl", "recipe=tuned", "optimiser=sgd"),
    "adamw 0.001": ("method=dcl", *ADAMW),
    "adamw 0.0003": ("method=dcl", *ADAMW, "learning_rate=0.0003"),
    "adamw 0.003": ("method=dcl", *ADAMW, "learning_rate=0.003"),
    "batch size 32": ("method=dcl", *ADAMW, "batch_size=32"),
    "batch size 128": ("method=dcl", *ADAMW, "batch_size=128"),
    "temperature 0.2": ("method=dcl", *ADAMW, "method.temperature=0.2"),
    "temperature 0.5": ("method=dcl", *ADAMW, "method.temperature=0.5"),
    "crops from 20%": ("method=dcl", *ADAMW, "views.crop_scale=[0.2,1.0]"),
    "crops from 60%": ("method=dcl", *ADAMW, "views.crop_scale=[0.6,1.0]"),
    "strong colour": ("method=dcl", *ADAMW, "views.brightness=0.4", "views.contrast=0.4", "views.grey=0.2"),
    "no colour": ("method=dcl", *ADAMW, "views.jitter=0"),
    "zero-initialised residuals": ("method=dcl", *ADAMW, *ZERO_INIT),
    "small stem": ("method=dcl", *ADAMW, "backbone.small_stem=true"),
    "32 px": ("method=dcl", *ADAMW, "image_size=32"),
    "96 px": ("method=dcl", *ADAMW, "image_size=96"),
    "forward per view": ("method=dcl", *ADAMW, "forward=per_view"),
    "warm-up 0": ("method=dcl", *ADAMW, "warmup_epochs=0"),
}
OTHERS = ("simsiam", "vicreg", "barlow_twins", "byol", "moco_v3", "tico", "instance")
CANDIDATES |= {name: (f"method={name}", *ADAMW) for name in OTHERS}
# The recipe's rate for that method.
CANDIDATES |= {f"{name} sgd": (f"method={name}", "recipe=tuned", "optimiser=sgd") for name in OTHERS}
CANDIDATES |= {
    f"simsiam sgd {rate}": ("method=simsiam", "recipe=tuned", "optimiser=sgd", f"learning_rate={rate}")
    for rate in (0.01, 0.03, 0.3)
}
CANDIDATES["simsiam sgd; zero-initialised residuals"] = (*CANDIDATES["simsiam sgd"], *ZERO_INIT)
CANDIDATES |= {
    f"{method} at {rate}": (f"method={method}", *ADAMW, f"learning_rate={rate}")
    for method in ("simsiam", "vicreg", "barlow_twins", "byol")
    for rate in (0.0003, 0.003)
}
CANDIDATES |= {
    f"simclr at temperature {value}": ("method=simclr", *ADAMW, f"method.temperature={value}")
    for value in (0.1, 0.2, 0.5)
}
ENCODER = "model=tf_efficientnet_lite0"
FROZEN = ("recipe=tuned", "method=pretrained", f"method.{ENCODER}", "method.weights={weights}")
START = ("backbone=timm", f"backbone.{ENCODER}", "initial_weights={weights}", "dataset.storage_size=224")
CONTINUED = ("method=dcl", *ADAMW, *START)
CANDIDATES |= {
    "frozen imagenet": (*FROZEN, "dataset.storage_size=224", "image_size=224"),
    "dcl from imagenet": CONTINUED,
    "dcl from imagenet at 0.0003": (*CONTINUED, "learning_rate=0.0003"),
    "dcl from imagenet at 112 px": (*CONTINUED, "image_size=112", "baselines=false"),
    "dcl from imagenet at 112 px; 0.0003": (*CONTINUED, "image_size=112", "baselines=false", "learning_rate=0.0003"),
    "dcl from imagenet at 112 px; 0.0001": (*CONTINUED, "image_size=112", "baselines=false", "learning_rate=0.0001"),
    "dcl from imagenet at 128 px": (*CONTINUED, "image_size=128"),
}


@dataclass(frozen=True)
class Result:
    """Accuracies on the validation images, or on the test images in `recipe_test.csv`. backbone: of the training and
    the random rows beside it; size: pixels a side of what is scored."""

    dataset: str
    candidate: str
    views: int
    seed: int
    backbone: str
    size: int
    knn: float
    logistic: float
    run: str


def read_results(path: Path) -> list[Result]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        kinds = {each.name: each.type for each in fields(Result)}
        return [Result(**{key: kinds[key](value) for key, value in row.items()}) for row in csv.DictReader(file)]


def add_results(path: Path, results: Sequence[Result]) -> None:
    is_new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [each.name for each in fields(Result)], lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerows(asdict(result) for result in results)


@dataclass(frozen=True)
class Task:
    """One training to score. size: pixels a side of what is scored; None: those of the training."""

    dataset: str
    candidate: str
    views: int
    seed: int
    size: int | None

    def build_words(self, asked: argparse.Namespace) -> dict[str, str]:
        """Build the words of its command by key; later ones replace earlier ones of the same key."""
        images = SETS[self.dataset]
        words = [*images.words, *COMMON, "picture=false", *CANDIDATES[self.candidate], f"seed={self.seed}"]
        words.append(f"epochs={max(1, round(self.views / (2 * images.training)))}")
        words += [] if self.size is None else [f"scored_size={self.size}"]
        filled = [word.replace("{data}", str(asked.data)).replace("{weights}", str(asked.weights)) for word in words]
        return {word.partition("=")[0]: word for word in filled}

    def get_scored_size(self, words: dict[str, str]) -> int:
        return self.size or int(words["image_size"].partition("=")[2])


def get_backbone(words: dict[str, str]) -> str:
    return words.get("backbone.model", words["backbone"]).partition("=")[2]


def read_accuracies(output_dir: Path, run: str, size: int, column: str) -> dict[str, float]:
    """Read a run's accuracies by probe; column: "validation_accuracy" or "accuracy", of the test images."""
    frame, _ = read_index(output_dir)
    rows = frame[(frame["run"] == run) & (frame["label_fraction"] == 1)]
    sizes = pd.to_numeric(rows["settings"].str.extract(r"scored_size=(\d+)")[0]).fillna(rows["image_size"])
    rows = rows[sizes == size]
    return dict(zip(rows["probe"], rows[column].round(4), strict=True))


def train(task: Task, asked: argparse.Namespace) -> Iterator[Result]:
    """Run one training; yield its result and those of its random rows. Raises `CalledProcessError` if it fails."""
    words = task.build_words(asked)
    typed = ["pretrain", *words.values(), f"output_dir={asked.output_dir}"]
    print("$ lowres-ssl", *typed, flush=True)
    started = time.monotonic()
    shown = subprocess.run([sys.executable, "-m", "lowres_ssl", *typed], capture_output=True, text=True)
    if shown.returncode:
        print(shown.stderr[-2000:], flush=True)
        shown.check_returncode()
    run = Path(shown.stdout.rpartition("Results and encoder: ")[2].splitlines()[0]).name
    baselines = [line.split(": ")[0] for line in shown.stderr.splitlines() if ": KNN (k=" in line]
    size = task.get_scored_size(words)
    for each in dict.fromkeys([run, *baselines]):
        name = next((name for name in reversed(BASELINES) if f"-{name}-" in each), task.candidate)
        views = 0 if name in BASELINES else task.views
        scores = read_accuracies(asked.output_dir, each, size, "validation_accuracy")
        yield Result(
            task.dataset, name, views, task.seed, get_backbone(words), size, *(scores[probe] for probe in PROBES), each
        )
    print(f"    {time.monotonic() - started:.0f} s", flush=True)


def run(asked: argparse.Namespace) -> None:
    """Run what is asked and has no result yet; what fails is named and left out."""
    for seed, candidate, dataset in product(asked.seeds, asked.candidates, asked.sets):
        task, there = Task(dataset, candidate, asked.views, seed, asked.size), read_results(RESULTS)
        size = task.get_scored_size(task.build_words(asked))
        key = (dataset, candidate, asked.views, seed, size)
        if any((r.dataset, r.candidate, r.views, r.seed, r.size) == key for r in there):
            continue
        known = {(result.run, result.size) for result in there}
        try:
            new = list(train(task, asked))
        except subprocess.CalledProcessError as error:
            print(f"failed: {candidate} on {dataset}, exit code {error.returncode}", flush=True)
            continue
        add_results(RESULTS, [result for result in new if (result.run, result.size) not in known])


def reveal(asked: argparse.Namespace) -> None:
    """Store the test accuracies of the candidates that are named, and of the untrained rows."""
    there = {(result.run, result.size) for result in read_results(TEST_RESULTS)}
    for result in read_results(RESULTS):
        is_named = result.candidate in asked.candidates and result.views == asked.views
        if (is_named or result.candidate in BASELINES) and (result.run, result.size) not in there:
            scores = read_accuracies(asked.output_dir, result.run, result.size, "accuracy")
            if not scores:
                print(f"{result.run}: not below {asked.output_dir}")
                continue
            add_results(TEST_RESULTS, [replace(result, **{probe: scores[probe] for probe in PROBES})])


def compute_gains(results: Sequence[Result], over_seeds: str = "mean") -> pd.DataFrame:
    """Compute accuracies minus those of random initialisation with the same set, seed, backbone and size; of untrained
    rows as they are.

    One row for each budget and candidate; a column for each set and probe, and their means where all sets are there.
    over_seeds: "mean", or "std" for the standard deviation, which a single seed does not have.
    """
    frame = pd.DataFrame([asdict(result) for result in results]).drop_duplicates(["run", "size"])
    start = frame[frame["candidate"] == "random"].set_index(KEYS)[list(PROBES)]
    bars = start.reindex(pd.MultiIndex.from_frame(frame[KEYS])).to_numpy()
    others = frame["backbone"] != "resnet18"
    frame.loc[others & frame["candidate"].isin(BASELINES), "candidate"] += " " + frame["backbone"]
    scored = frame["size"] != TRAINED_SIZE
    frame.loc[scored, "candidate"] += frame["size"][scored].map(", scored at {} px".format)
    frame.loc[frame["views"] > 0, list(PROBES)] -= bars[(frame["views"] > 0).to_numpy()]
    order = list(dict.fromkeys(frame["candidate"]))
    by = ["views", "candidate"]
    table = frame.pivot_table(index=by, columns="dataset", values=list(PROBES), observed=True, aggfunc=over_seeds)
    table = table.swaplevel(axis=1).reindex(columns=[(name, probe) for name in SETS for probe in PROBES])
    for probe in PROBES:
        table["mean", probe] = table[[(name, probe) for name in SETS]].mean(axis=1, skipna=False)
    table["seeds", ""] = frame.groupby(["views", "candidate"])["seed"].nunique()
    return table.sort_index(level="candidate", key=lambda names: names.map(order.index)).sort_index(
        level="views", kind="stable"
    )


def print_table(results: Sequence[Result]) -> None:
    """Print one Markdown table for each budget; ±: the standard deviation over seeds, where there are several."""
    gains = compute_gains(results)
    spreads = compute_gains(results, "std").reindex(gains.index)
    for views, rows in gains.groupby(level="views"):
        heads = [" ".join(column).strip() for column in rows.columns]
        print(f"\n{views:,} views: gain over random initialisation" if views else "\nUntrained: accuracy")
        print(f"\n| candidate | {' | '.join(heads)} |\n|{'---|' * (len(heads) + 1)}")
        for (_, candidate), cells in rows.iterrows():
            shown = ["" if pd.isna(cell) else f"{cell:{'+' if views else ''}.3f}" for cell in cells[:-1]]
            spread = spreads.loc[(views, candidate)][:-1]
            shown = [
                text if pd.isna(each) else f"{text} ± {each:.3f}" for text, each in zip(shown, spread, strict=True)
            ]
            print(f"| {candidate} | {' | '.join(shown)} | {cells.iloc[-1]:.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(prog="studies.recipe", description=__doc__)
    parser.add_argument("what", choices=["run", "table", "reveal", "test-table"])
    parser.add_argument("--candidates", type=lambda text: text.split(","), default=list(CANDIDATES))
    parser.add_argument("--sets", type=lambda text: text.split(","), default=list(SETS))
    parser.add_argument("--views", type=int, default=20_000)
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[0])
    parser.add_argument("--size", type=int, help="pixels a side of what is scored")
    parser.add_argument("--weights", type=Path, help="ImageNet weights, made by scripts/efficientnet_lite.py")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("LOWRES_SSL_SHARED", "../shared")) / "data")
    parser.add_argument("--output-dir", type=Path, default=Path("outputs/recipe_study"))
    asked = parser.parse_args()
    if asked.what == "run":
        run(asked)
    elif asked.what == "reveal":
        reveal(asked)
    else:
        print_table(read_results(TEST_RESULTS if asked.what == "test-table" else RESULTS))


if __name__ == "__main__":
    main()
