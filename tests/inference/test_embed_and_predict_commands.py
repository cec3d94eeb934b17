"""`lowres-ssl embed` and `predict` as they are typed: what is written and said, and a line for each wrong thing."""

import csv
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from in_process import type_command
from made_runs import Made
from stored_runs import reseal
from typed import Answer, refused

from lowres_ssl.commands.embed import choose_exclude
from lowres_ssl.encoders.weights_file import load_tensors, save_tensors
from lowres_ssl.inference.load import PortableEncoder
from lowres_ssl.runs.result_io import read_predictions, read_result, write_result


@pytest.fixture
def copy(made: Made, tmp_path: Path) -> Path:
    """A copy of the run's folder, to be damaged by replacing files; the name stays, and the encoder is not copied."""

    def copied(source: str, target: str) -> None:
        (os.link if source.endswith("encoder.safetensors") else shutil.copy)(source, target)

    folder = tmp_path / "outputs" / "pretrain" / made.run.name
    return Path(shutil.copytree(made.run, folder, copy_function=copied))


def test_embed_writes_both_formats(made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(made.images, tmp_path / "my images")
    for name in ("bad.png", "1_mask.png"):
        (tmp_path / "my images" / name).write_text("no image")
    typed = ("embed", f"run={made.run.name}", f"output_dir={made.outputs}", f"images={tmp_path / 'my images'}")
    assert type_command(*typed, "exclude=['*_mask*']") == 0
    printed = capsys.readouterr()
    folder = made.outputs / "embed" / made.run.name / "my images"
    assert sorted(path.name for path in folder.iterdir()) == ["embed.json", "features.npz", "features.parquet"]
    assert "512 features of each of 90 images" in printed.out
    assert "1 image left out" in printed.out
    assert f"{made.run.name}: features of 91 images" in printed.err
    assert "1 image left out by exclude=[*_mask*]" in printed.err
    table = pyarrow.parquet.read_table(folder / "features.parquet")
    with np.load(folder / "features.npz") as arrays:
        assert table["id"].to_pylist() == arrays["id"].tolist()
        assert arrays["features"].shape == (90, 512)
    assert (
        json.loads((folder / "embed.json").read_text())["unreadable"][0]["why"]
        == "its content is none of PNG, JPEG, TIFF, BMP, WEBP, GIF"
    )


def test_names_that_the_set_of_the_run_leaves_out_are_left_out_unless_others_are_typed(
    encoder: PortableEncoder,
) -> None:
    config = encoder.record.config
    masked = replace(config, dataset=replace(config.dataset, exclude=["*_mask*"]))
    encoder = replace(encoder, record=replace(encoder.record, config=masked))
    assert choose_exclude(None, encoder) == ["*_mask*"]
    assert choose_exclude([], encoder) == []


def test_predict_writes_labels_probabilities_and_calibration(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = ("predict", f"run={made.run}", f"images={made.images}", f"folder={tmp_path}", "probe=logistic")
    assert type_command(*typed, "formats=[csv,parquet]") == 0
    out, err = capsys.readouterr()
    assert "90 images labelled by logistic" in out
    fitted = (
        "of the 90 images 62 are training images of this run, 10 chose its settings (validation): their predictions"
    )
    assert f"{fitted} do not measure its accuracy" in err
    with (tmp_path / "predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["id", "label", "probability", "probability_dark ones", "probability_größe", "subset"]
    assert len(rows) == 90
    split = json.loads((made.run / "split.json").read_text(encoding="utf-8"))
    assert {row["id"] for row in rows if row["subset"] == "test"} == set(split["test"])
    assert {row["id"] for row in rows if row["subset"] == "validation"} == set(split["val"])
    for row in rows:
        assert row["probability"] == row[f"probability_{row['label']}"]
        assert float(row["probability"]) >= 0.5
    assert pyarrow.parquet.read_table(tmp_path / "predictions.parquet")["id"].to_pylist() == [row["id"] for row in rows]
    record = json.loads((tmp_path / "predict.json").read_text(encoding="utf-8"))
    for side, images in (("validation", 10), ("test", 18)):
        error = record["calibration"]["errors"][side]
        assert error["n"] == images
        words = [side, str(images)]
        for key in ("before", "after"):
            own = error[key]
            assert 0 < own["chance"] < own["chance_high"]
            words += [f"{own['value']:.3f}", f"{own['chance']:.3f}", "(to", f"{own['chance_high']:.3f})"]
        assert words in [line.split() for line in out.splitlines()]
    assert f"Temperature {record['calibration']['temperature']:.3f}" in out


@pytest.mark.parametrize(
    ("typed", "code", "parts"),
    [
        (["embed", "images=IMAGES"], 2, ["run: got none", "type run=FOLDER"]),
        (["embed", "run=RUN"], 2, ["images: got none", "type images=FOLDER"]),
        (["embed", "run=nope", "images=IMAGES"], 3, ["nope: no such run", "lowres-ssl runs"]),
        (["embed", "run=RUN", "images=nope"], 3, ["nope: no such file or folder", "type images=FOLDER"]),
        (["predict", "run=RUN", "images=IMAGES"], 2, ["several results would do", "probe=knn or linear or logistic"]),
    ],
)
def test_wrong_words_are_one_line(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str], typed: list[str], code: int, parts: list[str]
) -> None:
    words = [word.replace("RUN", str(made.run)).replace("IMAGES", str(made.images)) for word in typed]
    assert type_command(*words, f"folder={tmp_path / 'out'}") == code
    refused(Answer(*capsys.readouterr()), *parts)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ('"outcome"', '"x"', ["not finished; to go on with it type lowres-ssl pretrain "]),
        ('"decoder": 1', '"decoder": 0', ["decoded by version 0", "type its pretrain command again"]),
        ('"name": "resnet18"', '"name": "resnet34"', ["another architecture"]),
        ('"name": "dcl"', '"name": "trivial"', ["has no encoder", "name another run"]),
    ],
)
def test_run_that_will_not_do_is_one_line(
    made: Made, copy: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, parts: list[str]
) -> None:
    content = (copy / "run.json").read_text(encoding="utf-8")
    (copy / "run.json").unlink()
    reseal(copy / "run.json", json.loads(content.replace(old, new)))
    code = type_command("embed", f"run={copy}", f"images={made.images}", f"folder={copy / 'out'}")
    assert code == (2 if "trivial" in new else 4)
    refused(Answer(*capsys.readouterr()), *parts)


