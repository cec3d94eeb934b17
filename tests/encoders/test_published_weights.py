"""Weights in the shapes that others publish them in: numbered, nested, several in a file, beside objects."""

import argparse
import enum
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lowres_ssl.encoders.fit_weights import load_encoder_weights
from lowres_ssl.encoders.weights_file import load_weights
from lowres_ssl.errors import CheckpointError

Weights = dict[str, Tensor]


class Net(nn.Module):
    """What a ResNet's names are like, in small."""

    def __init__(self, seed: int, channels: int = 3) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.conv1, self.bn1 = nn.Conv2d(channels, 2, 3, bias=False), nn.BatchNorm2d(2)
        self.relu = nn.ReLU()
        self.layer1 = nn.Sequential(nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1))

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.layer1(self.relu(self.bn1(self.conv1(images))))
        return found


class AttributeDict(dict[str, Any]):
    """What Lightning keeps hyper-parameters in."""


class Stage(enum.Enum):
    FIT = "fit"


class Config:
    def __init__(self) -> None:
        self.rate = np.float64(0.1)


class Slotted:
    """Keeps its attributes elsewhere than most."""

    __slots__ = ("rate",)

    def __init__(self) -> None:
        self.rate = 0.1


class Listed(list[int]):
    """What `weights_only=True` cannot be brought to read."""


NUMBERS = {"conv1": 0, "bn1": 1, "layer1": 4}


def published(seed: int = 1, channels: int = 3) -> Weights:
    return Net(seed, channels).state_dict()


def prefixed(prefix: str, weights: Weights) -> Weights:
    return {f"{prefix}{key}": value for key, value in weights.items()}


def numbered(weights: Weights, numbers: dict[str, int] = NUMBERS) -> Weights:
    return {f"{numbers[first]}.{rest}": v for key, v in weights.items() for first, _, rest in [key.partition(".")]}


def read(path: Path, content: object, part: str | None = None, encoder: nn.Module | None = None) -> nn.Module:
    """The encoder with the weights of a file that `content` was saved to."""
    torch.save(content, path)
    encoder = Net(0) if encoder is None else encoder
    load_encoder_weights(encoder, load_weights(path), "x.pt", part)
    return encoder


def is_read(encoder: nn.Module, weights: Weights) -> bool:
    return all(torch.equal(value, weights[key]) for key, value in encoder.state_dict().items())


@pytest.mark.parametrize(
    "shape",
    [
        lambda w: prefixed("backbone.", numbered(w)),
        lambda w: numbered(w) | {"6.weight": torch.ones(5, 2)},
        lambda w: {"model": prefixed("module.net.0.", numbered(w, {"conv1": 0, "bn1": 1, "layer1": 2}))},
        lambda w: prefixed("f.", numbered(w, {"conv1": 8, "bn1": 9, "layer1": 11})),
        lambda w: {"net": {"encoder": w, "head": {"weight": torch.ones(3)}}, "epoch": 3},
        lambda w: {
            "state": {"model": prefixed("_orig_mod.", w)},
            "optimizer": {"state": {0: {"momentum": w["bn1.bias"]}}},
        },
        lambda w: {
            "state_dict": prefixed("module.", w | {"projector.0.weight": torch.ones(2), "fc.2.bias": torch.ones(2)})
        },
        lambda w: w | {"mask_token": torch.zeros(1, 1, 2)},
    ],
)
def test_encoder_is_found_under_numbers_and_names_of_others(shape: Callable[[Weights], Any], tmp_path: Path) -> None:
    assert is_read(read(tmp_path / "x.pt", shape(published())), published())


