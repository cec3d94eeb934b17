"""Weights and training states: the same bytes everywhere, read without running code, refused where they do not fit."""

import errno
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torchvision import models

from lowres_ssl.encoders.fit_weights import load_encoder_weights
from lowres_ssl.encoders.from_config import build_backbone
from lowres_ssl.encoders.weights_file import load_tensors, load_weights, save_tensors
from lowres_ssl.errors import CheckpointError, DamagedError
from lowres_ssl.train import checkpoint
from lowres_ssl.train.checkpoint import load_latest_state, load_state, read_epochs_done, save_state

METADATA = {"run": "Brüste-simclr", "backbone": {"name": "resnet18"}, "mean": [0.5, 0.25], "seed": 0}
WRITE = """
import sys
from pathlib import Path
import torch
from lowres_ssl.train import checkpoint
from lowres_ssl.encoders.weights_file import save_tensors
names = {f"layer{number}.weight" for number in range(20)}  # a set: its order differs from process to process
tensors = {name: torch.full((3, 2), float(len(name))) for name in sorted(names)}
metadata = {name: {"of": [1, 2.5, None, name]} for name in names}
save_tensors(Path(sys.argv[1]), tensors, metadata)
"""


class RunsCode:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def tiny(width: int = 4) -> nn.Module:
    torch.manual_seed(width)
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width))


def weights() -> dict[str, Tensor]:
    return {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor(7), "c": torch.ones(2, dtype=torch.bfloat16)}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(value, other[key]) and value.dtype == other[key].dtype for key, value in one.items()
    )


def message_of(error: pytest.ExceptionInfo[CheckpointError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def test_tensors_and_metadata_come_back_as_they_were(tmp_path: Path) -> None:
    save_tensors(tmp_path / "x.safetensors", weights(), METADATA)
    tensors, metadata = load_tensors(tmp_path / "x.safetensors")
    assert same(tensors, weights())
    assert metadata == METADATA


def test_the_bytes_are_the_same_from_two_processes(tmp_path: Path) -> None:
    files = [tmp_path / f"{seed}.safetensors" for seed in (1, 2)]
    commands = [
        subprocess.Popen([sys.executable, "-c", WRITE, file], env=os.environ | {"PYTHONHASHSEED": file.stem})
        for file in files
    ]
    assert [command.wait() for command in commands] == [0, 0]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize(
    "rearranged",
    [
        lambda value: value.contiguous(memory_format=torch.channels_last),
        lambda value: nn.Parameter(value),
        lambda value: torch.cat((value, value))[: len(value)],
    ],
    ids=["channels_last", "parameter", "part of a larger one"],
)
def test_the_bytes_do_not_depend_on_how_a_tensor_lies_in_memory(rearranged: Any, tmp_path: Path) -> None:
    plain = torch.arange(120.0).view(2, 3, 4, 5)
    save_tensors(tmp_path / "plain", {"kernel": plain}, METADATA)
    save_tensors(tmp_path / "other", {"kernel": rearranged(plain)}, METADATA)
    assert (tmp_path / "plain").read_bytes() == (tmp_path / "other").read_bytes()


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    save_tensors(tmp_path / "x.safetensors", weights(), METADATA)
    before = (tmp_path / "x.safetensors").read_bytes()
    with pytest.raises(TypeError, match="not JSON serializable"):
        save_tensors(tmp_path / "x.safetensors", {}, {"path": tmp_path})
    with pytest.raises((AttributeError, pickle.PicklingError)):
        save_state(tmp_path / "x.safetensors", {"function": lambda: None})
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("x.safetensors", before)]


@pytest.mark.parametrize("read", [load_tensors, load_weights, load_state])
@pytest.mark.parametrize("left", [0, 5, 0.5, -1])
def test_a_truncated_file_is_refused(read: Any, left: float, tmp_path: Path) -> None:
    path = tmp_path / ("x.pt" if read is load_state else "x.safetensors")
    if read is load_state:
        save_state(path, {"weights": weights()})
    else:
        save_tensors(path, weights(), METADATA)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * left) if 0 < left < 1 else int(left)])
    with pytest.raises(CheckpointError, match="damaged") as error:
        read(path)
    assert message_of(error).startswith(f"{path}: ")


