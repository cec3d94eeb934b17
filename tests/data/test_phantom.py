"""The phantom: the same synthetic tissue each time, of which colour alone does not tell the class."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lowres_ssl.data.catalogue import Catalogue
from lowres_ssl.data.datasets.phantom import IMAGES_PER_PATIENT, PATIENT_COUNT, PHANTOM_SIZE, TISSUES, generate_phantom
from lowres_ssl.data.splits import make_split


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("phantom") / "set"
    generate_phantom(root)
    return root


def test_phantom_has_640_images_of_40_patients_in_4_classes(
    phantom: Path, catalogue_at: Callable[..., Catalogue]
) -> None:
    catalogue = catalogue_at(phantom, "phantom")
    assert catalogue.classes == tuple(sorted(TISSUES))
    assert len(catalogue.records) == 640
    assert {(record.height, record.width) for record in catalogue.records} == {(PHANTOM_SIZE, PHANTOM_SIZE)}
    assert set(Counter((record.label, record.group) for record in catalogue.records).values()) == {IMAGES_PER_PATIENT}
    assert len({record.group for record in catalogue.records}) == PATIENT_COUNT
    assert len({record.sha256 for record in catalogue.records}) == 640
    assert catalogue.notes == ()


def test_phantom_is_the_same_each_time(phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lowres_ssl.data.datasets.phantom.PATIENT_COUNT", 3)
    generate_phantom(tmp_path / "again")
    paths = list((tmp_path / "again").rglob("*.png"))
    assert len(paths) == 3 * 4 * IMAGES_PER_PATIENT
    for path in paths:
        assert path.read_bytes() == (phantom / path.relative_to(tmp_path / "again")).read_bytes()


def test_colour_alone_does_not_tell_the_class(phantom: Path, catalogue_at: Callable[..., Catalogue]) -> None:
    """Nearest neighbours on the mean and spread of each colour, between patients: far from what shape allows."""
    catalogue = catalogue_at(phantom, "phantom")
    split = make_split(catalogue, kind="patient", seed=0)
    pixels = np.stack([np.asarray(Image.open(record.path)) for record in catalogue.records]).reshape(640, -1, 3)
    features = np.concatenate([pixels.mean(axis=1), pixels.std(axis=1)], axis=1)
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    train, test = features[split.train], features[split.test]
    nearest = np.argsort(((test[:, None] - train[None]) ** 2).sum(axis=-1), axis=1)[:, :20]
    votes = np.stack([(catalogue.labels[split.train][nearest] == label).sum(axis=1) for label in range(4)], axis=1)
    assert (votes.argmax(axis=1) == catalogue.labels[split.test]).mean() < 0.8