def write_again(folder: Path) -> None:
    """The result there, so that it says of the probe beside it that it is its own."""
    result = read_result(folder)
    write_result(folder, result, read_predictions(folder, result))


@pytest.mark.parametrize(
    ("probe", "damage", "part"),
    [
        ("logistic", "remove", "its fitted probe is not there"),
        ("logistic", "another encoder", "not of the encoder that the run has now"),
        ("knn", "features", "training features are not those that it was fitted to"),
        ("knn", "no features", "no such file"),
    ],
)
def test_stored_probe_that_will_not_do_is_one_line(
    made: Made, copy: Path, capsys: pytest.CaptureFixture[str], probe: str, damage: str, part: str
) -> None:
    (file,) = copy.glob(f"{probe}-*/probe.safetensors")
    tensors, known = load_tensors(file)
    features = copy / "features-encoder-fp32.safetensors"
    if damage == "remove":
        file.unlink()
    elif damage == "another encoder":
        save_tensors(file, tensors, known | {"encoder": "0"})
        write_again(file.parent)
    elif damage == "features":
        save_tensors(features, {"train": load_tensors(features)[0]["train"] + 1}, {})
    else:
        features.unlink()
    typed = ("predict", f"run={copy}", f"images={made.images}", f"probe={probe}", f"folder={copy / 'out'}")
    assert type_command(*typed) == 4
    refused(Answer(*capsys.readouterr()), part)
    assert not (copy / "out").exists()


def test_probe_of_the_last_encoder_gets_the_last_encoder(made: Made, copy: Path, tmp_path: Path) -> None:
    os.link(copy / "encoder.safetensors", copy / "encoder-last.safetensors")
    about = json.loads((copy / "run.json").read_text(encoding="utf-8"))
    about["outcome"]["encoders"]["encoder-last.safetensors"] = about["outcome"]["encoders"]["encoder.safetensors"]
    reseal(copy / "run.json", about)
    (file,) = copy.glob("logistic-*/result.json")
    reseal(file, json.loads(file.read_text(encoding="utf-8")) | {"encoder": "encoder-last.safetensors"})
    typed = ("predict", f"run={copy}", f"images={made.images}", "probe=logistic", "formats=[npz]", f"folder={tmp_path}")
    assert type_command(*typed) == 0
    assert json.loads((tmp_path / "predict.json").read_text())["encoder"]["file"] == "encoder-last.safetensors"
    with np.load(tmp_path / "predictions.npz") as arrays:
        assert arrays["probability"].shape == (90,)
