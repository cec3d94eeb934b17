"""Encoders: torchvision's, key by key and number by number, without the classification layer."""

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn
from torchvision import models

from lowres_ssl.encoders.from_config import build_backbone, list_backbones
from lowres_ssl.errors import ConfigError
from lowres_ssl.seeding import seed_torch

FILES = sorted((Path(__file__).resolve().parents[2] / "conf" / "backbone").glob("*resne*.yaml"))
PLAIN = {"small_stem": False, "zero_init_residual": False}


def test_every_name_has_a_file_and_every_file_a_name() -> None:
    assert sorted(str(OmegaConf.load(file).name) for file in FILES) == sorted(list_backbones())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_file_builds_torchvisions_network_without_its_classifier(file: Path) -> None:
    arguments = dict(OmegaConf.load(file))
    with torch.device("meta"):
        encoder, features = build_backbone(**arguments, seed=0)
        whole = models.get_model(file.stem, weights=None)
    shapes = {key: value.shape for key, value in whole.state_dict().items() if not key.startswith("fc.")}
    assert {key: value.shape for key, value in encoder.state_dict().items()} == shapes
    assert features == whole.fc.in_features


@pytest.mark.parametrize("zero_init_residual", [False, True])
def test_weights_are_those_torchvision_draws_from_the_seed(zero_init_residual: bool) -> None:
    encoder, _ = build_backbone("resnet18", small_stem=False, zero_init_residual=zero_init_residual, seed=3)
    with seed_torch(3, "encoder"):
        whole = models.resnet18(zero_init_residual=zero_init_residual)
    expected = whole.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in encoder.state_dict().items())


def test_what_is_done_to_one_encoder_is_not_in_the_next() -> None:
    first, _ = build_backbone("resnet18", **PLAIN, seed=0)
    wanted = {key: value.clone() for key, value in first.state_dict().items()}
    for value in first.state_dict().values():
        value.zero_()
    first.layer1 = nn.Identity()
    second, _ = build_backbone("resnet18", **PLAIN, seed=0)
    assert second.state_dict().keys() == wanted.keys()
    assert all(torch.equal(value, wanted[key]) for key, value in second.state_dict().items())


@pytest.mark.parametrize("small_stem", [False, True])
def test_the_global_generator_is_left_alone(small_stem: bool) -> None:
    state = torch.get_rng_state()
    build_backbone("resnet18", **PLAIN | {"small_stem": small_stem}, seed=0)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("small_stem", "side"), [(False, 8), (True, 32)])
def test_the_small_stem_keeps_the_resolution(small_stem: bool, side: int) -> None:
    encoder, _ = build_backbone("resnet18", **PLAIN | {"small_stem": small_stem}, seed=0)
    stem = nn.Sequential(encoder.conv1, encoder.maxpool)
    assert stem(torch.zeros(1, 3, 32, 32)).shape == (1, 64, side, side)


@pytest.mark.parametrize("name", ["vgg16", "ResNet50", "", "vit_b_16"])
def test_an_unknown_name_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(ConfigError, match=f"^backbone={name}: wanted one of .*resnet18.*resnet50"):
        build_backbone(name, **PLAIN, seed=0)
