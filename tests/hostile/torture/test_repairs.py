"""Files of a finished run, damaged: the same command makes anew what it can, and names each; the rest it refuses."""

import shlex
from pathlib import Path

from left_behind import Outcome, differences, outcome
from processes import PRETRAIN, type_it

# What each is called in the note.
REPAIRED = {
    "pretrain/folder-simclr-*/split.json": "",
    "pretrain/folder-simclr-*/features-*": "these features are damaged; made anew",
    "pretrain/folder-simclr-*/knn-*/result.json": "the result there is damaged; scored anew",
    "pretrain/folder-random-*/knn-*/predictions.npz": "the result there is damaged; scored anew",
    "pretrain/folder-simclr-*/tsne.png": ": t-SNE",
    "stores/folder-*/images.npy": "the decoded images are damaged, or of an earlier version; decoded anew",
}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_damaged_files_of_a_finished_run_are_named_and_made_anew_or_refused(through: Outcome, images: Path) -> None:
    assert type_it(images, PRETRAIN) == 0
    said = images / "said.txt"
    for pattern in REPAIRED:
        (path,) = (images / "outputs").glob(pattern)
        flip(path)
    said.unlink()
    assert type_it(images, PRETRAIN) == 0
    for note in REPAIRED.values():
        assert note in said.read_text()
    assert differences(outcome(images), through) == []

    (history,) = (images / "outputs").glob("pretrain/*/history.csv")
    whole = history.read_bytes()
    flip(history)
    (fitted,) = (images / "outputs").glob("pretrain/folder-simclr-*/knn-*/probe.safetensors")
    learnt = fitted.read_bytes()
    flip(fitted)
    said.unlink()
    assert type_it(images, PRETRAIN) == 0
    assert "history.csv: not what this run wrote, or damaged; type lowres-ssl pretrain" in said.read_text()
    assert "the result there is damaged; scored anew" in said.read_text()
    assert fitted.read_bytes() == learnt
    history.write_bytes(whole)

    (encoder,) = (images / "outputs").glob("pretrain/folder-simclr-*/encoder.safetensors")
    flip(encoder)
    assert type_it(images, PRETRAIN) == 4
    told = said.read_text().splitlines()[-1].partition("not what this run wrote, or damaged; type ")[2]
    assert shlex.split(told) == ["lowres-ssl", *PRETRAIN, "force=true"]
    assert type_it(images, shlex.split(told)[1:]) == 0
    assert [
        name for name in differences(outcome(images), through) if not name.endswith(".json")
    ] == []  # they say force
