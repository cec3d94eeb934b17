"""Models of timm that are trained: from a seed, with one channel, with stages frozen, and weights fetched once."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lowres_ssl.config.experiment_schema import BackboneConfig
from lowres_ssl.encoders import timm_models
from lowres_ssl.encoders.base import Encoder
from lowres_ssl.encoders.fit_weights import load_encoder_weights
from lowres_ssl.encoders.from_config import (
    build_encoder,
    freeze_stages,
    list_stages,
    set_training_mode,
)
from lowres_ssl.encoders.timm_models import build_timm_encoder, fetch_timm_file, select_features
from lowres_ssl.encoders.weights_file import load_weights
from lowres_ssl.errors import ConfigError, DataError

timm = pytest.importorskip("timm")
SMALL = ("test_vit", "test_convnext", "test_efficientnet", "test_resnet")


def backbone(name: str = "timm", **keys: Any) -> BackboneConfig:
    return BackboneConfig(name=name, **{"small_stem": False, "zero_init_residual": False} | keys)


def built(model: str, *, drop_path: float = 0.0, zero_init_residual: bool = False, seed: int = 0) -> Encoder:
    return build_timm_encoder(model, drop_path=drop_path, zero_init_residual=zero_init_residual, seed=seed)


@pytest.mark.parametrize("model", SMALL)
def test_encoder_depends_on_its_seed_alone_and_has_no_classifier(model: str) -> None:
    state = torch.get_rng_state()
    (one, width), (same, _), (other, _) = (built(model, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    weights = [{k: v for k, v in each.state_dict().items() if v.ndim > 1} for each in (one, same, other)]
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())
    assert any(not torch.equal(value, weights[2][key]) for key, value in weights[0].items())
    with torch.no_grad():
        assert one.eval()(torch.zeros(2, 3, 160, 160)).shape == (2, width)


def test_residual_branches_are_dropped_in_training_alone() -> None:
    encoder, _ = built("test_vit", drop_path=0.9)
    images = torch.randn(4, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert not torch.equal(encoder.train()(images), encoder(images))
        assert torch.equal(encoder.eval()(images), encoder(images))


@pytest.mark.parametrize("drop_path", [0.0, 0.2])
def test_as_many_branches_are_dropped_as_asked_whatever_the_model_does_by_itself(drop_path: float) -> None:
    """Swin leaves out a tenth by default."""
    encoder, _ = built("swin_tiny_patch4_window7_224", drop_path=drop_path)
    rates = [module.drop_prob for module in encoder.modules() if isinstance(module, timm.layers.DropPath)]
    assert max(rates, default=0.0) == pytest.approx(drop_path)


@pytest.mark.parametrize("model", ["mobilenetv3_small_050", "ghostnet_050", "test_mambaout", "test_nfnet"])
def test_width_is_that_of_the_features_where_a_layer_follows_the_pooling(model: str) -> None:
    encoder, width = built(model)
    with torch.no_grad():
        assert encoder.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, width)


def test_a_model_without_residual_branches_is_built_and_drops_none() -> None:
    built("vgg11")
    with pytest.raises(ConfigError, match=r"backbone\.drop_path=0\.1: vgg11 has none"):
        built("vgg11", drop_path=0.1)


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("model", ["resnet18", "regnetx_002"])
def test_residual_branches_start_at_zero_where_asked_and_all_else_is_the_same(model: str, zero: bool) -> None:
    encoder, _ = build_encoder(backbone(model=model, zero_init_residual=zero), seed=0)
    norms = [value for value in encoder.parameters() if value.ndim == 1]
    assert any(not value.any() for value in norms[::2]) == zero
    other, _ = built(model, zero_init_residual=not zero)
    kernels = [[value for value in each.parameters() if value.ndim > 1] for each in (encoder, other)]
    assert all(torch.equal(one, same) for one, same in zip(*kernels, strict=True))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "backbone=timm: wanted a model"),
        ({"model": "vit_smal_patch16_224"}, "backbone.model=vit_smal_patch16_224: timm .* did you mean"),
        ({"model": "test_vit", "small_stem": True}, "backbone.small_stem=true"),
        ({"name": "resnet18", "model": "test_vit"}, "type backbone=timm"),
    ],
    ids=str,
)
def test_keys_that_do_not_go_together_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_encoder(backbone(**keys), seed=0)


@pytest.mark.parametrize("keys", [{"name": "resnet18"}, *({"model": model} for model in SMALL)], ids=str)
def test_first_layer_of_one_channel_gives_grey_images_the_same_features(keys: dict[str, Any]) -> None:
    (usual, _), (grey, _) = (build_encoder(backbone(**keys, one_channel=one), seed=3) for one in (False, True))
    load_encoder_weights(grey, usual.state_dict(), "usual")
    images = torch.randn(2, 1, 160, 160).expand(-1, 3, -1, -1)
    assert sum(p.numel() for p in grey.parameters()) < sum(p.numel() for p in usual.parameters())
    with torch.no_grad():
        torch.testing.assert_close(deepcopy(grey).eval()(images), usual.eval()(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("keys", [{"name": "resnet18"}, *({"model": model} for model in SMALL)], ids=str)
def test_frozen_stages_keep_weights_and_statistics_and_the_others_learn(keys: dict[str, Any]) -> None:
    encoder, _ = build_encoder(backbone(**keys), seed=0)
    stages = list_stages(encoder)
    names = [name for _, parameters in stages for name in parameters]
    assert sorted(names) == sorted(name for name, _ in encoder.named_parameters())
    freeze_stages(encoder, 2)
    encoder = deepcopy(encoder)
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    optimiser = torch.optim.SGD([p for p in encoder.parameters() if p.requires_grad], lr=0.1)
    set_training_mode(encoder)
    for seed in range(2):
        images = torch.randn(4, 3, 160, 160, generator=torch.Generator().manual_seed(seed))
        optimiser.zero_grad()
        (encoder(images) * torch.arange(4.0)[:, None]).sum().backward()
        optimiser.step()
    prefixes = tuple(f"{module}." for modules, _ in stages[:2] for module in modules)
    frozen = {key for key in before if key.startswith(prefixes)} | {name for _, own in stages[:2] for name in own}
    after = encoder.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in frozen)
    learnt = {key for key in before if key not in frozen and not torch.equal(after[key], before[key])}
    assert len(learnt) > len(before) / 4


def test_class_token_and_patches_are_those_before_the_pooling() -> None:
    """A transformer of timm pools by its class token; the mean of a ResNet's places is what it pools to."""
    images = torch.randn(2, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    for keys, grid in (({"model": "test_vit"}, 10), ({"model": "test_convnext"}, 5), ({"name": "resnet18"}, 5)):
        encoder, width = build_encoder(backbone(**keys), seed=0)
        encoder.eval()
        with torch.no_grad():
            pooled = encoder(images)
            module, shape = select_features(encoder, "patches", 160)
            patches = module(images)
            assert patches.shape[1:] == shape == (grid**2, width)
            if "name" in keys:
                torch.testing.assert_close(patches.mean(dim=1), pooled)
            if keys.get("model") == "test_vit":
                token, own = select_features(encoder, "class_token", 160)
                assert own == (width,)
                torch.testing.assert_close(token(images), pooled)
            else:
                with pytest.raises(ConfigError, match="features=class_token: this encoder has no class token"):
                    select_features(encoder, "class_token", 160)


@pytest.mark.parametrize("model", ["resmlp_12_224", "pit_ti_224", "efficientformer_l1", "levit_128s"])
def test_patches_of_a_model_that_does_not_tell_them_apart_are_refused(model: str) -> None:
    with pytest.raises(ConfigError, match=r"features=patches: .*; type features=pooled"):
        select_features(built(model)[0], "patches", 224)


@pytest.mark.parametrize("model", ["pit_ti_224", "rdnet_tiny"])
def test_frozen_stages_of_a_model_that_timm_does_not_group_are_refused(model: str) -> None:
    with pytest.raises(ConfigError, match=r"frozen_stages: .*; type frozen_stages=0"):
        freeze_stages(built(model)[0], 1)


@pytest.mark.parametrize("count", [-1, 5, 99])
def test_number_of_frozen_stages_out_of_range_is_refused(count: int) -> None:
    encoder, _ = build_encoder(backbone("resnet18"), seed=0)
    with pytest.raises(ConfigError, match=f"frozen_stages={count}: this encoder has 5 stages"):
        freeze_stages(encoder, count)


def test_weights_are_fetched_once_and_need_no_hub_afterwards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A hub that is there once."""
    torch.manual_seed(5)
    published = timm.create_model("test_vit", num_classes=0)
    asked = []

    def answer(model: str, **options: Any) -> nn.Module:
        asked.append(model)
        if len(asked) > 1:
            raise OSError("no network")
        return published

    monkeypatch.setattr(timm_models, "create_timm_model", answer)
    path = fetch_timm_file("test_vit.r160_in1k", tmp_path)
    assert fetch_timm_file("test_vit.r160_in1k", tmp_path) == path
    assert asked == ["test_vit.r160_in1k"]
    again = load_weights(path)
    assert all(torch.equal(value, again[key]) for key, value in published.state_dict().items())
    page = "https://huggingface.co/timm/vit_small_patch16_224.augreg_in21k_ft_in1k"
    place = tmp_path / "timm-vit_small_patch16_224.safetensors"
    by_hand = f"by other means and put it at {place}, or type initial_weights=FILE"
    message = rf"cannot be fetched \(no network\); fetch model.safetensors of {page} {by_hand}"
    with pytest.raises(DataError, match=message):
        fetch_timm_file("vit_small_patch16_224", tmp_path)
