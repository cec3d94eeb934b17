"""`load_encoder`, `embed`, `predict`: the features and scores of the run, at a larger size too, of its own files."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from in_process import type_command
from made_runs import Made
from PIL import Image
from stored_runs import made_up_run, reseal

import lowres_ssl
from lowres_ssl import embed, load_encoder, predict
from lowres_ssl.data.pseudonyms import KEY_FILE, make_pseudonyms
from lowres_ssl.data.splits import SplitRecord
from lowres_ssl.encoders.weights_file import load_tensors
from lowres_ssl.errors import ConfigError, DataError
from lowres_ssl.inference.api import Embeddings
from lowres_ssl.inference.given_images import find_known_subsets, list_given_images
from lowres_ssl.inference.load import PortableEncoder, choose_stored_result
from lowres_ssl.io.checksummed_json import read_record, write_record
from lowres_ssl.runs.result_io import read_predictions
from lowres_ssl.runs.run import Run
from lowres_ssl.stats.calibration import calibrate

WHY = "its content is none of PNG, JPEG, TIFF, BMP, WEBP, GIF"

ROOT = Path(__file__).resolve().parents[2]
PROBES = ("knn", "linear", "logistic")
# One image more or less in a batch changes the order in which a convolution adds.
SAME = {"rtol": 1e-5, "atol": 1e-6}


@pytest.fixture(scope="module")
def embedded(made: Made, encoder: PortableEncoder) -> Embeddings:
    return embed(encoder, made.images, batch_size=32)


def test_embed_gives_the_features_that_the_run_has_stored(made: Made, embedded: Embeddings) -> None:
    """Of every image of the set, by its id: the same decoding, the same view, the same encoder."""
    split = json.loads((made.run / "split.json").read_text(encoding="utf-8"))
    sides = {"train": split["train"], "validation": split["val"], "test": split["test"]}
    stored, _ = load_tensors(made.run / "features-encoder-fp32.safetensors")
    row = {id: place for place, id in enumerate(embedded.ids)}
    assert sorted(row) == sorted(id for side in stored for id in sides[side])
    for side, features in stored.items():
        ours = embedded.features[[row[id] for id in sides[side]]]
        np.testing.assert_allclose(ours, features.numpy(), **SAME)


@pytest.mark.parametrize("probe", PROBES)
def test_predict_says_of_the_test_images_what_the_result_says(made: Made, encoder: PortableEncoder, probe: str) -> None:
    said = predict(encoder, made.images, probe=probe, batch_size=50)
    folder, result = choose_stored_result(encoder.run, probe, "fp32")
    stored = read_predictions(folder)
    assert said.classes == list(result.classes) == ["dark ones", "größe"]
    assert said.calibration == calibrate(stored)
    rows = [said.ids.index(id) for id in stored["test_ids"]]
    assert [said.labels[row] for row in rows] == [said.classes[place] for place in stored["test_predictions"]]
    wanted = said.calibration.apply(stored["test_scores"])
    np.testing.assert_allclose(said.probabilities[rows], wanted, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(said.probabilities.sum(axis=1), 1, rtol=1e-6)


def test_files_hold_what_is_returned(
    made: Made, encoder: PortableEncoder, embedded: Embeddings, tmp_path: Path
) -> None:
    written = embed(encoder, made.images, folder=tmp_path, formats=["npz"], batch_size=32)
    assert [path.name for path in written.files] == ["features.npz"]
    assert written.images == 90
    with np.load(tmp_path / "features.npz") as arrays:
        assert arrays["id"].tolist() == embedded.ids
        np.testing.assert_array_equal(arrays["features"], embedded.features)
    record = json.loads(written.record.read_text(encoding="utf-8"))
    assert record["preprocessing"]["stored_size"] == 24
    assert record["preprocessing"]["image_size"] == 20


def test_unreadable_image_is_named_and_left_out_or_refused(
    made: Made, encoder: PortableEncoder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "1.png").write_bytes((made.images / "größe" / "1.png").read_bytes())
    (tmp_path / "2.png").write_text("no image")
    found = embed(encoder, tmp_path)
    assert found.ids == ["1.png"]
    assert [(path.name, why) for path, why in found.unreadable] == [("2.png", WHY)]
    assert capsys.readouterr().err == f"{tmp_path.resolve() / '2.png'}: not a readable image: {WHY}; left out\n"
    with pytest.raises(DataError, match=r"2\.png: not a readable image: .*; skip_unreadable=true leaves it out"):
        embed(encoder, tmp_path, skip_unreadable=False)
    (tmp_path / "1.png").unlink()
    with pytest.raises(DataError, match=r"none of the images can be read \(1\)"):
        embed(encoder, tmp_path, folder=tmp_path / "features", formats=["npz"])
    assert not list((tmp_path / "features").iterdir())


def test_words_that_are_not_known_are_refused(made: Made) -> None:
    wrong: dict[str, Any] = {"which": "first", "device": "gpu", "precision": "fp8"}
    for key, value in wrong.items():
        with pytest.raises(ConfigError, match=f"{key}={value}: wanted"):
            load_encoder(made.run, **{key: value})


@pytest.mark.parametrize("call", [embed, predict])
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"batch_size": 0}, "batch_size=0: wanted at least 1 image"),
        ({"folder": "FOLDER", "formats": ["tsv"]}, "formats=tsv: wanted some of"),
        ({"folder": "FOLDER", "formats": ["npz", "npz"]}, "formats=.*: wanted each once"),
        ({"folder": "FOLDER/file"}, "folder=.*/file: got a file, wanted a folder"),
    ],
)
def test_wrong_arguments_are_refused_and_nothing_is_written(
    made: Made, encoder: PortableEncoder, tmp_path: Path, call: Any, wrong: dict[str, Any], said: str
) -> None:
    (tmp_path / "file").touch()
    if "folder" in wrong:
        wrong = wrong | {"folder": wrong["folder"].replace("FOLDER", str(tmp_path))}
    with pytest.raises(ConfigError, match=said):
        call(encoder, made.images, **wrong, **({"probe": "logistic"} if call is predict else {}))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_patches_in_the_formats_of_the_command_are_refused_with_what_to_type(made: Made, tmp_path: Path) -> None:
    encoder = load_encoder(made.run, device="cpu")
    with pytest.raises(ConfigError, match=r"^formats=\[parquet,npz\]: .*; type formats=\[npz\]$"):
        embed(encoder, made.images, folder=tmp_path, features="patches")


def test_probe_of_the_other_encoder_is_refused(made: Made, encoder: PortableEncoder) -> None:
    folder, _ = choose_stored_result(encoder.run, "logistic", "fp32")
    text = (folder / "result.json").read_text(encoding="utf-8")
    try:
        reseal(folder / "result.json", json.loads(text) | {"encoder": "encoder-last.safetensors"})
        with pytest.raises(ConfigError, match=r"load_encoder\(RUN, which='last'\)"):
            predict(encoder, made.images, probe="logistic")
    finally:
        (folder / "result.json").write_text(text)


def test_importing_the_package_loads_no_torch_and_offers_the_calls() -> None:
    code = (
        "import sys, lowres_ssl\n"
        "assert {'embed', 'load_encoder', 'predict'} <= set(dir(lowres_ssl))\n"
        "assert not {'torch', 'numpy', 'hydra'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        _ = lowres_ssl.nope


def test_examples_of_the_documentation_run(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "export.md").read_text(encoding="utf-8"), re.DOTALL)
    ours = [block for block in blocks if "lowres_ssl" in block]
    assert ours
    monkeypatch.chdir(made.outputs.parent)
    for block in ours:
        exec(block.replace('"RUN"', repr(made.run.name)).replace('"FOLDER"', repr(str(made.images))), {})


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """With a KNN and a logistic result at fp32."""
    for probe in ("knn", "logistic"):
        folder = made_up_run(tmp_path, method="supervised", probe=probe)
    return Run(folder.parent)


@pytest.mark.parametrize(("asked", "precision"), [("nonsense", "fp32"), (None, "bf16")])
def test_error_lists_what_there_is_and_how_to_make_another(run: Run, asked: str | None, precision: str) -> None:
    knn, logistic = (folder.name for folder, _ in run.results())
    there = rf"there is {knn} \(precision=fp32\), {logistic} \(precision=fp32\); type one of these"
    make = rf"lowres-ssl evaluate run={run.name} precision={precision} probe=\[PROBE\]$"
    with pytest.raises(ConfigError, match=f"no stored result of {asked or 'any probe'} at .*{there}.* or {make}"):
        choose_stored_result(run, asked, precision)


def test_several_results_are_told_apart_by_their_settings(run: Run, tmp_path: Path) -> None:
    made_up_run(tmp_path, method="supervised", probe="knn", settings={"k": 7})
    with pytest.raises(ConfigError, match=r"probe=knn-\w+ \(k=\d+\) or knn-\w+ \(k=\d+\)$"):
        choose_stored_result(run, "knn", "fp32")


def test_probe_fitted_at_another_size_is_shown_images_of_that_size(made: Made, tmp_path: Path) -> None:
    """The run scored at 24 px as well, and at 20 px, the training's: that is the result that is there."""
    folder = Path(shutil.copytree(made.run, tmp_path / "pretrain" / made.run.name))
    for size in (24, 20):
        typed = ["evaluate", f"run={folder.name}", f"scored_size={size}", "probe=[logistic]"]
        assert type_command(*typed, f"output_dir={tmp_path}", f"dataset.root={made.images}") == 0
    results = [(result.scored_size, each) for each, result in Run(folder).results() if result.probe == "logistic"]
    (_, _), (size, larger) = sorted(results, key=lambda each: bool(each[0]))
    assert size == 24
    small, large = (load_tensors(folder / f"features-encoder-fp32{end}.safetensors")[0] for end in ("", "-24px"))
    assert small["test"].shape == large["test"].shape
    assert not np.allclose(small["test"], large["test"])
    stored = read_predictions(larger)
    predicted = predict(load_encoder(folder), made.images, probe=larger.name, batch_size=32)
    rows = [predicted.ids.index(id) for id in stored["test_ids"]]
    wanted = predicted.calibration.apply(stored["test_scores"])
    np.testing.assert_allclose(predicted.probabilities[rows], wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("highest", "factor"), [(4000, 16), (60_000, None)])
