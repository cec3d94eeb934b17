"""Weights of others are fetched once, checked and kept; without a network the message names the file and its place."""

import hashlib
import socket
import threading
from collections.abc import Iterator
from enum import Enum
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lowres_ssl.encoders import imagenet
from lowres_ssl.encoders.imagenet import ImageNetEncoder, fetch_weights, find_imagenet_url
from lowres_ssl.errors import ConfigError, DataError
from lowres_ssl.evaluate.encoder_runs import resolve_initial_weights

WEIGHTS = {"conv1.weight": torch.arange(6.0)}


class Counting(SimpleHTTPRequestHandler):
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        """Prints nothing."""


class Served:
    """A server on this machine, with a file of weights whose name has the first digits of its SHA-256."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        torch.save(WEIGHTS, folder / "weights.pth")
        self.name = f"resnet18-{hashlib.sha256((folder / 'weights.pth').read_bytes()).hexdigest()[:8]}.pth"
        (folder / "weights.pth").rename(folder / self.name)
        self.handler = type("Handler", (Counting,), {"asked": []})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(self.handler, directory=str(folder)))
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/{self.name}"

    def stop(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    server = Served(tmp_path / "served")
    known = Enum("Known", {"IMAGENET1K_V1": server.url})  # as torchvision's, but that each of those has a `url`
    known.url = property(lambda each: each.value)  # type: ignore[attr-defined]
    monkeypatch.setattr(imagenet.models, "get_model_weights", lambda name: known)
    yield server
    server.stop()


def starting(tmp_path: Path, **changes: Any) -> Any:
    """What is read of a config to find the weights of a start."""
    backbone = SimpleNamespace(name="resnet18", model=None)
    return SimpleNamespace(**{"data_dir": str(tmp_path), "backbone": backbone, "dry_run": False} | changes)


def test_baseline_and_start_share_one_download(served: Served, tmp_path: Path) -> None:
    baseline = ImageNetEncoder("IMAGENET1K_V1", mean=[0.5] * 3, std=[0.5] * 3)
    assert torch.equal(baseline.weights("resnet18", tmp_path / "weights")["conv1.weight"], WEIGHTS["conv1.weight"])
    source = resolve_initial_weights("imagenet", starting(tmp_path))
    assert (source.path, source.name) == (tmp_path / "weights" / served.name, "imagenet")
    served.stop()
    assert resolve_initial_weights("imagenet", starting(tmp_path)) == source
    assert served.handler.asked == [f"/{served.name}"]


def test_bytes_other_than_the_name_claims_are_not_kept(served: Served, tmp_path: Path) -> None:
    (tmp_path / "served" / "resnet18-00000000.pth").write_bytes(b"something else")
    with pytest.raises(DataError, match="cannot be fetched"):
        fetch_weights(served.url.replace(served.name, "resnet18-00000000.pth"), tmp_path / "weights")
    assert list((tmp_path / "weights").iterdir()) == []
    path = fetch_weights(served.url, tmp_path / "weights")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"damaged, .* remove it to have it fetched again"):
        fetch_weights(served.url, tmp_path / "weights")


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
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = resolve_initial_weights("imagenet", starting(tmp_path, dry_run=True))
    assert source.path == tmp_path / "weights" / served.name
    assert f"would be fetched into {source.path}" in capsys.readouterr().err
    assert not source.path.exists()
    assert served.handler.asked == []


def test_a_backbone_of_timm_has_no_weights_of_torchvision() -> None:
    with pytest.raises(ConfigError, match="method=pretrained"):
        find_imagenet_url("timm", "method.weights")
