"""Time and peak memory against the number of images and against the batch size: straight lines, or the reason."""

import json
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from lowres_ssl.evaluate.features import get_subset_rows
from speed.contestants import Case, ours
from speed.experiment import experiment
from speed.table import arguments, machine, markdown, median_and_spread

IMAGES = 640
FACTORS = (1, 4, 16)
BATCH_SIZES = (16, 32, 64, 128, 256)
STEPS = 8
# What a process answers, with the decimals of its column.
COLUMNS = {"prepare, s": 1, "views a second": 0, "features, s": 1, "host peak, MB": 0, "device peak, MB": 0}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--measure", help="(what each process of this benchmark is started with)")
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(**json.loads(given.measure))))
        return
    print(machine(given.device), flush=True)
    common = {"device": given.device, "backbone": given.backbone, "image_size": given.image_size, "work": given.work}
    rows = []
    for images, batch_size in [(factor * IMAGES, 64) for factor in FACTORS] + [(IMAGES, size) for size in BATCH_SIZES]:
        draw(Path(given.work) / f"noise-{images}", images)
        wanted = json.dumps(common | {"images": images, "batch_size": batch_size})
        command = [sys.executable, "-m", "speed.scale", "--measure", wanted]
        found: list[dict[str, float]] = []
        for _ in range(given.repetitions):
            shutil.rmtree(place_of(given.work, images), ignore_errors=True)  # so that preparing is timed each time
            answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            found.append(json.loads(answer.splitlines()[-1]))
        figures = [
            median_and_spread([each[name] for each in found], digits) if name in found[0] else "-"
            for name, digits in COLUMNS.items()
        ]
        rows.append([f"{images:,}", str(batch_size), *figures])
        print(*rows[-1], flush=True)
    title = f"{given.backbone}, {given.image_size} px, images of noise of 96 px"
    print(f"\n{title}\n\n{markdown(['images', 'batch size', *COLUMNS], rows)}")


def place_of(work: str, images: int) -> Path:
    return Path(work) / f"scale-{images}"


def draw(folder: Path, images: int) -> None:
    """Two classes of noise: nothing here depends on what the images show."""
    for number in range(images):
        path = folder / f"class{number % 2}" / f"{number:06d}.png"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(number).integers(0, 256, (96, 96, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path, compress_level=1)


def measure(
    *, images: int, batch_size: int, device: str, backbone: str, image_size: int, work: str
) -> dict[str, float]:
    """In a process of its own, so that the peak is this one's."""
    overrides = ["recipe=tuned", "dataset=folder", f"dataset.root={work}/noise-{images}", "method=simclr"]
    overrides += [f"backbone={backbone}", f"image_size={image_size}", f"batch_size={batch_size}", f"device={device}"]
    overrides += ["compile=never", "evaluate=false", f"output_dir={place_of(work, images)}"]
    started = time.perf_counter()
    made = experiment(overrides)
    prepared = time.perf_counter() - started
    case = Case(tuple(overrides), "simclr", backbone, image_size, batch_size, device)
    epoch = ours.enter(case)
    epoch(3)  # the first steps are slower
    seconds = epoch(STEPS).steps
    started = time.perf_counter()
    encoder = made.plan.encoder.to(made.plan.compute.device)
    for rows in get_subset_rows(made.material.split).values():
        made.extract(encoder, rows)
    features = time.perf_counter() - started
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    peak = [torch.cuda.max_memory_allocated() / 2**20] if made.plan.compute.device.type == "cuda" else []
    figures = [prepared, 2 * batch_size * STEPS / seconds, features, host, *peak]
    return dict(zip(COLUMNS, figures, strict=False))  # a CPU has no peak of its own


if __name__ == "__main__":
    main()
