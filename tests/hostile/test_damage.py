"""Every stored file that is read later, cut off, emptied, with single bits flipped: noticed, and never another content.

A reader notices by an error of one line that names the file, or by None: what was stored is then made anew.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import paint_cells
from stored_runs import OUTCOME, made_up_record, made_up_run, made_up_tuned

from lowres_ssl.data.catalogue import Catalogue, build_catalogue
from lowres_ssl.data.datasets import build_source
from lowres_ssl.data.image_folder import scan_folder
from lowres_ssl.data.image_metadata import MetadataIndex
from lowres_ssl.data.image_store import open_image_store, read_store_meta
from lowres_ssl.data.pseudonyms import KEY_FILE, make_key, read_key
from lowres_ssl.data.splits import load_split, make_split, save_split
from lowres_ssl.encoders.weights_file import save_tensors
from lowres_ssl.errors import UserError
from lowres_ssl.evaluate.features import read_stored_features, store_features
from lowres_ssl.evaluate.tuned_settings import read_tuned_settings, write_tuned_settings
from lowres_ssl.io.checksummed_json import read_record
from lowres_ssl.runs.result_io import PROBE_FILE, get_fitted_file, read_predictions, read_result, write_result
from lowres_ssl.runs.run import Run
from lowres_ssl.train.checkpoint import load_latest_state, save_state

Read = Callable[[], Any]
FLIPS = 40  # places spread over the file


def catalogue_in(folder: Path) -> Catalogue:
    root, source = paint_cells(folder / "set"), build_source("folder", {})
    return build_catalogue(name="set", folder=scan_folder(root), source=source, cache_dir=folder / "stores")


def a_result(folder: Path) -> tuple[Path, Read]:
    result = made_up_run(folder)
    return result / "result.json", lambda: read_result(result)


def predictions(folder: Path) -> tuple[Path, Read]:
    result = made_up_run(folder)
    return result / "predictions.npz", lambda: read_predictions(result)


def fitted(folder: Path) -> tuple[Path, Read]:
    result = made_up_run(folder)
    said, arrays = read_result(result), read_predictions(result)
    save_tensors(result / PROBE_FILE, {"weight": torch.rand(4, 8)}, {"train": "digest"})
    write_result(result, said, arrays)
    return result / PROBE_FILE, lambda: get_fitted_file(result, read_result(result)).read_bytes()


def a_run(folder: Path) -> tuple[Path, Read]:
    run = Run(made_up_run(folder).parent)
    return run.folder / "run.json", run.read


def of_a_run(name: str, read: Callable[[Run, Path], Path], folder: Path) -> tuple[Path, Read]:
    """A file whose hash `run.json` has."""
    run = Run(folder / "pretrain" / "run")
    run.start(made_up_record())
    (run.folder / name).write_bytes(bytes(range(256)))
    run.finish(OUTCOME)
    return run.folder / name, lambda: read(run, run.folder / name).read_bytes()


def tuned(folder: Path) -> tuple[Path, Read]:
    write_tuned_settings(folder, made_up_tuned())
    return folder / "tuned" / "a.json", lambda: read_tuned_settings(folder, "a")


def a_split(folder: Path) -> tuple[Path, Read]:
    path, catalogue = folder / "split.json", catalogue_in(folder)
    save_split(make_split(catalogue, kind="stratified", seed=0), catalogue, path)
    return path, lambda: vars(load_split(path, catalogue, folder))


def features(folder: Path) -> tuple[Path, Read]:
    path = folder / "features.safetensors"
    store_features(path, {"train": torch.rand(9, 4), "test": torch.rand(5, 4)}, "key")
    return path, lambda: read_stored_features(path, "key")


def checkpoint(folder: Path) -> tuple[Path, Read]:
    path = folder / "checkpoint.pt"
    save_state(path, {"weights": torch.rand(100), "epoch": 3, "history": [{"loss": 0.5}]})
    return path, lambda: load_latest_state(path)


def of_a_store(name: str, folder: Path) -> tuple[Path, Read]:
    opened, _ = open_image_store(
        catalogue_in(folder), colour=True, storage_size=8, store_dir=folder / "stores", skip_unreadable=False
    )

    def read() -> Any:
        meta = read_store_meta(opened.path)
        return None if meta is None else {"meta": meta, "images": (opened.path / "images.npy").read_bytes()}

    return opened.path / name, read


def an_index(folder: Path) -> tuple[Path, Read]:
    catalogue_in(folder)
    (path,) = (folder / "stores").glob("index-*.json")
    return path, lambda: read_record(path, MetadataIndex, "type the same command")


def key_of_the_names(folder: Path) -> tuple[Path, Read]:
    make_key(folder / KEY_FILE)
    return folder / KEY_FILE, lambda: read_key(folder / KEY_FILE)


FILES: dict[str, Callable[[Path], tuple[Path, Read]]] = {
    "result": a_result,
    "predictions": predictions,
    "fitted probe": fitted,
    "run": a_run,
    "encoder": partial(of_a_run, "encoder.safetensors", lambda run, _: run.get_checked_encoder()),
    "history": partial(of_a_run, "history.csv", lambda run, path: run.check_file(path, run.read())),
    "tuned settings": tuned,
    "split": a_split,
    "features": features,
    "checkpoint": checkpoint,
    "decoded images": partial(of_a_store, "images.npy"),
    "store": partial(of_a_store, "store.json"),
    "index": an_index,
    "key": key_of_the_names,
}


def flipped(content: bytes) -> Iterator[bytes]:
    """The content with one bit another, in turn; bit and byte step through the file."""
    for number in range(FLIPS):
        place = (2 * number + 1) * len(content) // (2 * FLIPS)
        yield content[:place] + bytes([content[place] ^ (1 << (number % 8))]) + content[place + 1 :]


def noticed(path: Path, read: Read) -> bool:
    """Whether what is there now is not taken for good. Fails where it is, and says something else than before."""
    said = f"{path} type "
    try:
        if read() is not None:
            return False
    except UserError as error:
        said = str(error)
    assert str(path) in said
    assert "\n" not in said
    assert "type " in said or "force=true" in said
    return True


@pytest.mark.parametrize("file", FILES)
def test_damage_is_noticed_or_changes_nothing(file: str, tmp_path: Path) -> None:
    path, read = FILES[file](tmp_path)
    whole, wanted = path.read_bytes(), read()
    assert wanted is not None
    for content in (b"", whole[: len(whole) // 2], whole[:-1], whole + b"more", b"\x80\xff\x00"):
        path.write_bytes(content)
        assert noticed(path, read) or same(read(), wanted), f"{len(content)} of {len(whole)} bytes"
    for content in (b"", whole[: len(whole) // 2]):
        path.write_bytes(content)
        assert noticed(path, read)
    found = 0
    for content in flipped(whole):
        path.write_bytes(content)
        if noticed(path, read):
            found += 1
        else:  # between numbers and words, or in a field that nobody reads
            assert same(read(), wanted)
    assert found >= FLIPS // 2
    path.write_bytes(whole)
    assert same(read(), wanted)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    return bool(one == other)
