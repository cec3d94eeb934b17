"""What the shell waits for: help, a composed config, a list of 1,000 runs, the first training step."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from lowres_ssl.runs.index import INDEX_METRICS
from lowres_ssl.runs.result_io import write_result
from lowres_ssl.runs.run import get_run_by_identity
from speed.table import arguments, machine, markdown, median_and_spread

RUNS = 1000


def main() -> None:
    given = arguments(__doc__).parse_args()
    print(machine(given.device), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"LOWRES_SSL_DATA": folder, "LOWRES_SSL_OUTPUTS": str(Path(folder) / "outputs")}
        many = Path(folder) / "many"
        store_runs(many)
        # 448 training images: one full batch.
        small = ["backbone=resnet18", "image_size=32", "epochs=1", "batch_size=256", "evaluate=false", "force=true"]
        commands = {
            "lowres-ssl --help": ["--help"],
            "lowres-ssl pretrain --cfg job": ["pretrain", "--cfg", "job"],
            f"lowres-ssl runs, {RUNS:,} stored runs": ["runs", f"output_dir={many}"],
            "an epoch of one step, images prepared": ["pretrain", "recipe=tuned", *small, f"device={given.device}"],
        }
        taken: dict[str, list[float]] = {name: [] for name in commands}
        for repetition in range(given.repetitions + 1):
            for name, command in commands.items():
                started = time.perf_counter()
                subprocess.run([sys.executable, "-m", "lowres_ssl", *command], env=environment, check=True, **QUIET)
                if repetition:  # the first warms the disk's cache and prepares the images
                    taken[name].append(time.perf_counter() - started)
    rows = [[f"`{name}`" if name.startswith("lowres") else name, median_and_spread(s, 2)] for name, s in taken.items()]
    print(f"\n{markdown(['', 'seconds'], rows)}")


QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def store_runs(output_dir: Path) -> None:
    """Finished runs with two results each, of the size that real ones have."""
    config = {f"key{number}": number for number in range(60)}
    for number in range(RUNS):
        run = get_run_by_identity(output_dir, "pretrain", ["phantom", "simclr", f"s{number}"], {"number": number})
        about = {"method": "simclr", "dataset": "phantom", "title": "Phantom", "seed": number, "batch_size": 64}
        about |= {"epochs_wanted": 10, "recipe": "tuned", "pretrain_on": "training", "config": config}
        run.start(about | {"split": {"kind": "patient", "seed": 0, "digest": "0"}, "identity": {}})
        run.finish(epochs=10, training_seconds=1.0)
        for probe, label in (("knn", "KNN (k=200)"), ("linear", "linear (MLP)")):
            scores = dict.fromkeys(INDEX_METRICS, 0.5) | {"n": 100}
            result = {
                "probe": probe,
                "label": label,
                "test": scores,
                "validation": scores,
                "settings": {"k": 200},
                "config": config,
                "run": run.name,
            }
            write_result(run.result_folder(probe, {}), result, {"test_labels": np.zeros(100)})


if __name__ == "__main__":
    main()