@pytest.mark.parametrize("zipped", [True, False])
def test_whole_module_and_objects_of_classes_that_are_not_there_are_read(zipped: bool, tmp_path: Path) -> None:
    objects = {
        "hyper_parameters": AttributeDict(rate=np.float64(0.1), config=Config(), at=Path("x")),
        "args": argparse.Namespace(types=[dict, print], values=np.arange(3)),
        "callbacks": {Config: 1, Stage.FIT: Slotted()},
    }
    content = {"state_dict": prefixed("model.", published()), **objects}
    torch.save(content, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    encoder = Net(0)
    load_encoder_weights(encoder, load_weights(tmp_path / "x.pt"), "x.pt")
    assert is_read(encoder, published())
    assert is_read(read(tmp_path / "whole.pt", nn.DataParallel(Net(1))), published())


def test_file_that_needs_its_own_code_is_refused_with_a_line_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("with a space.ckpt")
    torch.save({"state_dict": published(), "seen": Listed([1])}, path)
    with pytest.raises(CheckpointError) as caught:
        load_weights(path)
    typed = shlex.split(str(caught.value).partition("type python ")[2].partition(" where the code")[0])
    here = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); "
    subprocess.run([sys.executable, typed[0], here + typed[1], *typed[2:]], check=True)
    encoder = Net(0)
    load_encoder_weights(encoder, load_weights(Path("plain.pt")), "plain.pt")
    assert is_read(encoder, published())


TEACHER = {"student": prefixed("backbone.", published(1)), "teacher": prefixed("backbone.", published(2))}


@pytest.mark.parametrize(
    ("content", "part", "seed"),
    [
        (TEACHER, "teacher.backbone", 2),
        (TEACHER, "student.backbone.", 1),
        ({"state_dict": prefixed("a.net_q.", published(1)) | prefixed("a.net_k.", published(2))}, "net_k", 2),
        (prefixed("q.", numbered(published(1))) | prefixed("k.", numbered(published(2))), "q", 1),
        (published(1) | prefixed("ema.", published(2)), "ema", 2),
        (published(1) | prefixed("ema.", published(2)), "", 1),
    ],
)
def test_one_of_several_encoders_is_chosen_by_a_key(content: Any, part: str, seed: int, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds several encoders; .*weights_part="):
        read(tmp_path / "x.pt", content)
    with pytest.raises(CheckpointError, match=r"weights_part=nobody: no such encoder that fits; type weights_part="):
        read(tmp_path / "x.pt", content, "nobody")
    assert is_read(read(tmp_path / "x.pt", content, part), published(seed))


def test_encoder_of_another_architecture_beside_it_is_no_question(tmp_path: Path) -> None:
    wider = {**published(2), "conv1.weight": torch.ones(9, 3, 3, 3), "layer1.2.weight": torch.ones(1)}
    content = {"teacher": wider, "student": published(1)}
    assert is_read(read(tmp_path / "x.pt", content), published(1))
    with pytest.raises(CheckpointError, match=r"no such encoder that fits; type weights_part=student"):
        read(tmp_path / "x.pt", content, "teacher")


def test_one_encoder_under_two_names_is_one(tmp_path: Path) -> None:
    one = published()
    assert is_read(read(tmp_path / "x.pt", prefixed("encoder.", one) | prefixed("model.0.", one)), one)


def test_first_layer_of_one_channel_gives_grey_images_the_same_features(tmp_path: Path) -> None:
    grey = Net(1, channels=1)
    encoder = read(tmp_path / "x.pt", {"model": grey.state_dict()})
    images = torch.randn(2, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(encoder.eval()(images.expand(-1, 3, -1, -1)), grey.eval()(images))
        back = read(tmp_path / "x.pt", prefixed("module.", encoder.state_dict()), encoder=Net(0, channels=1))
        torch.testing.assert_close(back.eval()(images), grey(images))


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"layer1.2.weight": torch.ones(1)}, "layer1.2.weight is not known"),
        ({"reg_token": torch.ones(1)}, "reg_token is not known"),
        ({"conv1.weight": torch.ones(2, 4, 3, 3)}, r"conv1.weight is \[2, 4, 3, 3\]"),
    ],
)
def test_another_architecture_is_refused_by_what_differs_under_any_prefix(
    more: Weights, problem: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=rf"another architecture \({problem}.*; 1 in all\)"):
        read(tmp_path / "x.pt", prefixed("module.", published() | more))
    missing = {key: value for key, value in published().items() if key != "layer1.1.bias"}
    for shape in (missing, numbered(missing)):
        with pytest.raises(CheckpointError, match=r"\(layer1.1.bias is missing; 1 in all\)"):
            read(tmp_path / "x.pt", prefixed("module.", shape))
