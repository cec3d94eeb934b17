"""What the report says of a chapter's images: leakage, computed where they are."""

from pathlib import Path

import numpy as np
import pytest
from in_process import compose_config
from PIL import Image
from stored_runs import change_record, made_up_run

from lowres_ssl.data.prepare import load_catalogue
from lowres_ssl.data.splits import make_split, save_split
from lowres_ssl.reporting.html.sections import Chapter, build_sections, collect_dataset_facts
from lowres_ssl.runs.filters import ResultFilters
from lowres_ssl.runs.index import read_index
from lowres_ssl.runs.run import Run


@pytest.fixture
def chapter(tmp_path: Path) -> Chapter:
    """Of a run on 40 images, four a patient, divided image by image."""
    random = np.random.default_rng(0)
    for number in range(40):
        path = tmp_path / "cells" / ("dark", "light")[number % 2] / f"p{number // 4}_{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (4, 4, 3), dtype=np.uint8)).save(path)
    words = ["dataset=folder", f"dataset.root={tmp_path / 'cells'}", r"dataset.options.group_pattern=(p\d+)_"]
    config = compose_config(*words)
    folder = made_up_run(tmp_path / "outputs")
    change_record(folder.parent, config=config)
    catalogue = load_catalogue(config.dataset, tmp_path / "stores")
    save_split(make_split(catalogue, kind="random", seed=0), catalogue, Run(folder.parent).split)
    (found,), _ = build_sections(read_index(tmp_path / "outputs")[0], ResultFilters())
    return found


def test_shared_patients_are_told_as_leakage(chapter: Chapter, tmp_path: Path) -> None:
    about = collect_dataset_facts(chapter, tmp_path / "stores")
    assert about.leaks
    assert "of 8 test images (" in about.leakage
    assert "share a patient" in about.leakage
    assert about.licence == "yours"


def test_images_that_changed_leave_it_unknown(chapter: Chapter, tmp_path: Path) -> None:
    next((tmp_path / "cells" / "dark").iterdir()).unlink()
    about = collect_dataset_facts(chapter, tmp_path / "stores")
    assert not about.leaks
    assert about.leakage == "not known: the images or the split are not those of the run any more"
