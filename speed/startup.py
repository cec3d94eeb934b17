"""What the shell waits for: help, a composed config, a list of 1,000 runs, the first training step."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from speed.table import arguments, machine, markdown, median_and_spread
from tests.stored_runs import made_up_run

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
    """Store finished runs with two results each, as tests do."""
    for number in range(RUNS):
        for probe in ("knn", "linear"):
            made_up_run(output_dir, method="simclr", seed=number, probe=probe)


if __name__ == "__main__":
    main()
