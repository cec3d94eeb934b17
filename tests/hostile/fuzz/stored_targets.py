"""Fuzzed: the readers of every stored format, each given a file that was written well and then damaged."""

import atexit
import io
import json
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from damage import ANYTHING, damaged_bytes, damaged_json
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save
from stored_runs import made_up_run
from watching import Target, watched

from lowres_ssl.data.catalogue import Catalogue, build_catalogue
from lowres_ssl.data.datasets import build_source
from lowres_ssl.data.image_metadata import load_metadata_index
from lowres_ssl.data.image_store import open_image_store
from lowres_ssl.data.splits import load_split, make_split, save_split
from lowres_ssl.encoders.weights_file import load_state, load_tensors, load_weights, save_state
from lowres_ssl.evaluate.features import read_stored_features, store_features
from lowres_ssl.evaluate.tuned_settings import build_table_1, choose_best_tuned, iter_tuned_settings
from lowres_ssl.io.checksummed_json import hash_file, write_checked_json
from lowres_ssl.reporting.run_list import format_run_table
from lowres_ssl.runs.index import read_index
from lowres_ssl.runs.pairwise import compare_methods
from lowres_ssl.runs.query import ResultFilters, select_columns
from lowres_ssl.runs.run import find_runs


@cache
def folder_of(name: str) -> Path:
    """A folder for what is written once and copied for each example; the process's end takes it away."""
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def runs_written() -> Path:
    folder = folder_of("runs")
    for seed in (0, 1):
        result = made_up_run(folder, seed=seed, images=12)
        (result.parent / "history.csv").write_text("epoch,loss\n1,0.5\n2,0.25\n")
    return folder


@cache
def content_of(name: str) -> bytes:
    return next(iter(sorted(runs_written().rglob(name)))).read_bytes()


def document(name: str) -> Any:
    return json.loads(content_of(name))


def read_runs(example: tuple[str, bytes], folder: Path) -> None:
    """All that reads what runs left behind: the table of runs, and comparison."""
    name, content = example
    output_dir = folder / "outputs"
    shutil.copytree(runs_written(), output_dir)
    path = next(iter(sorted(output_dir.rglob(name))))
    path.write_bytes(content)
    if name == "predictions.npz":  # as its result would have it
        result = json.loads((path.parent / "result.json").read_text())
        write_checked_json(path.parent / "result.json", result | {"predictions_sha256": hash_file(path)})
    with watched(folder):
        frame, _ = read_index(output_dir)
        if not frame.empty:
            format_run_table(frame)
        frame.to_csv()
        frame.to_json(orient="records")
        for run in find_runs(output_dir):
            run.epochs_done()
        for column in select_columns(frame, ResultFilters()):
            compare_methods(column, "accuracy", "best", imagenet="imagenet", draws=100)


RUN_FILES = st.one_of(
    damaged_json(document("run.json")).map(lambda content: ("run.json", content)),
    damaged_json(document("result.json")).map(lambda content: ("result.json", content)),
    damaged_bytes(content_of("history.csv")).map(lambda content: ("history.csv", content)),
)


@st.composite
def odd_arrays(draw: st.DrawFn) -> bytes:
    """A well-formed `predictions.npz` in which one array is another, or missing."""
    with np.load(io.BytesIO(content_of("predictions.npz"))) as file:
        arrays = dict(file)
    name = draw(st.sampled_from(sorted(arrays)))
    shape = draw(st.sampled_from([(), (0,), (3,), (12,), (12, 1), (2, 12)]))
    kind = draw(st.sampled_from(["<i8", "<f8", "<U5", "|S3", "|b1", "<c16", "<M8[s]", "i1", "<u8"]))
    arrays[name] = np.full(shape, draw(st.sampled_from([0, 1, 2, 100])), dtype=np.int64).astype(kind)
    if draw(st.booleans()):
        del arrays[name]
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def read_predictions(content: bytes, folder: Path) -> None:
    read_runs(("predictions.npz", content), folder)


TUNED = {
    "schema": 1,
    "run": "a",
    "entry": "dcl",
    "method": "dcl",
    "dataset": "phantom",
    "title": "Phantom",
    "recipe": "paper",
    "backbone": "resnet18",
    "image_size": 64,
    "seed": 0,
    "split": {"kind": "stratified", "seed": 0, "digest": "ab"},
    "split_digest": "ab",
    "chosen": {"batch_size": 16, "learning_rate": 0.1, "accuracy": 0.5, "loss": None},
    "rule": "full",
    "seeds": 3,
}


def read_tuned(content: bytes, folder: Path) -> None:
    (folder / "tuned").mkdir()
    (folder / "tuned" / "a.json").write_bytes(content)
    (folder / "tuned" / "b.json").write_text(json.dumps(TUNED))
    with watched(folder):
        tuned = list(iter_tuned_settings(folder, "a"))
        choose_best_tuned(tuned)
        build_table_1(tuned, {})


