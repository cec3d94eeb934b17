"""The index: files become records, and what is wrong with a folder is said in one line."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lowres_ssl.data import image_metadata
from lowres_ssl.data.catalogue import Catalogue
from lowres_ssl.errors import DataError

Write = Callable[..., Path]
At = Callable[..., Catalogue]


@pytest.fixture
def root(tmp_path: Path, write_image: Write) -> Path:
    for label in "ab":
        for number in range(3):
            write_image(tmp_path / "set" / label / f"{number}.png")
    return tmp_path / "set"


def test_records_hold_size_hash_and_place(root: Path, catalogue_at: At) -> None:
    catalogue = catalogue_at(root)
    assert [record.id for record in catalogue.records] == [f"{c}/{n}.png" for c in "ab" for n in range(3)]
    first = catalogue.records[0]
    assert (first.height, first.width) == (4, 6)
    assert first.sha256 == hashlib.sha256((root / "a" / "0.png").read_bytes()).hexdigest()
    assert catalogue.root / first.id == first.path
    assert catalogue.classes == ("a", "b")
    assert catalogue.labels.dtype == np.int64
    assert catalogue.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert catalogue.counts() == {"a": 3, "b": 3}
    assert catalogue.notes == ()


def test_digest_changes_with_bytes_labels_names_and_unlabelled_images(
    root: Path, tmp_path: Path, catalogue_at: At, write_image: Write
) -> None:
    digests = [catalogue_at(root).digest]
    assert catalogue_at(root).digest == digests[0]
    write_image(root / "a" / "0.png", key="other")
    digests.append(catalogue_at(root).digest)
    (root / "a" / "0.png").rename(root / "a" / "00.png")
    digests.append(catalogue_at(root).digest)
    (root / "a").rename(root / "c")
    digests.append(catalogue_at(root).digest)
    write_image(tmp_path / "more" / "x.png")
    digests.append(catalogue_at(root, unlabelled=tmp_path / "more").digest)
    digests.append(catalogue_at(root, options={"group_pattern": r"/(\d)"}).digest)
    assert len(set(digests)) == len(digests)


def test_second_look_reads_changed_files_only(
    root: Path, catalogue_at: At, write_image: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = catalogue_at(root)
    write_image(root / "a" / "0.png", key="other", size=(9, 9))
    read, really = [], image_metadata.read_file_metadata
    monkeypatch.setattr(image_metadata, "read_file_metadata", lambda path: (read.append(path.name), really(path))[1])
    again = catalogue_at(root)
    assert again.records[0].height == 9
    assert again.records[1:] == first.records[1:]
    assert catalogue_at(root).records == again.records
    assert read == ["0.png"]


@pytest.mark.parametrize("content", ["", "{", '{"version": 1}'])
def test_damaged_cache_is_rebuilt(root: Path, tmp_path: Path, catalogue_at: At, content: str) -> None:
    first = catalogue_at(root)
    (cache_file,) = (tmp_path / "cache").iterdir()
    good = cache_file.read_text()
    cache_file.write_text(content)
    assert catalogue_at(root).records == first.records
    assert json.loads(cache_file.read_text()) == json.loads(good)


@pytest.mark.parametrize("content", [b"", b"this is text"])
def test_file_that_is_no_image_is_named(root: Path, catalogue_at: At, content: bytes) -> None:
    (root / "a" / "bad.png").write_bytes(content)
    with pytest.raises(DataError, match=r"bad\.png: not a readable image: .*; dataset\.skip_unreadable=true"):
        catalogue_at(root)
    catalogue = catalogue_at(root, skip_unreadable=True)
    assert len(catalogue.records) == 6
    assert catalogue.notes[0].startswith("1 unreadable images left out, for one a/bad.png: ")


def test_published_counts_are_compared(root: Path, catalogue_at: At) -> None:
    assert catalogue_at(root, expected={"a": 3, "b": 3}).notes == ()
    assert catalogue_at(root, expected={"a": 3, "b": 9}).notes == ("class b: 3 images, published are 9",)
    assert catalogue_at(root, expected={"a": 3}).notes == ("class b is not among the published ones",)
    with pytest.raises(DataError, match=r"class c is missing, got a \(3\), b \(3\); wanted a, c"):
        catalogue_at(root, expected={"a": 3, "c": 3})


def test_image_files_passed_over_are_counted(root: Path, catalogue_at: At, write_image: Write) -> None:
    write_image(root / "figure.png")
    (note,) = catalogue_at(root).notes
    assert note == "1 of 7 image files do not belong to the set as configured, for one figure.png"


def test_unlabelled_images_have_their_own_ids_and_are_no_copies_of_labelled_ones(
    root: Path, tmp_path: Path, catalogue_at: At, write_image: Write
) -> None:
    """Else test images would be pre-trained on."""
    write_image(tmp_path / "more" / "deep" / "x.png")
    (tmp_path / "more" / "copy.png").write_bytes((root / "a" / "0.png").read_bytes())
    catalogue = catalogue_at(root, unlabelled=tmp_path / "more")
    assert [(record.id, record.label) for record in catalogue.unlabelled] == [("unlabelled/deep/x.png", "")]
    assert catalogue.counts() == {"a": 3, "b": 3}
    assert "1 unlabelled images are among the labelled ones as well: left out" in catalogue.notes


def test_unlabelled_folder_inside_the_set_is_no_class(root: Path, catalogue_at: At, write_image: Write) -> None:
    write_image(root / "unlabelled" / "x.png")
    catalogue = catalogue_at(root, unlabelled=root / "unlabelled")
    assert catalogue.classes == ("a", "b")
    assert [record.id for record in catalogue.unlabelled] == ["unlabelled/x.png"]
    assert catalogue.notes == ()


def test_file_name_that_is_not_text_is_no_obstacle(root: Path, catalogue_at: At) -> None:
    strange = Path(os.fsdecode(os.fsencode(root / "a") + b"/\xff.png"))
    try:
        strange.write_bytes((root / "a" / "0.png").read_bytes() + b"more")
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    catalogue = catalogue_at(root)
    assert catalogue.records[3].id == "a/\ufffd.png"
    assert catalogue_at(root) == catalogue
