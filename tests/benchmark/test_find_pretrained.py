"""Which pre-trained encoders a benchmark finds: named ones, those in a cache, else ImageNet's to be fetched."""

from pathlib import Path

import pytest
import torch

from lowres_ssl.benchmark.request import find_pretrained
from lowres_ssl.errors import ConfigError

LITE = "tf_efficientnet_lite0"


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


def touch(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return str(path)


def names(asked: list[str], folder: Path) -> list[tuple[str, str | None]]:
    return [(each.name, each.file) for each in find_pretrained(asked, folder / "data", "resnet18")]


def test_without_a_cache_imagenet_weights_of_the_same_architecture_are_to_be_fetched(tmp_path: Path) -> None:
    assert names(["auto"], tmp_path) == [("imagenet resnet18", None)]
    assert names([], tmp_path) == []


def test_what_lies_in_a_cache_is_found_by_the_name_of_its_file(tmp_path: Path) -> None:
    touch(tmp_path / "data" / "weights" / "other.pth")
    own = touch(tmp_path / "data" / "weights" / f"timm-{LITE}.safetensors")
    torchvision = touch(tmp_path / "torch" / "checkpoints" / "resnet50-0676ba61.pth")
    hub = touch(tmp_path / "hub" / "models--timm--resnet18.a1_in1k" / "snapshots" / "0123" / "model.safetensors")
    found = names(["auto"], tmp_path)
    assert found == [(LITE, own), ("imagenet resnet50", torchvision), ("resnet18.a1_in1k", hub)]


def test_named_encoders_are_taken_as_they_are_named(tmp_path: Path) -> None:
    file = touch(tmp_path / "lite0.safetensors")
    assert names([f"{LITE}@{file}", "imagenet", "resnet34"], tmp_path) == [
        (LITE, file),
        ("imagenet resnet18", None),
        ("imagenet resnet34", None),
    ]
    with pytest.raises(ConfigError, match="pretrained="):
        names([f"{LITE}@missing.safetensors"], tmp_path)
    with pytest.raises(ConfigError, match="pretrained=efficientnet_lite9"):
        names(["efficientnet_lite9"], tmp_path)
