"""Killed at each named place, typed again: the same bytes and numbers as if nothing had happened, nothing left over.

One command is killed at every place, one after another; `make torture` kills at random moments as well.
"""

import shutil
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from killed import AtCall, AtFile, Place, type_it
from left_behind import differences, leftovers, outcome
from PIL import Image

PRETRAIN = [
    "pretrain",
    "dataset=folder",
    "backbone=resnet18",
    "image_size=20",
    "epochs=2",
    "batch_size=8",
    "probe=[knn]",
    "probe.knn.k=5",
    "precision=fp32",
]
# In the order in which a command comes past them.
FETCHED = {
    "an archive is half downloaded": AtFile("os.rename", r"-archive\.[^/]*\.part/", cut=True),
    "an archive is half unpacked": AtFile("open", r"\.part/set/light/", 5),
    "an archive is unpacked, not yet in its place": AtFile("os.rename", r"/data/folder$"),
}
TRAINED: dict[str, Place] = {
    "the index of the images is half written": AtFile("os.rename", r"/index-[^/]*\.json$", cut=True),
    "the store is half decoded": AtCall("lowres_ssl.data.store", "decode", 20),
    "the store's description is half written": AtFile("os.rename", r"/store\.json$", cut=True),
    "the store is whole, not yet in its place": AtFile("os.rename", r"/stores/folder-[^/.]*$"),
    "the split is half written": AtFile("os.rename", r"/split\.json$", cut=True),
    "the run's description is half written": AtFile("os.rename", r"/run\.json$", cut=True),
    "an epoch is half done": AtCall("lowres_ssl.history", "Meter.add", 2),
    "the history is half written": AtFile("os.rename", r"/history\.csv$", cut=True),
    "the first checkpoint is half written": AtFile("os.rename", r"/checkpoint\.pt$", cut=True),
    "the second epoch is half done": AtCall("lowres_ssl.history", "Meter.add", 5),
    "the second checkpoint is written, the first in its place": AtFile("os.rename", r"/checkpoint-previous\.pt$"),
    "the first checkpoint is put aside, the second not yet in its place": AtFile("os.rename", r"/checkpoint\.pt$"),
    "the encoder is half written": AtFile("os.rename", r"/encoder\.safetensors$", cut=True),
    "the run is about to be called finished": AtFile("os.rename", r"/run\.json$"),
    "the run is finished, its checkpoints still there": AtFile("os.remove", r"/checkpoint\.pt$"),
    "the features are half written": AtFile("os.rename", r"/features-[^/]*$", cut=True),
    "the predictions are half written": AtFile("os.rename", r"/predictions\.npz$", cut=True),
    "the result is half written": AtFile("os.rename", r"/result\.json$", cut=True),
    "the picture is half written": AtFile("os.rename", r"/tsne\.png$", cut=True),
}


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of 20 images in a zip."""
    folder = tmp_path_factory.mktemp("served")
    noise = np.random.default_rng(0)
    for shade, label in ((80, "dark"), (170, "light")):
        (folder / "set" / label).mkdir(parents=True)
        for number in range(20):
            image = np.clip(shade + noise.integers(-30, 30, (20, 20, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(image).save(folder / "set" / label / f"{number}.png")
    with zipfile.ZipFile(folder / "set.zip", "w") as file:
        for path in sorted(folder.rglob("*.png")):
            file.write(path, path.relative_to(folder))
    return folder / "set.zip"


@pytest.fixture
def address(archive: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(archive.parent))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/set.zip"
        server.shutdown()


def kill_at_each(folder: Path, command: list[str], places: dict[str, Any]) -> None:
    """Then once more, to the end."""
    for name, place in places.items():
        assert type_it(folder, command, place) == -9, f"never came to where {name}\n{(folder / 'said.txt').read_text()}"
    assert type_it(folder, command) == 0, (folder / "said.txt").read_text()


def test_download_and_unpacking_killed_at_each_place_are_repeated_whole(address: str, tmp_path: Path) -> None:
    kill_at_each(tmp_path, ["data", "dataset=folder", "fetch=true", f"dataset.url={address}"], FETCHED)
    assert len(list((tmp_path / "data" / "folder").rglob("*.png"))) == 40
    assert leftovers(tmp_path) == []


def test_run_killed_at_each_place_ends_as_one_that_was_not(archive: Path, tmp_path: Path) -> None:
    for name in ("through", "killed"):
        shutil.copytree(archive.parent / "set", tmp_path / name / "data" / "folder")
    assert type_it(tmp_path / "through", PRETRAIN) == 0
    kill_at_each(tmp_path / "killed", PRETRAIN, TRAINED)
    wanted, got = outcome(tmp_path / "through"), outcome(tmp_path / "killed")
    assert len([name for name in wanted if name.endswith("encoder.safetensors")]) == 2  # it and the random one
    assert differences(got, wanted) == []
    assert leftovers(tmp_path / "killed") == []
