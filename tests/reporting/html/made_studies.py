"""Stored runs with all that a report reads of them: predictions, features, a history, decoded images."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from in_process import type_command
from stored_runs import change_record, made_up_run

from lowres_ssl.data.image_store import StoreMeta, compute_file_checksum
from lowres_ssl.evaluate.features import store_features
from lowres_ssl.io.checksummed_json import write_record
from lowres_ssl.runs.result_io import read_predictions, read_result, write_result
from lowres_ssl.runs.run import Run

STORE = "made-up-32px-00000000"
HOSTILE = ("<img src=x onerror=alert(1)>", "</script><script>alert(2)</script>")


def made_up_study(
    output_dir: Path,
    *,
    methods: Sequence[str] = ("simclr", "vicreg", "random"),
    probes: Sequence[str] = ("knn", "logistic"),
    seeds: int = 2,
    images: int = 60,
    ids: Sequence[str] | None = None,
    store_size: int | None = 32,
    **about: Any,
) -> list[Path]:
    """The folders of the results. `ids` of the test images, instead of test0000.png; `store_size`: pixels of the
    decoded images, noise of which no two are alike; None: there are none."""
    folders = []
    names = [f"test{number:04}.png" for number in range(images)] if ids is None else list(ids)
    for method in methods:
        for probe in probes:
            for seed in range(seeds):
                folder = made_up_run(output_dir, method=method, probe=probe, seed=seed, images=images, **about)
                complete(folder, names, method)
                folders.append(folder)
    if store_size is not None:
        keep_images(output_dir / "stores" / STORE, names, store_size)
    return folders


def complete(folder: Path, names: Sequence[str], method: str) -> None:
    """What `made_up_run` leaves out."""
    run, result = Run(folder.parent), read_result(folder)
    arrays = dict(read_predictions(folder, result))
    write_result(folder, result, arrays | {"test_ids": np.array(names, dtype=np.str_)})
    change_record(run.folder, store=STORE)
    record = run.read()
    random = np.random.default_rng([*method.encode(), record.config.seed])
    centres = arrays["test_labels"][:, None] * np.array([3.0] + [0.0] * 7)
    features = (random.normal(size=(len(names), 8)) + centres).astype(np.float32)
    store_features(run.features("selected", result.precision), {"test": torch.from_numpy(features)}, "key")
    if record.identity.is_trained:
        run.write_history(
            [{"epoch": epoch, "loss": 4 / epoch, "embedding_std": 0.9, "effective_rank": 20.0} for epoch in (1, 2, 3)]
        )


def keep_images(folder: Path, names: Sequence[str], size: int) -> None:
    """A store of smoothed noise: as hard to compress as stained tissue."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (len(names), 3, size // 4, size // 4), dtype=np.uint8)
    np.save(folder / "images.npy", images.repeat(4, axis=2).repeat(4, axis=3))
    sizes, crc32 = (size,) * len(names), compute_file_checksum(folder / "images.npy")
    meta = StoreMeta("made up", tuple(names), sizes, sizes, {}, crc32)
    write_record(folder / "store.json", meta)


def type_report(outputs: Path, *words: str) -> Path:
    """Type `lowres-ssl report` with these words; where the page is."""
    assert type_command("report", f"output_dir={outputs}", *words) == 0
    return outputs / "report.html"