def test_files_of_16_bits_that_use_fewer_are_warned_of(
    encoder: PortableEncoder, tmp_path: Path, capsys: pytest.CaptureFixture[str], highest: int, factor: int | None
) -> None:
    Image.new("L", (24, 24), 200).save(tmp_path / "8.png")
    for name, value in (("a.png", highest // 2), ("b.png", highest)):
        Image.fromarray(np.full((24, 24), value, np.uint16)).save(tmp_path / name)
    predict(encoder, tmp_path, probe="knn")
    embed(encoder, tmp_path)
    warnings = capsys.readouterr().err.splitlines()
    if factor is None:
        assert warnings == []
        return
    assert len(warnings) == 2
    for line in warnings:
        assert "12 of 16 bits are in use in 2 images, for one b.png, and the run has no grey_range" in line
        assert line.endswith("multiply their values by 16, or take a run with dataset.grey_range=[0,4095]")
    shown = replace(encoder.preprocessing, grey_range=(0.0, 4095.0))
    embed(replace(encoder, preprocessing=shown), tmp_path)
    assert capsys.readouterr().err == ""


def test_images_of_the_set_are_known_by_their_path_and_hashed_ones_with_the_key_alone(
    made: Made, encoder: PortableEncoder, tmp_path: Path
) -> None:
    stored = read_record(made.run / "split.json", SplitRecord, "")
    assert stored is not None
    files = list_given_images([made.images / "dark ones", made.images / "größe" / "0.png"]).files
    known = find_known_subsets(files, made.run / "split.json", encoder.record.config)
    assert known.keys() == {id for _, id in files}
    assert {id for id, subset in known.items() if subset == "train"} == set(stored.train) & known.keys()
    root = Path(shutil.copytree(made.images, tmp_path / "set", ignore=shutil.ignore_patterns(KEY_FILE)))
    copies = list_given_images(root).files
    assert find_known_subsets(copies, made.run / "split.json", encoder.record.config) == {}
    config = encoder.record.config
    config = replace(config, dataset=replace(config.dataset, root=str(root)), store_dir=str(tmp_path / "stores"))
    image = make_pseudonyms(root, tmp_path / "stores").image
    train, val, test = (tuple(map(image, own)) for own in (stored.train, stored.val, stored.test))
    write_record(tmp_path / "split.json", replace(stored, hashed=True, train=train, val=val, test=test))
    found = find_known_subsets(copies, tmp_path / "split.json", config)
    assert {id for id, subset in found.items() if subset == "validation"} == set(stored.val)
    (root / KEY_FILE).unlink()
    assert find_known_subsets(copies, tmp_path / "split.json", config) == {}
