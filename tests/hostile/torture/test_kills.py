"""Killed at each named place, typed again: the same bytes and numbers as if nothing had happened, nothing left over.

One command is killed at every place, one after another; `make torture` kills at random moments as well.
"""

import signal
from pathlib import Path
from typing import Any

from left_behind import Outcome, differences, leftovers, outcome
from processes import PRETRAIN, AtCall, AtFile, Place, type_it

# In the order in which a command comes past them.
FETCHED = {
    "an archive is half downloaded": AtFile("os.rename", r"-archive\.[^/]*\.part/", cut=True),
    "an archive is half unpacked": AtFile("open", r"\.part/set/light/", 5),
    "an archive is unpacked, not yet in its place": AtFile("os.rename", r"/data/folder$"),
}
# The step, counted from where each process starts; exit code; what it is called.
SIGNALS = [
    (1, signal.SIGTERM, 143, "terminated"),
    (1, signal.SIGINT, 130, "interrupted"),
    (2, signal.SIGUSR2, 143, "terminated by SIGUSR2"),
]
TRAINED: dict[str, Place] = {
    "the index of the images is half written": AtFile("os.rename", r"/index-[^/]*\.json$", cut=True),
    "the store is half decoded": AtCall("lowres_ssl.data.image_store", "decode_or_explain", 20),
    "the store's description is half written": AtFile("os.rename", r"/store\.json$", cut=True),
    "the store is whole, not yet in its place": AtFile("os.rename", r"/stores/folder-[^/.]*$"),
    "the split is half written": AtFile("os.rename", r"/split\.json$", cut=True),
    "the run's description is half written": AtFile("os.rename", r"/run\.json$", cut=True),
    "an epoch is half done": AtCall("lowres_ssl.train.history", "EpochMeter.add", 2),
    "the history is half written": AtFile("os.rename", r"/history\.csv$", cut=True),
    "the first checkpoint is half written": AtFile("os.rename", r"/checkpoint\.pt$", cut=True),
    "a later epoch is half done": AtCall("lowres_ssl.train.history", "EpochMeter.add", 5),
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


def kill_at_each(folder: Path, command: list[str], places: dict[str, Any]) -> None:
    """Then once more, to the end."""
    for name, place in places.items():
        assert type_it(folder, command, place) == -9, f"never came to where {name}\n{(folder / 'said.txt').read_text()}"
    assert type_it(folder, command) == 0, (folder / "said.txt").read_text()


def test_download_and_unpacking_killed_at_each_place_are_repeated_whole(address: str, tmp_path: Path) -> None:
    kill_at_each(tmp_path, ["data", "dataset=folder", "fetch=true", f"dataset.url={address}"], FETCHED)
    assert len(list((tmp_path / "data" / "folder").rglob("*.png"))) == 40
    assert leftovers(tmp_path) == []


def test_run_killed_at_each_place_ends_as_one_that_was_not(through: Outcome, images: Path) -> None:
    kill_at_each(images, PRETRAIN, TRAINED)
    assert len([name for name in through if name.endswith("encoder.safetensors")]) == 3  # it and the two random ones
    assert differences(outcome(images), through) == []
    assert leftovers(images) == []


def test_signal_or_damaged_description_loses_nothing_of_what_was_trained(through: Outcome, images: Path) -> None:
    for step, number, code, word in SIGNALS:
        assert type_it(images, PRETRAIN, AtCall("lowres_ssl.train.history", "EpochMeter.add", step, number)) == code
        line = (images / "said.txt").read_text().splitlines()[-1]
        assert line.startswith(f"lowres-ssl: {word}; epoch ")
        assert line.endswith("is saved; the same command (without force=true) goes on from there")
    (description,) = (images / "outputs").glob("pretrain/folder-simclr-*/run.json")
    description.write_bytes(description.read_bytes().replace(b'"seed": 0', b'"seed": 1'))
    assert type_it(images, PRETRAIN) == 0
    assert (
        "run.json: damaged; written anew, and the run goes on from its checkpoint" in (images / "said.txt").read_text()
    )
    assert differences(outcome(images), through) == []


def test_signal_that_is_not_heeded_kills(images: Path) -> None:
    """`preemption_signal` is what is heeded, and no other."""
    place = AtCall("lowres_ssl.train.history", "EpochMeter.add", 1, signal.SIGUSR2)
    assert type_it(images, [*PRETRAIN, "preemption_signal=none", "evaluate=false"], place) == -signal.SIGUSR2
