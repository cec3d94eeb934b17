"""Encoders that are not trained: timm's, with the errors for those that it lacks; random ones, calibrated."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lowres_ssl.encoders.base import Encoder
from lowres_ssl.encoders.fit_weights import load_encoder_weights
from lowres_ssl.encoders.from_config import check_encoder_image_size
from lowres_ssl.encoders.pretrained import TimmEncoder, create_timm_model
from lowres_ssl.encoders.random_calibrated import CalibratedRandomEncoder
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


@pytest.mark.parametrize(
    ("model", "image_size", "own", "share", "message"),
    [
        (EXAMPLE, 48, 518, 1.0, r"^image_size=48: .*patch size \(14\).*; type image_size=518, its own$"),
        ("test_vit", 40, None, 1.0, r"^image_size=40: .* \(16\).*; type image_size=32, the nearest that it takes$"),
        (EXAMPLE, 224, None, 0.43, r"views of 96 px .*; type method\.small_size=0\.4375, or another image_s"),
        ("resmlp_12_224", 64, None, 1.0, "; type image_size=224, or the size it was trained with$"),
        ("resmlp_12_224", 224, None, 0.43, "; type other views, or another image_size$"),
    ],
)
def test_size_that_an_encoder_does_not_take_is_told_with_one_that_it_takes(
    model: str, image_size: int, own: int | None, share: float, message: str
) -> None:
    encoder = create_timm_model(model)
    with pytest.raises(ConfigError, match=message):
        check_encoder_image_size(encoder, image_size, model, own, share=share)


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


def encoder() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(4 * 36, 5)
    )


def images() -> list[Tensor]:
    """Batches of unlike brightness and size."""
    generator = torch.Generator().manual_seed(1)
    return [shade + torch.rand(size, 3, 8, 8, generator=generator) for shade, size in ((0, 6), (1, 6), (3, 5))]


def test_statistics_are_means_over_the_batches_and_nothing_else_changes() -> None:
    adapted, before = encoder(), encoder()
    CalibratedRandomEncoder().adapt(adapted, images())
    outputs = [before[0](batch).detach() for batch in images()]
    norm = adapted[1]
    means = torch.stack([output.mean(dim=(0, 2, 3)) for output in outputs]).mean(dim=0)
    variances = torch.stack([output.var(dim=(0, 2, 3)) for output in outputs]).mean(dim=0)
    torch.testing.assert_close(norm.running_mean, means)
    torch.testing.assert_close(norm.running_var, variances)
    assert norm.momentum == 0.1
    for (name, one), (_, other) in zip(adapted.named_parameters(), before.named_parameters(), strict=True):
        assert torch.equal(one, other), name
        assert one.grad is None
    assert not any(module.training for module in adapted.modules())


def test_encoder_without_batch_norm_is_refused() -> None:
    bare = nn.Sequential(nn.Flatten(), nn.Linear(192, 5), nn.LayerNorm(5))
    with pytest.raises(ConfigError, match="no BatchNorm layer, so it would be that of method=random; type method=ran"):
        CalibratedRandomEncoder().adapt(bare, images())
