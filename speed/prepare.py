"""Images a second into the store, against one process of PIL; and opening a store that is there.

Opening is timed in a process of its own: the one that made a store has already looked at its checksum.
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from lowres_ssl.config.experiment_schema import PretrainConfig
from lowres_ssl.data.image_store import open_image_store
from lowres_ssl.data.prepare import load_catalogue
from speed.experiment import about_data, configured
from speed.table import arguments, machine, markdown, median_and_spread


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--storage-size", type=int, default=128)
    parser.add_argument("--opening", action="store_true", help="(what the processes that open are started with)")
    given = parser.parse_args()
    config = configured([*about_data(given.data, given.work, given.images), "backbone=resnet18"])
    folder = Path(given.work) / "prepare"
    colour, size = config.images.colour, given.storage_size
    if given.opening:
        print(seconds(partial(opened, config, folder, size)))
        return
    print(machine(given.device), flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    catalogue = load_catalogue(config.dataset, folder)
    images = len(catalogue.records)

    def decode() -> None:
        open_image_store(catalogue, colour=colour, storage_size=size, store_dir=folder, skip_unreadable=False)

    def plain() -> None:
        array = np.empty((images, size, size, 3) if colour else (images, size, size), dtype=np.uint8)
        for row, record in enumerate(catalogue.records):
            with Image.open(record.path) as image:
                image = image.convert("RGB" if colour else "L")
                array[row] = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))

    made: dict[str, list[float]] = {"ours": [], "PIL, one process": []}
    opening = []
    for _ in range(given.repetitions):
        for store in folder.glob("*px*"):
            shutil.rmtree(store)
        made["ours"].append(images / seconds(decode))
        command = [sys.executable, "-m", "speed.prepare", *sys.argv[1:], "--opening"]
        answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        opening.append(float(answer.splitlines()[-1]))
        made["PIL, one process"].append(images / seconds(plain))
    shutil.rmtree(folder)
    rows = [[name, f"{median_and_spread(speeds, 0)} images a second"] for name, speeds in made.items()]
    rows.append(["index and store opened again", f"{median_and_spread(opening, 3)} s"])
    print(f"\n{images} images to {size} px, {'colour' if colour else 'grey'}\n\n{markdown(['', ''], rows)}")
    print(f"\nours / PIL: {median_and_spread([a / b for a, b in zip(*made.values(), strict=True)], 2)}")


def opened(config: PretrainConfig, folder: Path, size: int) -> None:
    catalogue = load_catalogue(config.dataset, folder)
    open_image_store(catalogue, colour=config.images.colour, storage_size=size, store_dir=folder, skip_unreadable=False)


def seconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
