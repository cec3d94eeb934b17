"""A folder becomes records, with labels or without; what is wrong with it is one line."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lowres_ssl.data import image_metadata
from lowres_ssl.data.catalogue import Catalogue
from lowres_ssl.data.image_store import ImageStore
from lowres_ssl.data.prepare import PreparedData, select_pretraining_images
from lowres_ssl.data.splits import SPLIT_STRATEGIES, compute_leakage, make_split
from lowres_ssl.errors import DataError

Write = Callable[..., Path]
At = Callable[..., Catalogue]


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


def test_damaged_index_is_rebuilt(root: Path, tmp_path: Path, catalogue_at: At) -> None:
    first = catalogue_at(root)
    (index,) = (tmp_path / "cache").iterdir()
    good = index.read_text()
    index.write_text('{"version": 1}')
    assert catalogue_at(root).records == first.records
    assert json.loads(index.read_text()) == json.loads(good)


def test_file_that_is_no_image_is_named(root: Path, catalogue_at: At) -> None:
    (root / "a" / "bad.png").write_bytes(b"this is text")
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


def test_file_name_that_is_not_text_is_no_obstacle(root: Path, catalogue_at: At) -> None:
    strange = Path(os.fsdecode(os.fsencode(root / "a") + b"/\xff.png"))
    try:
        strange.write_bytes((root / "a" / "0.png").read_bytes() + b"more")
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    catalogue = catalogue_at(root)
    assert catalogue.records[3].id == "a/\ufffd.png"
    assert catalogue_at(root) == catalogue


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


FLAT = [f"{number}.png" for number in range(6)]
ONE_CLASS = "one class, {}: wanted at least two, so the images are taken for unlabelled"


@pytest.fixture
def set_of(tmp_path: Path, write_image: Write, catalogue_at: At) -> At:
    """The catalogue of a folder with images of these names."""

    def make(names: list[str], source: str = "folder", **changes: Any) -> Catalogue:
        for name in names:
            write_image(tmp_path / "set" / name)
        return catalogue_at(tmp_path / "set", source, **changes)

    return make


@pytest.mark.parametrize(
    ("names", "source", "options", "notes"),
    [
        (FLAT, "folder", {}, ()),
        ([f"all/{name}" for name in FLAT], "folder", {}, (ONE_CLASS.format("all"),)),
        (FLAT, "csv", {}, (ONE_CLASS.format("x"),)),
        ([f"day{name[0]}/{name}" for name in FLAT], "folder", {"labelled": False}, ()),
    ],
    ids=["no-folder", "one-folder", "table-of-one-label", "on-request"],
)
def test_set_without_two_classes_has_no_labels(
    tmp_path: Path, set_of: At, names: list[str], source: str, options: dict[str, Any], notes: tuple[str, ...]
) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "t.csv").write_text("\n".join(["path,label", *(f"{name},x" for name in names)]))
    catalogue = set_of(names, source, options=options)
    assert (catalogue.records, catalogue.classes, catalogue.notes) == ((), (), notes)
    assert [record.id.rpartition("/")[2] for record in catalogue.unlabelled] == FLAT


def test_folders_of_images_without_labels_may_be_patients(set_of: At) -> None:
    names = [f"2021-03-0{number}/{number}.png" for number in range(1, 7)]
    catalogue = set_of(names, options={"labelled": False, "group_pattern": "^([^/]+)/"})
    assert [record.group for record in catalogue.unlabelled][:2] == ["2021-03-01", "2021-03-02"]
    assert len(set(catalogue.groups.tolist())) == 6


def test_set_that_is_refused_is_no_empty_set(set_of: At, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="class b is missing"):
        set_of([f"a/{name}" for name in FLAT], expected={"a": 6, "b": 6})
    for path in (tmp_path / "set" / "a").iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"none of its 6 image files can be read, for one a/0.png: its content"):
        set_of([], skip_unreadable=True)


@pytest.mark.parametrize("kind", ["auto", *SPLIT_STRATEGIES])
def test_whatever_the_split_all_images_without_labels_train(set_of: At, kind: str) -> None:
    catalogue = set_of(FLAT)
    split = make_split(catalogue, kind=kind, seed=0)
    assert (split.kind, len(split.train), len(split.validation), len(split.test)) == ("none", 0, 0, 0)
    assert not compute_leakage(catalogue, split).list_warnings()
    pixels = np.zeros((6, 1, 2, 2), dtype=np.uint8)
    data = PreparedData(catalogue, split, ImageStore(pixels, np.ones((6, 2), np.int32), tuple(FLAT), Path()))
    for pretrain_on in ("training", "all"):
        assert select_pretraining_images(catalogue, split, pretrain_on).tolist() == list(range(6))
    assert len(select_pretraining_images(catalogue, split, "half")) == 3
    assert data.training_rows.tolist() == list(range(6))


def test_what_needs_labels_refuses_with_what_needs_none(set_of: At) -> None:
    with pytest.raises(
        DataError, match=r"no labels, which a benchmark needs; .*lowres-ssl pretrain and lowres-ssl embed"
    ):
        set_of(FLAT).check_labelled("a benchmark")
