"""What stands in a chapter: which results, whose votes, which images are hard, who is near whom, and the leakage."""

import base64
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from in_process import compose_config
from made_studies import STORE, keep_images, made_up_study
from PIL import Image
from stored_runs import OUTCOME, change_record, made_up_run

from lowres_ssl.data.prepare import load_catalogue
from lowres_ssl.data.splits import make_split, save_split
from lowres_ssl.io.checksummed_json import hash_file
from lowres_ssl.reporting.figures.batch_size import BatchSizeFigure
from lowres_ssl.reporting.html.build import build_confusion, draw_figures
from lowres_ssl.reporting.html.page_data import build_feature_maps, build_training_curves, find_nearest_rows
from lowres_ssl.reporting.html.sections import (
    Chapter,
    ProbeResults,
    ThumbnailAlbum,
    build_sections,
    collect_dataset_facts,
    compute_votes,
    find_hard_examples,
)
from lowres_ssl.reporting.stored import Stored
from lowres_ssl.runs.filters import ResultFilters
from lowres_ssl.runs.index import read_index
from lowres_ssl.runs.predictions import ResultCell
from lowres_ssl.runs.predictions import TestPredictions as Said
from lowres_ssl.runs.run import Run


def method(entry: str, *predictions: list[int], labels: list[int]) -> ResultCell:
    """Of three classes; a list of predictions a seed."""
    ids = np.array([f"{number}" for number in range(len(labels))])
    tested = Said(ids, False, np.arange(len(labels)), np.array(labels), np.array(predictions), ("a", "b", "c"), ())
    cell = ResultCell(entry, None, pd.DataFrame())
    vars(cell)["tested"] = tested  # instead of what is read from a folder
    return cell


def test_vote_is_that_of_most_seeds_and_of_equals_the_first() -> None:
    mine = method("x", [0, 0, 2, 1], [1, 0, 1, 2], [1, 2, 0, 1], labels=[0, 0, 0, 0])
    chosen, agreeing = compute_votes(mine.tested)
    assert chosen.tolist() == [1, 0, 2, 1]
    assert agreeing.tolist() == [2, 2, 1, 2]


def test_hard_images_are_those_that_no_compared_method_gets_right() -> None:
    labels = [0, 0, 1, 1, 2]
    probed = ProbeResults(
        "knn",
        "KNN",
        [
            method("dcl", [1, 0, 1, 2, 0], labels=labels),
            method("simclr", [1, 1, 1, 0, 0], labels=labels),
            method("vicreg", [2, 0, 1, 1, 0], labels=labels),
            method("random", [0, 2, 2, 2, 2], labels=labels),
        ],
    )
    found = find_hard_examples(probed)
    assert found.methods == ("DCL", "SimCLR", "VICReg")
    assert found.all_wrong.tolist() == [0, 4]
    assert found.disputed.tolist() == [3, 0, 1], "three classes before two"
    alone = find_hard_examples(ProbeResults("knn", "KNN", [method("random", [0, 2, 2, 2, 2], labels=labels)]))
    assert alone.methods == ("random initialisation",)
    assert alone.all_wrong.tolist() == [1, 2, 3]
    assert alone.disputed.tolist() == []


def test_neighbours_are_the_nearest_others() -> None:
    rows = np.random.default_rng(0).normal(size=(30, 5)).astype(np.float32)
    found = find_nearest_rows(rows, 4)
    for row, mine in enumerate(found):
        distances = np.linalg.norm(rows - rows[row], axis=1)
        distances[row] = np.inf
        assert mine.tolist() == np.argsort(distances)[:4].tolist()
    assert find_nearest_rows(rows[:3]).shape == (3, 2)
    assert find_nearest_rows(rows[:1]).shape == (1, 0)


@pytest.fixture
def chapter(tmp_path: Path) -> Chapter:
    made_up_study(tmp_path, methods=("random", "vicreg", "simclr"), images=24)
    (found,), problems = build_sections(read_index(tmp_path)[0], ResultFilters())
    assert problems == []
    return found


def test_chapter_has_every_probe_and_method_baselines_last(chapter: Chapter) -> None:
    assert [each.probe for each in chapter.probes] == ["knn", "logistic"]
    for probed in chapter.probes:
        assert [each.entry for each in probed.cells] == ["simclr", "vicreg", "random"]
        assert [each.seeds for each in probed.cells] == [[0, 1]] * 3