@cache
def catalogue() -> Catalogue:
    """Twenty images in two classes, on disk."""
    folder = folder_of("images")
    for number in range(20):
        path = folder / "ab"[number % 2] / f"p{number // 4}_{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("L", (4, 4), number).save(path)
    return build_catalogue(
        name="tiny",
        root=folder,
        source=build_source("folder", {"group_pattern": "(p[0-9]+)_"}),
        expected={},
        unlabelled=None,
        skip_unreadable=False,
        cache_dir=folder_of("cache"),
        progress=False,
    )


@cache
def split_written() -> Any:
    path = folder_of("split") / "split.json"
    save_split(make_split(catalogue(), kind="stratified", seed=0), catalogue(), path)
    return json.loads(path.read_bytes())


def read_split(content: bytes, folder: Path) -> None:
    path = folder / "split.json"
    path.write_bytes(content)
    with watched(folder):
        load_split(path, catalogue(), folder)


@cache
def weights_written() -> dict[str, bytes]:
    """The bytes of each format of weights, features and training states."""
    folder = folder_of("weights")
    tensors = {"conv1.weight": torch.rand(2, 3, 3, 3), "bn1.bias": torch.rand(2)}
    torch.save(tensors, folder / "weights.pt")
    torch.save(tensors, folder / "old.pth", _use_new_zipfile_serialization=False)
    store_features(folder / "features.safetensors", {"train": torch.rand(3, 2), "test": torch.rand(2, 2)}, "key")
    (folder / "plain.safetensors").write_bytes(save(tensors))
    save_state(folder / "checkpoint.pt", {"epoch": 3, "encoder": tensors, "history": [{"loss": 0.5}]})
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def read_weights(example: tuple[str, bytes], folder: Path) -> None:
    name, content = example
    path = folder / name
    path.write_bytes(content)
    for read in (load_state, load_tensors, load_weights, lambda path: read_stored_features(path, "key", ["train"])):
        with watched(folder):
            read(path)


def made_header(header: Any) -> bytes:
    """A safetensors file whose header is what somebody says it is."""
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(32)


HEADERS = st.one_of(
    st.dictionaries(st.sampled_from(["train", "__metadata__", "x"]), ANYTHING, max_size=3),
    st.fixed_dictionaries(
        {
            "__metadata__": st.fixed_dictionaries({"lowres_ssl": ANYTHING.map(json.dumps)}),
            "train": st.fixed_dictionaries(
                {
                    "dtype": st.sampled_from(["F32", "F64", "I64", "BOOL", "F8_E4M3", "X"]),
                    "shape": st.lists(st.sampled_from([0, 1, 2, 4, 2**40]), max_size=3),
                    "data_offsets": st.lists(st.sampled_from([0, 4, 8, 16, 32, 2**60]), min_size=2, max_size=2),
                }
            ),
        }
    ),
)
WEIGHTS = st.one_of(
    *(
        damaged_bytes(content).map(lambda content, name=name: (name, content))
        for name, content in weights_written().items()
    ),
    HEADERS.map(lambda header: ("made.safetensors", made_header(header))),
)


def open_again(example: tuple[str, bytes], folder: Path) -> None:
    """A store and an index are made anew where they are damaged: what is read afterwards is right."""
    name, content = example
    shutil.copytree(stores_written(), folder / "stores")
    next(iter(sorted((folder / "stores").rglob(name)))).write_bytes(content)
    arguments: dict[str, Any] = {"colour": False, "storage_size": 4, "skip_unreadable": False, "progress": False}
    with watched(folder):
        for path in (folder / "stores").glob("index-*.json"):
            load_metadata_index(path)
        store, readable = open_image_store(catalogue(), store_dir=folder / "stores", **arguments)
        assert store.images.shape == (20, 1, 4, 4)
        assert store.ids == tuple(record.id for record in readable.records)
        assert len(store.sizes) == 20


@cache
def stores_written() -> Path:
    folder = folder_of("stores")
    shutil.copytree(folder_of("cache"), folder, dirs_exist_ok=True)
    open_image_store(catalogue(), colour=False, storage_size=4, skip_unreadable=False, store_dir=folder, progress=False)
    (path,) = folder.glob("index-*.json")
    path.rename(folder / "index-0.json")
    return folder


def stored_json(name: str) -> Any:
    catalogue()
    return json.loads(next(stores_written().rglob(name)).read_bytes())


STORES = st.one_of(
    damaged_json(stored_json("store.json")).map(lambda content: ("store.json", content)),
    damaged_json(stored_json("index-0.json")).map(lambda content: ("index-0.json", content)),
    damaged_bytes(next(stores_written().rglob("images.npy")).read_bytes()).map(lambda content: ("images.npy", content)),
)

TARGETS = {
    "runs": Target(read_runs, RUN_FILES, enough=15),
    "predictions": Target(read_predictions, st.one_of(odd_arrays(), damaged_bytes(content_of("predictions.npz"))), 15),
    "tuned": Target(read_tuned, damaged_json(TUNED), enough=100),
    "split": Target(read_split, damaged_json(split_written()), enough=100),
    "weights": Target(read_weights, WEIGHTS, enough=100),
    "stores": Target(open_again, STORES, enough=50),
}
