"""Fuzz what comes from elsewhere: weights and training states, and names of files in every data set."""

import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st
from safetensors.torch import save
from watching import ODD_TEXT, Target, damaged_bytes, watched

from lowres_ssl.data.datasets import build_source
from lowres_ssl.data.image_folder import ImageFolder
from lowres_ssl.encoders.weights_file import load_tensors, load_weights
from lowres_ssl.evaluate.features import read_stored_features, store_features
from lowres_ssl.train.checkpoint import load_state, save_state

ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), ODD_TEXT, st.sampled_from([10**30, -1, 0])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(ODD_TEXT, inner, max_size=3)),
    max_leaves=5,
)


@cache
def weights_written() -> dict[str, bytes]:
    """The bytes of each format of weights, features and training states."""
    tensors = {"conv1.weight": torch.rand(2, 3, 3, 3), "bn1.bias": torch.rand(2)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
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


SOURCES = ("breast", "colorectal", "folder", "phantom", "pneumonia")
PIECES = [
    *("SOB_B_A-14-22549AB-400-001.png", "SOB_", "B", "M", "_A-", "14-", "22549", "AB", "-400", "-001"),
    *("1057F_CRC-Prim-HE-03_009.tif_Row_301_Col_151", "01_TUMOR", "08_EMPTY", "CRC-Prim-HE-"),
    *("person1_bacteria_2", "IM-0115-0001", "NORMAL2-IM-", "BACTERIA-30629-0001", "NORMAL", "PNEUMONIA"),
    *("patient-01_3.png", "train", "val", "test", "chest_xray", "/", "/", "/", "-", "_", ".", "..", "0" * 30, "٣", "é"),
    *(".png", ".jpeg", ".tif", "\x1b[2J", "=1+1", "<script>", "\ud800", "\n", " ", "'", '"', "${x}"),
]
NAME = st.one_of(st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map("".join), ODD_TEXT)


def list_names(example: tuple[str, list[str], str], folder: Path) -> None:
    """Names as any folder could hold them, without writing so many files."""
    source, names, pattern = example
    root = folder / "set"
    named = sorted(((root / name, name) for name in names if "\0" not in name), key=lambda pair: pair[1])
    folders = ("test", "train", "train/a") if len(names) % 2 == 0 else ()
    with watched(folder):
        listings = build_source(source, {"group_pattern": pattern} if source == "folder" else {}).listings(
            ImageFolder(root, root, tuple(named), folders=folders)
        )
        for listing in listings:
            assert listing.path in dict(named)
            assert listing.group is None or isinstance(listing.group, str)
            assert listing.subset in ("train", "val", "test", None)


TARGETS = {
    "weights": Target(read_weights, WEIGHTS, enough=100),
    "names": Target(
        list_names,
        st.tuples(
            st.sampled_from(SOURCES),
            st.lists(NAME, max_size=6),
            st.sampled_from(["([^/_]+)_", "(?P<group>p)", "(a)|b", "(", "()", "(?P<group>", "x"]),
        ),
        enough=150,
    ),
}
