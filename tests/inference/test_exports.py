"""Weights that torchvision and timm load strictly, graphs that give the same features, a hub folder that loads."""

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from made_runs import difference, fake_encoder
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision import models

from lowres_ssl.augment.augmentation import make_evaluation_view
from lowres_ssl.data.decode import decode_image
from lowres_ssl.encoders.from_config import build_encoder
from lowres_ssl.errors import CheckpointError, ConfigError
from lowres_ssl.inference.export import (
    check_same,
    export_onnx,
    export_timm,
    export_torchscript,
    export_torchvision,
    make_inputs,
    write_preprocessing,
)

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_torchvision_and_timm_load_the_file_strictly(tmp_path: Path, name: str) -> None:
    encoder = fake_encoder(name)
    (path,) = export_torchvision(encoder, tmp_path)
    model = models.get_model(name)
    model.fc = nn.Identity()
    model.load_state_dict(load_file(path), strict=True)
    assert difference(encoder, model) < 1e-5
    (path,) = export_timm(encoder, tmp_path / "timm")
    model = timm.create_model(name, num_classes=0, checkpoint_path=str(path))
    model.load_state_dict(load_file(path), strict=True)
    assert difference(encoder, model) < 1e-5


def test_encoder_that_a_library_does_not_have_is_refused(tmp_path: Path) -> None:
    small = fake_encoder("resnet18", small_stem=True)
    for library, export in (("torchvision", export_torchvision), ("timm", export_timm)):
        with pytest.raises(
            ConfigError, match=f"format={library}: .* small stem .*; type format=hub, onnx or torchscript"
        ):
            export(small, tmp_path)
    other = fake_encoder("resnet18", method={"name": "pretrained", "model": "vit_tiny_patch16_224"})
    with pytest.raises(ConfigError, match="is timm's vit_tiny_patch16_224; type format=timm"):
        export_torchvision(other, tmp_path)
    assert not list(tmp_path.iterdir())


def test_encoder_of_timm_goes_back_to_timm(tmp_path: Path) -> None:
    method = {"name": "pretrained", "model": "test_resnet"}
    module = timm.create_model("test_resnet", num_classes=0).eval()
    encoder = replace(fake_encoder("resnet18", method=method), module=module, width=module.num_features)
    (path,) = export_timm(encoder, tmp_path)
    assert difference(encoder, timm.create_model("test_resnet", num_classes=0, checkpoint_path=str(path))) < 1e-5


@pytest.mark.parametrize("model", ["resnet18", "test_resnet", "test_vit"])
def test_encoder_of_one_channel_goes_to_libraries_and_graphs(tmp_path: Path, model: str) -> None:
    encoder = fake_encoder("resnet18")
    config = encoder.record.config
    names = {"name": "resnet18"} if model == "resnet18" else {"name": "timm", "model": model}
    backbone = replace(config.backbone, **names, one_channel=True)
    module, width = build_encoder(backbone, seed=0)
    encoder = replace(
        encoder,
        module=module.eval().requires_grad_(False),
        width=width,
        preprocessing=replace(encoder.preprocessing, image_size=160),
        record=replace(encoder.record, config=replace(config, backbone=backbone)),
    )
    if model == "resnet18":
        export_torchvision(encoder, tmp_path / "torchvision")
    (path,) = export_timm(encoder, tmp_path)
    loaded = timm.create_model(model, num_classes=0, checkpoint_path=str(path))
    assert difference(encoder, loaded) < 1e-5
    export_torchscript(encoder, tmp_path)
    export_onnx(encoder, tmp_path)


def test_torchscript_takes_any_batch(tmp_path: Path) -> None:
    encoder = fake_encoder("resnet18", small_stem=True)
    (path,) = export_torchscript(encoder, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer versions of PyTorch call it deprecated
        script = torch.jit.load(path)
    for batch in (1, 5):
        assert difference(encoder, script, batch) < 1e-5


def test_onnxruntime_gives_the_same_features_for_any_batch(tmp_path: Path) -> None:
    import onnxruntime

    encoder = fake_encoder("resnet18")
    (path,) = export_onnx(encoder, tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["model.onnx"], "all in one file"
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (taken,), (given,) = session.get_inputs(), session.get_outputs()
    assert (taken.name, taken.shape, given.name) == ("images", ["batch", 3, 24, 24], "features")
    for batch in (1, 2, 7):
        images = make_inputs(encoder, batch)
        (features,) = session.run(None, {"images": images.numpy()})
        np.testing.assert_allclose(features, encoder.module(images).numpy(), atol=1e-4)


@pytest.mark.parametrize("off", [2e-4, float("nan")])
def test_other_features_are_refused(off: float) -> None:
    encoder = fake_encoder("resnet18")
    assert check_same(encoder, encoder.module, "itself") == 0

    def wrong(images: Tensor) -> Tensor:
        features = encoder.module(images)
        features[-1, -1] += off * features[-1, -1].abs().clamp(min=1)
        return features

    with pytest.raises(CheckpointError, match="nothing was written"):
        check_same(encoder, wrong, "the graph")
    with pytest.raises(CheckpointError, match=r"gives \[1, 511\], wanted \[1, 512\]"):
        check_same(encoder, lambda images: encoder.module(images)[:, 1:], "the graph")


@pytest.mark.parametrize(
    ("colour", "grey_range", "deep"), [(True, None, "0 to 65535"), (False, (0, 4095), "0 to 4095")]
)
def test_preprocessing_in_words_gives_the_encoders_own_input(
    tmp_path: Path, colour: bool, grey_range: tuple[float, float] | None, deep: str
) -> None:
    """Pillow and NumPy alone, step by step as the file says, against the code that made the run's features."""
    encoder = fake_encoder("resnet18")
    how_read = replace(encoder.preprocessing, colour=colour, grey_range=grey_range)
    encoder = replace(encoder, preprocessing=how_read)
    pixels = np.random.default_rng(0).integers(0, 256, (50, 90, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    how = json.loads(write_preprocessing(encoder, tmp_path).read_text(encoding="utf-8"))
    assert how["steps"][2] == ("convert to three channels" if colour else "convert to grey (Pillow's L)")
    assert f"scale 16 bits ({deep}) to 8" in how["steps"][0]
    square = Image.open(tmp_path / "image.png").convert("RGB" if colour else "L")
    for size in (how["stored_size"], how["image_size"]):
        square = square.resize((size, size), Image.Resampling.BILINEAR)
    by_hand = ((np.atleast_3d(np.asarray(square)) / 255 - how["mean"]) / how["std"]).transpose(2, 0, 1)
    ours = make_evaluation_view(
        torch.from_numpy(decode_image(tmp_path / "image.png", colour=colour, size=48)[0][None].copy()),
        image_size=24,
        mean=how["mean"],
        std=how["std"],
    )
    assert np.abs(ours[0].numpy() - by_hand).max() < 1.5 / 255 / 0.2, "a level of rounding, since Pillow has whole ones"
