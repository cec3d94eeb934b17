"""Images a second into the store, against one process of PIL; and opening a store that is there."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.experiment import about_data, configured
from benchmarks.table import arguments, machine, markdown, median_and_spread
from lowres_ssl.data.store import open_store
from lowres_ssl.planning.preparation import catalogue_of


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--storage-size", type=int, default=128)
    given = parser.parse_args()
    print(machine(given.device), flush=True)
    config = configured([*about_data(given.data, given.work, given.images), "backbone=resnet18"])
    folder = Path(given.work) / "prepare"
    shutil.rmtree(folder, ignore_errors=True)
    catalogue = catalogue_of(config.dataset, folder)
    images, size = len(catalogue.records), given.storage_size

    def decode() -> None:
        open_store(catalogue, colour=config.images.colour, storage_size=size, store_dir=folder, skip_unreadable=False)

    def plain() -> None:
        array = np.empty((images, size, size, 3), dtype=np.uint8)
        for row, record in enumerate(catalogue.records):
            with Image.open(record.path) as image:
                array[row] = np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR))

    def read_all() -> None:
        catalogue_of(config.dataset, folder)
        decode()

    made: dict[str, list[float]] = {"ours": [], "PIL, one process": []}
    opened = []
    for _ in range(given.repetitions):
        for store in folder.glob("*px*"):
            shutil.rmtree(store)
        made["ours"].append(images / seconds(decode))
        opened.append(seconds(read_all))
        made["PIL, one process"].append(images / seconds(plain))
    shutil.rmtree(folder)
    rows = [[name, f"{median_and_spread(speeds, 0)} images a second"] for name, speeds in made.items()]
    rows.append(["index and store opened again", f"{median_and_spread(opened, 3)} s"])
    print(f"\n{images} images to {size} px\n\n{markdown(['', ''], rows)}")
    print(f"\nours / PIL: {median_and_spread([a / b for a, b in zip(*made.values(), strict=True)], 2)}")


def seconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