@pytest.mark.parametrize("write", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_a_training_state_that_would_run_code_is_refused_and_does_not_run(write: Any, tmp_path: Path) -> None:
    write({"a": torch.ones(1), "b": RunsCode(tmp_path / "made")}, tmp_path / "x.pt")
    with pytest.raises(DamagedError):
        load_state(tmp_path / "x.pt")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("name", ["x.safetensors", "x.pt", ""])
def test_weights_that_are_not_there_are_told(name: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file") as error:
        load_weights(tmp_path / name)
    assert message_of(error).startswith(f"{tmp_path / name}: ")


def test_tensors_of_nested_dicts_are_named_by_their_keys(tmp_path: Path) -> None:
    inner = weights()
    content: dict[str, Any] = {"state": {"net": inner}, "epoch": 3, "optimizer": {"state": {0: {"step": inner["b"]}}}}
    content["itself"] = content
    torch.save(content, tmp_path / "x.pt")
    wanted = {f"state.net.{name}": value for name, value in inner.items()}
    assert same(load_weights(tmp_path / "x.pt"), wanted | {"optimizer.state.0.step": inner["b"]})


@pytest.mark.parametrize("content", [{"epoch": 3}, [torch.ones(1)], torch.ones(1), {"model": {"state_dict": {}}}])
def test_a_file_of_anything_but_tensors_by_name_is_refused(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="wanted tensors by name, got "):
        load_weights(tmp_path / "x.pt")


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_torchvision_and_we_load_each_others_weights_strictly(name: str, tmp_path: Path) -> None:
    """Ours into torchvision's network with `strict=True`, and that, with its classifier, back into ours."""
    ours, _ = build_backbone(name, small_stem=False, zero_init_residual=False, seed=0)
    save_tensors(tmp_path / "encoder.safetensors", ours.state_dict(), METADATA)
    saved = safetensors.torch.load_file(tmp_path / "encoder.safetensors")
    with torch.device("meta"):
        theirs = models.get_model(name, weights=None)
        again, _ = build_backbone(name, small_stem=False, zero_init_residual=False, seed=1)
    classifier, theirs.fc = theirs.fc, nn.Identity()
    theirs.load_state_dict(saved, strict=True, assign=True)
    theirs.fc = classifier.to_empty(device="cpu")
    again.to_empty(device="cpu")
    load_encoder_weights(again, theirs.state_dict(), "torchvision")
    assert same(again.state_dict(), ours.state_dict())


def test_a_classifier_and_a_missing_counter_of_batches_do_not_matter() -> None:
    source, target = tiny(), tiny()
    nn.init.normal_(source[0].weight)
    tensors = source.state_dict()
    del tensors["1.num_batches_tracked"]
    load_encoder_weights(target, tensors | {"fc.weight": torch.ones(2, 4), "fc.bias": torch.ones(2)}, "here")
    assert same(target.state_dict(), source.state_dict())


def test_another_architecture_is_told_by_its_first_keys() -> None:
    tensors = tiny(5).state_dict() | {"1.gain": torch.ones(1)}
    del tensors["0.bias"]
    with pytest.raises(CheckpointError) as error:
        load_encoder_weights(tiny(4), tensors, "x.safetensors")
    assert message_of(error) == (
        "x.safetensors: these are weights of another architecture (0.bias is missing; 1.gain is not known; "
        "0.weight is [5, 3, 3, 3], wanted [4, 3, 3, 3]; 7 in all); "
        "name the right one with backbone=NAME (and backbone.small_stem=true if it has one)"
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(value: float) -> None:
    tensors = tiny().state_dict()
    tensors["1.running_var"][2] = value
    with pytest.raises(CheckpointError, match=r"^here: 1\.running_var holds NaN or infinite values"):
        load_encoder_weights(tiny(), tensors, "here")


def test_epochs_are_counted_in_the_newest_state_that_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    assert read_epochs_done(path) == 0
    for epoch in (3, 4):
        save_state(path, {"epoch": epoch, "model": {"a": torch.ones(3)}})
    assert read_epochs_done(path) == 4
    path.write_bytes(path.read_bytes()[:50])
    assert read_epochs_done(path) == 3
    for odd in (-1, "many", torch.ones(3)):
        save_state(path, {"epoch": odd})
        assert read_epochs_done(path) == 0


def test_a_checkpoint_of_a_newer_version_is_refused_and_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not damaged: the one before must not be taken in its place, nor must it go."""
    path = tmp_path / "checkpoint.pt"
    save_state(path, {"epoch": 1})
    monkeypatch.setattr(checkpoint, "CHECKPOINT_VERSION", checkpoint.CHECKPOINT_VERSION + 1)
    save_state(path, {"epoch": 2})
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="written by a newer lowres-ssl"):
        load_latest_state(path)
    assert path.exists()
    path.write_bytes(b"damaged")
    state = load_latest_state(path)
    assert state == {"epoch": 1}


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.EIO, "Input/output error"),
        OSError(errno.ESTALE, "Stale file handle"),
        OSError(errno.EMFILE, "Too many open files"),
        PermissionError(errno.EACCES, "Permission denied"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
    ],
    ids=repr,
)
def test_machine_that_fails_is_no_damage_and_the_newest_checkpoint_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """For a while only: read again, it is whole."""
    path = tmp_path / "checkpoint.pt"
    for epoch in (1, 2):
        save_state(path, {"epoch": epoch})
    really = torch.load

    def load(file: Any, **settings: Any) -> Any:
        if file == path:
            raise error
        return really(file, **settings)

    with monkeypatch.context() as patched:
        patched.setattr(torch, "load", load)
        with pytest.raises(type(error)) as caught:
            load_latest_state(path)
        with pytest.raises(type(error)):
            load_weights(path)
    assert caught.value is error
    assert load_latest_state(path) == {"epoch": 2}


def test_compressed_checkpoint_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_state(path, {"zeros": torch.zeros(100_000)})
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED) as bomb:
        for name in archive.namelist():
            bomb.writestr(name, archive.read(name))
    with pytest.raises(DamagedError, match=r"b\.pt: the checkpoint is damaged; start the run again"):
        load_state(tmp_path / "b.pt")