def test_maps_are_of_one_seed_and_the_stored_features(chapter: Chapter) -> None:
    maps, problems = build_feature_maps(chapter)
    assert problems == []
    assert [(each["entry"], each["seed"]) for each in maps] == [("simclr", 0), ("vicreg", 0), ("random", 0)]
    labels = chapter.tested.labels
    same = [(labels[each["neighbours"]] == labels[:, None]).mean() for each in maps]
    assert min(same) > 0.7, "the made-up features know the class"


def test_curves_are_those_of_each_seed_and_a_burst_loss_is_none(chapter: Chapter) -> None:
    curves = build_training_curves(chapter)
    assert [(each["entry"], each["seed"]) for each in curves] == [
        ("simclr", 0),
        ("simclr", 1),
        ("vicreg", 0),
        ("vicreg", 1),
    ]
    assert curves[0]["loss"] == [4.0, 2.0, 1.3333]
    folder = Path(chapter.entries()["simclr"].rows["result"].iloc[0]).parent
    history = folder / "history.csv"
    history.write_text("epoch,loss\n1,nan\n2,1e400\n")
    change_record(folder, outcome=replace(OUTCOME, files={history.name: hash_file(history)}))
    assert build_training_curves(chapter)[0]["loss"] == [None, None]
    assert build_training_curves(chapter)[0]["effective_rank"] == [None, None]


def test_album_holds_each_image_once_and_small(tmp_path: Path) -> None:
    keep_images(tmp_path / STORE, ["a", "b", "c"], 64)
    album = ThumbnailAlbum(tmp_path, 16)
    assert album.add(STORE, ["c", "a"]) == [0, 1]
    assert album.add(STORE, ["a", "nowhere", "b", "c"]) == [1, -1, 2, 0]
    assert album.add("another", ["a"]) == [-1]
    assert album.add(STORE, ["B", "b"], str.upper) == [2, -1], "ids that are hashes"
    assert len(album.pictures) == 3
    with Image.open(io.BytesIO(base64.b64decode(album.pictures[1]))) as found:
        assert (found.format, found.size) == ("WEBP", (16, 16))
        mean = np.asarray(found, dtype=np.float64).mean()
    wanted = np.load(tmp_path / STORE / "images.npy")[0].mean()
    assert abs(mean - wanted) < 3, "of the image that was asked for"


def test_confusion_counts_all_seeds() -> None:
    mine = method("x", [0, 1, 2], [0, 2, 2], labels=[0, 1, 1])
    assert [[count for count, _ in row] for row in build_confusion(mine)["rows"]] == [[2, 0, 0], [0, 1, 3], [0, 0, 0]]


def test_batch_sizes_are_drawn_where_there_are_several(tmp_path: Path) -> None:
    sizes = [16, 64]
    picture = BatchSizeFigure(
        probe="knn", metric="accuracy", lines={"simclr": []}, baselines=["random"], batch_sizes=sizes
    )
    drawn = []
    for size in sizes:
        made_up_study(tmp_path, methods=("simclr",), probes=("knn",), batch_size=size)
        results, _ = read_index(tmp_path)
        (chapter,), _ = build_sections(results, ResultFilters())
        stored = Stored(results, ResultFilters(), tmp_path, tmp_path / "stores")
        drawn.append(draw_figures(chapter, stored, {"batch_size": picture})["batch_size"])
        assert stored.notes == []
    assert drawn[0] is None
    assert drawn[1] is not None
    assert b"<svg" in base64.b64decode(drawn[1])


@pytest.fixture
def chapter_with_images(tmp_path: Path) -> Chapter:
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


def test_shared_patients_are_told_as_leakage(chapter_with_images: Chapter, tmp_path: Path) -> None:
    about = collect_dataset_facts(chapter_with_images, tmp_path / "stores")
    assert about.leaks
    assert "of 8 test images (" in about.leakage
    assert "share a patient" in about.leakage
    assert about.licence == "yours"


def test_images_that_changed_leave_it_unknown(chapter_with_images: Chapter, tmp_path: Path) -> None:
    next((tmp_path / "cells" / "dark").iterdir()).unlink()
    about = collect_dataset_facts(chapter_with_images, tmp_path / "stores")
    assert not about.leaks
    assert about.leakage == "not known: the images or the split are not those of the run any more"
