"""A folder for a model hub: it loads by itself, and its card says what the run and its results say."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import timm
from in_process import type_command
from made_runs import Made, difference, fake_encoder
from torch import nn

from lowres_ssl.data.splits import NO_SPLIT
from lowres_ssl.encoders.from_config import build_encoder
from lowres_ssl.inference.export import export_hub
from lowres_ssl.inference.load import PortableEncoder, load_portable_encoder
from lowres_ssl.inference.model_card import write_model_card
from lowres_ssl.reporting.cells import format_score, format_score_interval
from lowres_ssl.runs.filters import ResultFilters
from lowres_ssl.runs.index import read_index
from lowres_ssl.runs.query import select_columns
from lowres_ssl.runs.run import Run


@pytest.fixture(scope="module")
def encoder(made: Made) -> PortableEncoder:
    return load_portable_encoder(Run(made.run), device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def hub(encoder: PortableEncoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub")
    export_hub(encoder, folder)
    return folder


def test_hub_folder_loads_with_timm_by_itself(hub: Path, encoder: PortableEncoder) -> None:
    assert sorted(path.name for path in hub.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "preprocessing.json",
    ]
    model = timm.create_model(f"local-dir:{hub}", pretrained=True)
    assert difference(encoder, model) < 1e-5
    how = timm.data.resolve_data_config({}, model=model)
    assert (how["input_size"], how["crop_mode"], how["crop_pct"]) == ([3, 20, 20], "squash", 1.0)
    assert tuple(how["mean"]) == encoder.preprocessing.mean


def test_code_of_the_card_loads_the_weights(
    hub: Path, encoder: PortableEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert difference(encoder, loaded_by_the_card(hub, monkeypatch)) < 1e-5


def test_code_of_the_card_builds_the_small_stem(
    encoder: PortableEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = encoder.record.config
    config = replace(config, backbone=replace(config.backbone, small_stem=True))
    small = fake_encoder("resnet18", small_stem=True).module
    other = replace(encoder, module=small, record=replace(encoder.record, config=config))
    export_hub(other, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["architecture"] is None
    assert difference(other, loaded_by_the_card(tmp_path, monkeypatch)) < 1e-5


def test_hub_folder_of_one_channel_loads_with_timm_and_by_its_card(
    encoder: PortableEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = encoder.record.config
    backbone = replace(config.backbone, name="resnet18", one_channel=True)
    module, _ = build_encoder(backbone, seed=0)
    record = replace(encoder.record, config=replace(config, backbone=backbone))
    other = replace(encoder, module=module.eval().requires_grad_(False), record=record)
    export_hub(other, tmp_path)
    assert difference(other, timm.create_model(f"local-dir:{tmp_path}", pretrained=True)) < 1e-5
    assert difference(other, loaded_by_the_card(tmp_path, monkeypatch)) < 1e-5


def loaded_by_the_card(folder: Path, monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    (block, *_) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(folder)
    names: dict[str, nn.Module] = {}
    exec(block, names)
    return names["model"]


def test_card_has_the_numbers_of_the_tables(made: Made, hub: Path) -> None:
    card = (hub / "README.md").read_text(encoding="utf-8")
    frame, _ = read_index(made.outputs)
    for probe in ("knn", "linear", "logistic"):
        (column,) = select_columns(frame, ResultFilters(probe=probe), ["dcl", "random*"])
        texts = []
        for entry in ("dcl", "random", "random_calibrated"):
            cell = column.cell(entry)
            assert cell is not None
            texts.append(cell.interval("accuracy"))
        ours, *starts = texts
        label = column.rows["label"].iloc[0]
        beside = " | ".join(f"{format_score(start)} ({format_score_interval(start)})" for start in starts)
        assert f"| {label} | accuracy | {format_score(ours)} | {format_score_interval(ours)} | {beside} |" in card


def test_card_says_what_the_run_is_and_nothing_of_this_machine(made: Made, hub: Path) -> None:
    card = (hub / "README.md").read_text(encoding="utf-8")
    for part in (
        "62 train, 10 validate, 18 test",
        "Classes: dark ones, größe.",
        "Split: stratified, split_seed 0",
        "Licence of the data: not known to the program.",
        "dcl (",
        "temperature=",
        "1 epoch, batch size 8",
        "no medical device",
        "arXiv 2303.02245",
        "what becomes of 16 bits and of DICOM files included",
        f"Run `{made.run.name}`",
    ):
        assert part in card
    for path in hub.iterdir():
        assert str(made.outputs.parent).encode() not in path.read_bytes()


def test_card_of_images_without_labels_warns_of_no_split(encoder: PortableEncoder) -> None:
    record = replace(encoder.record, split=replace(encoder.record.split, kind=NO_SPLIT))
    card = write_model_card(replace(encoder, record=record), [])
    assert "None: the images have no labels." in card
    assert "flatters" not in card


def test_export_command_writes_over_its_own_files_only(
    made: Made, hub: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(hub / "README.md", tmp_path)
    (tmp_path / ".hidden").touch()
    typed = ("export", f"run={made.run}", "format=torchvision", f"folder={tmp_path}")
    assert type_command(*typed) == 0
    printed = capsys.readouterr().out
    assert f"{tmp_path}/model.safetensors" in printed
    assert f"{tmp_path}/preprocessing.json" in printed
    for name in ("README.md", "notes.txt"):
        (tmp_path / name).write_text("# My own words")
        assert type_command(*typed) == 2
        assert f"holds {name}, which no export wrote; type another folder=FOLDER" in capsys.readouterr().err
        assert (tmp_path / name).read_text() == "# My own words"
        (tmp_path / name).unlink()
