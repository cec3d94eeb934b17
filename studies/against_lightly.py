"""Train with Lightly's parts as it documents them, for the seconds that ours took, and score both alike.

Ours: `lowres-ssl pretrain recipe=tuned`, whose seconds its `run.json` holds. Lightly: transform, heads and loss by its
documentation; SGD at 0.06 with momentum, weight decay of 0.0005 and a cosine schedule, as in its tutorials; the same
network, batch size, image size, normalisation, training images and threads. Both encoders are scored by `lowres-ssl`.
Results are appended to `studies/against_lightly.csv`; what is there is not trained again.

    python -m studies.against_lightly run     wants `pip install '.[bench]'`
    python -m studies.against_lightly table   print how far ours is ahead, as Markdown
"""

import argparse
import math
import os
import subprocess
import sys
import time
from itertools import chain, product, repeat
from pathlib import Path

import pandas as pd
import torch
from lightly.transforms import SimCLRTransform
from torch.utils.data import DataLoader

from lowres_ssl.encoders.from_config import get_normalisation
from lowres_ssl.runs.index import read_index
from lowres_ssl.runs.run import find_runs
from speed.contestants.files import Files
from speed.contestants.lightly_parts import TRANSFORMS, Model
from speed.experiment import images_of
from speed.table import markdown
from studies.recipe import COMMON, SETS, TRAINED_SIZE

RESULTS = Path(__file__).with_name("against_lightly.csv")
METHODS = ("simclr", "dcl", "simsiam", "vicreg")
BATCH_SIZE = 64
KEYS = ["dataset", "method", "views", "seed"]


def run_command(command: str, *words: str) -> None:
    """Run a command of `lowres-ssl`. Raises `CalledProcessError` if it fails; its messages are on stderr."""
    subprocess.run([sys.executable, "-m", "lowres_ssl", command, *words], check=True, stdout=subprocess.DEVNULL)


def read_scores(output_dir: Path, method: str) -> dict[str, float]:
    """Read accuracies of the only run of a method on validation and test images, by both probes."""
    frame, problems = read_index(output_dir)
    assert not problems, problems
    columns = {"validation": "validation_accuracy", "test": "accuracy"}
    rows = frame[frame["method"] == method].set_index("probe")
    return {
        f"{side}_{probe}": round(rows.at[probe, column], 4) for side, column in columns.items() for probe in rows.index
    }


def train_lightly(method: str, words: list[str], seconds: float, seed: int, weights: Path) -> int:
    """Train for so many seconds, in which the views are made as well, and write the encoder; return how many views.

    Raises `FloatingPointError` for a loss that is not finite.
    """
    config, material = images_of(words)
    mean, std = get_normalisation(config)
    torch.manual_seed(seed)
    views = TRANSFORMS.get(method, SimCLRTransform)(input_size=TRAINED_SIZE, normalize={"mean": mean, "std": std})
    loader = DataLoader(Files(material, views), BATCH_SIZE, shuffle=True, drop_last=True)
    model = Model(method, config.backbone.name).train()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.06, momentum=0.9, weight_decay=5e-4)
    started = time.perf_counter()
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda _: 0.5 + 0.5 * math.cos(math.pi * min(1, (time.perf_counter() - started) / seconds))
    )
    steps = 0
    for first, second in chain.from_iterable(repeat(loader)):
        steps += 1
        loss = model.compute_loss(first, second)
        if not loss.isfinite():
            raise FloatingPointError(f"loss {loss.item()} after {steps - 1} steps")
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        schedule.step()
        if time.perf_counter() - started >= seconds:
            break
    torch.save(model.network.state_dict(), weights)
    return 2 * BATCH_SIZE * steps


def compare(dataset: str, method: str, seed: int, asked: argparse.Namespace) -> list[dict[str, object]]:
    """Train and score ours, then Lightly's: a row of results each, and one of random initialisation."""
    images, key = SETS[dataset], dict(zip(KEYS, (dataset, method, asked.views, seed), strict=True))
    folder = asked.output_dir / "-".join(str(value) for value in key.values())
    words = [word.replace("{data}", str(asked.data)) for word in (*images.words, *COMMON)]
    words += [f"seed={seed}", f"store_dir={asked.output_dir / 'stores'}"]
    training = ["recipe=tuned", f"method={method}", f"batch_size={BATCH_SIZE}", "picture=false"]
    training += [f"epochs={round(asked.views / (2 * images.training))}", f"output_dir={folder / 'ours'}"]
    run_command("pretrain", *words, *training)
    run = next(run for run in find_runs(folder / "ours") if run.read().training is not None)
    outcome = run.read().outcome
    assert outcome is not None
    seconds = outcome.training_seconds
    weights = folder / "lightly.pt"
    views = train_lightly(method, [*words, *training], seconds, seed, weights)
    run_command("evaluate", *words, f"weights={weights}", f"output_dir={folder / 'lightly'}")
    key["seconds"] = round(seconds)
    rows = [
        {"trainer": "random", "seen": 0} | read_scores(folder / "ours", "random"),
        {"trainer": "ours", "seen": asked.views} | read_scores(folder / "ours", method),
        {"trainer": "Lightly", "seen": views} | read_scores(folder / "lightly", "weights"),
    ]
    return [key | row for row in rows]


def print_table(results: pd.DataFrame) -> None:
    """Print how far ours is ahead on the test images: mean and standard deviation over seeds, in Markdown."""
    scores = [column for column in results if column.startswith("test_")]
    ours, theirs = (results[results["trainer"] == name].set_index(KEYS)[scores] for name in ("ours", "Lightly"))
    ahead = (ours - theirs).groupby(["method", "dataset"], sort=False)
    cells = ahead.mean().map("{:+.3f}".format) + ahead.std().map(lambda x: "" if math.isnan(x) else f" ± {x:.3f}")
    table = cells.agg(" / ".join, axis=1).unstack("dataset", fill_value="")
    table = table.reindex(columns=list(SETS), index=METHODS, fill_value="")
    print(
        markdown(["method", *SETS], [[method, *row] for method, row in zip(table.index, table.to_numpy(), strict=True)])
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="studies.against_lightly", description=__doc__)
    parser.add_argument("what", choices=["run", "table"])
    parser.add_argument("--methods", type=lambda text: text.split(","), default=METHODS)
    parser.add_argument("--sets", type=lambda text: text.split(","), default=list(SETS))
    parser.add_argument("--views", type=int, default=20_000)
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[0])
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("LOWRES_SSL_SHARED", "../shared")) / "data")
    parser.add_argument("--output-dir", type=Path, default=Path("outputs/against_lightly"))
    asked = parser.parse_args()
    if asked.what == "table":
        print_table(pd.read_csv(RESULTS))
        return
    for seed, method, dataset in product(asked.seeds, asked.methods, asked.sets):
        known = pd.read_csv(RESULTS) if RESULTS.exists() else pd.DataFrame(columns=KEYS)
        if (known[KEYS] == [dataset, method, asked.views, seed]).all(axis=1).any():
            continue
        try:
            rows = pd.DataFrame(compare(dataset, method, seed, asked))
        except FloatingPointError as error:
            print(f"Lightly's {method} on {dataset}: {error}", flush=True)
            continue
        rows.to_csv(RESULTS, mode="a", header=known.empty, index=False)
        print(rows.to_string(index=False), flush=True)


if __name__ == "__main__":
    main()
