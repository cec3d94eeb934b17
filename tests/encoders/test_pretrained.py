"""Any encoder of timm: the size of its images, and what is said where timm or its hub cannot give it. No weights."""

from pathlib import Path
from typing import Any

import pytest
import torch

from lowres_ssl.encoders.base import Encoder
from lowres_ssl.encoders.fit_weights import load_encoder_weights
from lowres_ssl.encoders.from_config import check_encoder_image_size
from lowres_ssl.encoders.pretrained import TimmEncoder, create_timm_model
from lowres_ssl.errors import ConfigError, DataError

timm = pytest.importorskip("timm")
EXAMPLE = "vit_small_patch14_dinov2.lvd142m"  # of the docs


def pretrained(model: str) -> TimmEncoder:
    return TimmEncoder(model=model, weights=None, mean=None, std=None)


def no_backbone() -> Encoder:
    raise AssertionError("it brings its own architecture")


def test_the_docs_example_takes_the_size_that_all_methods_have() -> None:
    method = pretrained(EXAMPLE)
    encoder, width = method.architecture(no_backbone)
    assert (width, method.image_size()) == (384, 518)
    check_encoder_image_size(encoder, 224, "pretrained", method.image_size())


def test_size_that_an_encoder_does_not_take_is_told_with_its_own() -> None:
    method = pretrained(EXAMPLE)
    encoder, _ = method.architecture(no_backbone)
    with pytest.raises(ConfigError, match=r"^image_size=48: .*patch size \(14\).*; type image_size=518, its own$"):
        check_encoder_image_size(encoder, 48, "pretrained", method.image_size())


@pytest.mark.parametrize(
    ("model", "image_size", "share", "message"),
    [
        ("test_vit", 40, 1.0, r"^image_size=40: .* \(16\).*; type image_size=32, the nearest that it takes$"),
        (
            "vit_small_patch14_dinov2",
            224,
            0.43,
            r"views of 96 px .*; type method\.small_size=0\.4375, or another image_s",
        ),
        ("swin_tiny_patch4_window7_224", 64, 1.0, "; type image_size=224, or the size it was trained with$"),
        ("swin_tiny_patch4_window7_224", 224, 0.43, "; type other views, or another image_size$"),
    ],
)
def test_size_that_an_encoder_does_not_take_is_told_with_the_nearest(
    model: str, image_size: int, share: float, message: str
) -> None:
    encoder = create_timm_model(model)
    with pytest.raises(ConfigError, match=message):
        check_encoder_image_size(encoder, image_size, model, None, share=share)


def test_weights_are_the_same_whatever_the_size_of_the_images() -> None:
    """At its own size nothing is resampled."""
    torch.manual_seed(0)
    usual = timm.create_model("test_vit", num_classes=0).eval()
    encoder = create_timm_model("test_vit")
    load_encoder_weights(encoder, usual.state_dict(), "usual")
    images = torch.randn(2, 3, 160, 160)
    with torch.no_grad():
        assert torch.equal(encoder.eval()(images), usual(images))


def test_model_without_that_option_is_built_without_it() -> None:
    with torch.no_grad():
        assert create_timm_model("test_resnet").eval()(torch.zeros(1, 3, 32, 32)).shape[0] == 1


def test_hub_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    errors = pytest.importorskip("huggingface_hub.errors")

    def refuse(*_: Any, **__: Any) -> None:
        raise errors.LocalEntryNotFoundError("An error happened while trying to locate the file\non the Hub")

    monkeypatch.setattr("timm.models._factory.load_model_config_from_hf", refuse)
    with pytest.raises(DataError) as caught:
        pretrained("hf-hub:nobody/nothing").architecture(no_backbone)
    said = str(caught.value)
    assert said.startswith("method.model=hf-hub:nobody/nothing: timm cannot build it (An error happened while trying")
    assert said.endswith("see that the name is right, that its owner lets you read it, and that the hub can be reached")


def test_name_with_an_unknown_ending_is_one_line() -> None:
    with pytest.raises(DataError, match=r"resnet50.nosuch: timm cannot build it \(Invalid pretrained tag .*list_pre"):
        pretrained("resnet50.nosuch").architecture(no_backbone)
