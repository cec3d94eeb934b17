"""Sets without labels: all their images train, none is scored."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from lowres_ssl.data.catalogue import Catalogue
from lowres_ssl.data.catalogue_subset import take_stratified_subset
from lowres_ssl.data.image_store import ImageStore
from lowres_ssl.data.prepare import PreparedData, select_pretraining_images
from lowres_ssl.data.splits import SPLIT_STRATEGIES, compute_leakage, make_split
from lowres_ssl.errors import DataError

Made = Callable[..., Catalogue]


@pytest.fixture
def set_of(tmp_path: Path, write_image: Callable[..., Path], catalogue_at: Made) -> Made:
    """The catalogue of a folder with images of these names."""

    def make(names: Sequence[str], source: str = "folder", **changes: object) -> Catalogue:
        for name in names:
            write_image(tmp_path / "set" / name)
        return catalogue_at(tmp_path / "set", source, **changes)

    return make


FLAT = [f"{number}.png" for number in range(6)]
BY_DAY = [f"2021-03-0{number}/{number}.png" for number in range(1, 7)]


def test_images_beside_each_other_have_no_labels(set_of: Made) -> None:
    catalogue = set_of(FLAT)
    assert (catalogue.records, catalogue.classes, catalogue.notes) == ((), (), ())
    assert [record.id for record in catalogue.unlabelled] == FLAT


def test_one_class_is_none_with_a_note(set_of: Made) -> None:
    catalogue = set_of([f"all/{name}" for name in FLAT])
    assert not catalogue.records
    assert len(catalogue.unlabelled) == 6
    assert catalogue.notes == ("one class, all: wanted at least two, so the images are taken for unlabelled",)


def test_table_of_one_label_is_none(set_of: Made, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "t.csv").write_text("\n".join(["path,label", *(f"{name},x" for name in FLAT)]))
    assert len(set_of(FLAT, "csv").unlabelled) == 6


def test_folders_are_no_classes_on_request_and_may_be_patients(set_of: Made) -> None:
    catalogue = set_of(BY_DAY, options={"labelled": False, "group_pattern": "^([^/]+)/"})
    assert not catalogue.records
    assert [record.group for record in catalogue.unlabelled][:2] == ["2021-03-01", "2021-03-02"]
    assert len(set(catalogue.groups.tolist())) == 6


def test_published_set_of_one_class_stays_an_error(set_of: Made) -> None:
    with pytest.raises(DataError, match="class b is missing"):
        set_of([f"a/{name}" for name in FLAT], expected={"a": 6, "b": 6})


def test_set_of_which_nothing_can_be_read_is_an_error_and_no_empty_set(set_of: Made, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "x.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"none of its 1 image file can be read, for one x.png: its content"):
        set_of([], skip_unreadable=True)


@pytest.mark.parametrize("kind", ["auto", *SPLIT_STRATEGIES])
def test_whatever_the_split_all_images_train(set_of: Made, kind: str) -> None:
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


def test_what_needs_labels_refuses_with_what_needs_none(set_of: Made) -> None:
    with pytest.raises(
        DataError, match=r"no labels, which a benchmark needs; .*lowres-ssl pretrain and lowres-ssl embed"
    ):
        set_of(FLAT).check_labelled("a benchmark")


def test_subset_is_of_all_images(set_of: Made) -> None:
    part = take_stratified_subset(set_of(FLAT), 4)
    assert len(part.unlabelled) == 4
    assert not part.records
    with pytest.raises(DataError, match="the set has 6 images"):
        take_stratified_subset(set_of(FLAT), 7)
