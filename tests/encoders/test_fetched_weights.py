"""Pre-trained weights are fetched once, checked and kept; without a network the message names file and place."""

import hashlib
import shutil
import socket
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from in_process import compose_config

from lowres_ssl.encoders import imagenet
from lowres_ssl.encoders.imagenet import ImageNetEncoder, fetch_weights, find_imagenet_url
from lowres_ssl.errors import ConfigError, DataError
from lowres_ssl.evaluate.initial_weights import resolve_initial_weights

WEIGHTS = {"conv1.weight": torch.arange(6.0)}


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where torchvision's weights are: a file on this machine, whose name has the first digits of its SHA-256."""
    served = tmp_path / "served"
    served.mkdir()
    torch.save(WEIGHTS, served / "weights.pth")
    digest = hashlib.sha256((served / "weights.pth").read_bytes()).hexdigest()
    url = (served / "weights.pth").rename(served / f"resnet18-{digest[:8]}.pth").as_uri()
    known = Enum("Known", {"IMAGENET1K_V1": url})  # as torchvision's, but that each of those has a `url`
    known.url = property(lambda each: each.value)  # type: ignore[attr-defined]
    monkeypatch.setattr(imagenet.models, "get_model_weights", lambda name: known)
    return url


def starting(tmp_path: Path, **changes: Any) -> Any:
    """What is read of a config to find the weights of a start."""
    backbone = SimpleNamespace(name="resnet18", model=None)
    return SimpleNamespace(**{"data_dir": str(tmp_path), "backbone": backbone, "dry_run": False} | changes)


def test_baseline_and_start_share_one_download(address: str, tmp_path: Path) -> None:
    baseline = ImageNetEncoder("IMAGENET1K_V1", mean=[0.5] * 3, std=[0.5] * 3)
    assert torch.equal(baseline.weights("resnet18", tmp_path / "weights")["conv1.weight"], WEIGHTS["conv1.weight"])
    shutil.rmtree(tmp_path / "served")
    source = resolve_initial_weights("imagenet", starting(tmp_path))
    assert (source.path, source.name) == (tmp_path / "weights" / Path(address).name, "imagenet")


def test_bytes_other_than_the_name_claims_are_not_kept(address: str, tmp_path: Path) -> None:
    (tmp_path / "served" / "resnet18-00000000.pth").write_bytes(b"something else")
    with pytest.raises(DataError, match="cannot be fetched"):
        fetch_weights(address.replace(Path(address).name, "resnet18-00000000.pth"), tmp_path / "weights")
    assert list((tmp_path / "weights").iterdir()) == []
    path = fetch_weights(address, tmp_path / "weights")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"damaged, .* remove it to have it fetched again"):
        fetch_weights(address, tmp_path / "weights")


def test_without_a_network_the_file_its_place_and_the_key_are_named(tmp_path: Path) -> None:
    with socket.socket() as free:  # nobody answers there
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/resnet18-f37072fd.pth"
        with pytest.raises(DataError) as caught:
            fetch_weights(url, tmp_path, "initial_weights")
    place = tmp_path / "resnet18-f37072fd.pth"
    assert str(caught.value).startswith(f"{url}: cannot be fetched (")
    assert str(caught.value).endswith(f"put it at {place}, or type initial_weights=FILE")


def test_dry_run_fetches_nothing_and_names_what_would_be(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = resolve_initial_weights("imagenet", starting(tmp_path, dry_run=True))
    assert source.path == tmp_path / "weights" / Path(address).name
    assert f"would be fetched into {source.path}" in capsys.readouterr().err
    assert not source.path.exists()


def test_a_backbone_of_timm_has_no_weights_of_torchvision() -> None:
    with pytest.raises(ConfigError, match="method=pretrained"):
        find_imagenet_url("timm", "method.weights")


@pytest.mark.parametrize(("method", "end"), [("", "vicreg"), ("dlc", "did you mean initial_weights=method:dcl?")])
def test_a_start_of_no_method_is_refused_with_those_there_are(tmp_path: Path, method: str, end: str) -> None:
    config = compose_config("dataset=phantom", f"output_dir={tmp_path}")
    with pytest.raises(ConfigError, match=f"^initial_weights=method:{method}: wanted a method") as caught:
        resolve_initial_weights(f"method:{method}", config)
    assert str(caught.value).endswith(end)
