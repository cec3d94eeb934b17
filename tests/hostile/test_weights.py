"""Weights from strangers: no code of theirs runs, no size of theirs is believed, and one line says why not."""

import argparse
import json
import os
import pickle
import random
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lowres_ssl.encoders.fit_weights import load_encoder_weights
from lowres_ssl.encoders.weights_file import load_weights
from lowres_ssl.errors import CheckpointError


class Calling:
    """What a pickle looks like that calls a function when it is read."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.called = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.called


def refused(
    path: Path, match: str = "neither safetensors nor a PyTorch file of plain tensors|wanted tensors by name"
) -> None:
    started = time.process_time()
    with pytest.raises(CheckpointError, match=match) as caught:
        load_weights(path)
    assert "\n" not in str(caught.value)
    assert time.process_time() - started < 5


@pytest.mark.parametrize("kind", ["zip", "old", "plain pickle", "in a dict", "as safetensors"])
def test_code_in_a_weights_file_does_not_run(tmp_path: Path, kind: str) -> None:
    harm = Calling(Path.touch, tmp_path / "touched")
    path = tmp_path / ("x.safetensors" if kind == "as safetensors" else "x.pt")
    if kind in ("plain pickle", "as safetensors"):
        path.write_bytes(pickle.dumps(harm))
    else:
        content = {"state_dict": {"conv1.weight": harm}} if kind == "in a dict" else harm
        torch.save(content, path, _use_new_zipfile_serialization=kind != "old")
    refused(path, *["not a safetensors file"] if kind == "as safetensors" else [])
    assert not (tmp_path / "touched").exists()
    # The file does what it is feared for, where somebody lets it.
    if kind == "plain pickle":
        pickle.loads(path.read_bytes())
        assert (tmp_path / "touched").exists()


def test_tensors_beside_code_are_read_and_it_does_not_run(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    for harm in (
        Calling(open, str(tmp_path / "touched"), "w"),
        Calling(exec, f"open({str(tmp_path / 'touched')!r}, 'w')"),
    ):
        torch.save({"state_dict": {"a": torch.ones(2)}, "harm": harm}, path)
        assert list(load_weights(path)) == ["state_dict.a"]
        assert not (tmp_path / "touched").exists()
    torch.save({"a": torch.ones(2), "harm": Calling(os.system, "exit 1")}, path)
    refused(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_damaged_files_with_objects_are_refused_in_one_line(zipped: bool, tmp_path: Path) -> None:
    """Wherever a byte is another one, the directory at the end of a zip included, or a length is that of no file."""
    path, rng = tmp_path / "x.pt", random.Random(0)
    content = {"a": torch.ones(2), "args": argparse.Namespace(x=1)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    whole, refusals = path.read_bytes(), []
    for _ in range(200):
        damaged = bytearray(whole)
        for _ in range(5):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        path.write_bytes(damaged)
        try:
            load_weights(path)
        except CheckpointError as error:
            refusals.append(str(error))
    assert len(refusals) > 20
    assert not any("\n" in each for each in refusals)


def safetensors(path: Path, header: Any, length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + bytes(64))
    return path


@pytest.mark.parametrize(
    ("header", "length"),
    [
        ({}, 2**62),
        (b"{" * 1000, None),
        ({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}, None),
        ({"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 64]}}, None),
        ({"a": {"dtype": "F32", "shape": [16], "data_offsets": [64, 0]}}, None),
        ({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 64]}}, None),
        ({"a": {"dtype": "F32", "shape": [16], "data_offsets": [0, 64]}, "b": {"dtype": "X"}}, None),
        (b"[]", None),
        (b"", None),
    ],
)
def test_safetensors_that_lie_about_their_size_are_refused(tmp_path: Path, header: Any, length: int | None) -> None:
    refused(safetensors(tmp_path / "x.safetensors", header, length), "not a safetensors file, or a damaged one")


def test_compressed_weights_are_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(10**6)}, tmp_path / "plain.pt")
    with zipfile.ZipFile(tmp_path / "plain.pt") as plain, zipfile.ZipFile(tmp_path / "x.pt", "w") as bomb:
        for info in plain.infolist():
            bomb.writestr(info.filename, plain.read(info), zipfile.ZIP_DEFLATED)
    assert (tmp_path / "x.pt").stat().st_size < 10**5
    refused(tmp_path / "x.pt")
    assert load_weights(tmp_path / "plain.pt")["a"].shape == (10**6,)


@pytest.mark.parametrize(
    "odd",
    [torch.zeros(2, 3).to_sparse(), torch.zeros(2, 3, dtype=torch.complex64), torch.zeros(2, 3, device="meta")],
)
def test_tensors_that_are_no_arrays_of_numbers_are_refused(odd: torch.Tensor) -> None:
    encoder = nn.Linear(3, 2, bias=False)
    with pytest.raises(CheckpointError, match="weight is no plain tensor"):
        load_encoder_weights(encoder, {"weight": odd}, "x.pt")


def test_tensor_that_claims_a_terabyte_is_refused_by_its_shape() -> None:
    """Stride 0 makes any shape of one number; looking at its values would fill the memory."""
    encoder = nn.Linear(3, 2, bias=False)
    with pytest.raises(CheckpointError, match="weights of another architecture"):
        load_encoder_weights(encoder, {"weight": torch.zeros(1).expand(2**20, 2**20)}, "x.pt")
