"""Every method that has a file in conf/method: it builds, its loss is sound, gradients reach what they should."""

import inspect
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from lowres_ssl.errors import ConfigError
from lowres_ssl.methods import Method, build_method, mlp
from lowres_ssl.registry import list_available

Arguments = dict[str, Any]
Outputs = tuple[Tensor, ...]
FEATURES = 8
CONF = Path(__file__).resolve().parents[2] / "conf" / "method"


def of(name: str, **changes: Any) -> Method:
    """The method of conf/method/<name>.yaml with narrow heads and these changes."""
    arguments = dict(OmegaConf.load(CONF / f"{name}.yaml"))
    narrow = {key: 12 for key, value in arguments.items() if type(value) is int}
    return build_method(arguments | narrow | changes, features=FEATURES, seed=0)


def batch(rows: int = 6, seed: int = 0, features: int = FEATURES) -> Tensor:
    return torch.randn(rows, features, generator=torch.Generator().manual_seed(seed))


def two_views(method: Method, rows: int = 6) -> tuple[Outputs, Outputs]:
    first = batch(rows)
    return method.embed(first), method.embed(first + 0.3 * batch(rows, seed=1))


def loss_of(method: Method, rows: int = 6) -> Tensor:
    return method.loss(*two_views(method, rows))["loss"]


def message_of(arguments: Arguments) -> str:
    with pytest.raises(ConfigError) as caught:
        build_method(arguments, features=FEATURES, seed=0)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_every_method_has_a_file_and_every_file_a_method() -> None:
    assert sorted(path.stem for path in CONF.glob("*.yaml")) == list_available("lowres_ssl.methods")


def test_a_file_names_its_own_method() -> None:
    assert all(OmegaConf.load(path).name == path.stem for path in CONF.glob("*.yaml"))


def test_the_keys_of_the_file_are_those_of_the_constructor(method_arguments: Arguments) -> None:
    parameters = inspect.signature(type(build_method(method_arguments, features=FEATURES, seed=0))).parameters
    assert parameters.keys() - {"features", "classes"} == method_arguments.keys() - {"name"}


def test_defaults_stand_in_the_file_alone(method_arguments: Arguments) -> None:
    parameters = inspect.signature(type(build_method(method_arguments, features=FEATURES, seed=0))).parameters
    assert {parameter.default for parameter in parameters.values()} <= {inspect.Parameter.empty}


def test_heads_are_the_same_from_the_same_seed_and_others_from_another(trained_method: Arguments) -> None:
    def weights(seed: int) -> list[Tensor]:
        method = build_method(trained_method, features=FEATURES, seed=seed)
        return [parameter for parameter in method.parameters() if parameter.ndim > 1]

    assert all(torch.equal(one, same) for one, same in zip(weights(0), weights(0), strict=True))
    assert not any(torch.equal(one, other) for one, other in zip(weights(0), weights(1), strict=True))


def test_building_leaves_the_global_generator_alone(method_arguments: Arguments) -> None:
    state = torch.get_rng_state()
    build_method(method_arguments, features=FEATURES, seed=0)
    assert torch.equal(torch.get_rng_state(), state)


def test_building_leaves_the_arguments_alone(method_arguments: Arguments) -> None:
    before = dict(method_arguments)
    build_method(method_arguments, features=FEATURES, seed=0)
    assert method_arguments == before


def test_loss_and_terms_are_finite_scalars_in_full_precision(trained_method: Arguments) -> None:
    method = build_method(trained_method, features=FEATURES, seed=0)
    for value in method.loss(*two_views(method)).values():
        assert value.shape == ()
        assert value.isfinite()
        assert value.dtype == torch.float32


def test_loss_is_the_first_of_the_terms_shown(trained_method: Arguments) -> None:
    method = build_method(trained_method, features=FEATURES, seed=0)
    assert next(iter(method.loss(*two_views(method)))) == "loss"


def test_loss_is_finite_in_bf16(trained_method: Arguments) -> None:
    method = build_method(trained_method, features=FEATURES, seed=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        one, two = two_views(method)
    assert method.loss(one, two)["loss"].isfinite()


def test_the_first_output_is_one_embedding_an_image(trained_method: Arguments) -> None:
    method = build_method(trained_method, features=FEATURES, seed=0)
    embedding = method.embed(batch())[0]
    assert embedding.ndim == 2
    assert len(embedding) == 6


def test_loss_is_symmetric_in_views(trained_method: Arguments) -> None:
    method = build_method(trained_method, features=FEATURES, seed=0)
    one, two = two_views(method)
    torch.testing.assert_close(method.loss(one, two)["loss"], method.loss(two, one)["loss"])


def test_loss_of_dclw_looks_in_one_direction_if_asked() -> None:
    method = of("dclw", symmetric=False)
    one, two = two_views(method)
    assert not torch.allclose(method.loss(one, two)["loss"], method.loss(two, one)["loss"])


def test_gradient_reaches_every_parameter_of_the_encoder(
    trained_method: Arguments, tiny_encoder: Callable[[int], nn.Module]
) -> None:
    encoder, method = tiny_encoder(0), build_method(trained_method, features=FEATURES, seed=0)
    images = batch(4, features=3 * 8 * 8).view(4, 3, 8, 8)
    method.loss(method.embed(encoder(images)), method.embed(encoder(images.flip(3))))["loss"].backward()
    gradients = {name: parameter.grad for name, parameter in encoder.named_parameters()}
    assert [name for name, gradient in gradients.items() if gradient is None or not gradient.any()] == []
    assert all(gradient.isfinite().all() for gradient in gradients.values())


def test_gradient_reaches_every_head(trained_method: Arguments) -> None:
    method = build_method(trained_method, features=FEATURES, seed=0)
    loss_of(method).backward()
    gradients = {name: parameter.grad for name, parameter in method.named_parameters()}
    assert [name for name, gradient in gradients.items() if gradient is None] == []
    # A bias may have nothing to do: VICReg's last one cancels in every term.
    assert [name for name, gradient in gradients.items() if gradient.ndim > 1 and not gradient.any()] == []


def test_gradient_lowers_the_loss(trained_method: Arguments) -> None:
    method = build_method(trained_method, features=FEATURES, seed=0)
    before = loss_of(method, rows=16)
    before.backward()
    norm = torch.stack([parameter.grad.norm() for parameter in method.parameters()]).norm()
    with torch.no_grad():
        for parameter in method.parameters():
            parameter -= 0.01 * parameter.grad / norm
    assert loss_of(method, rows=16) < before


def test_a_batch_of_one_is_refused(trained_method: Arguments) -> None:
    method = build_method(trained_method, features=FEATURES, seed=0).eval()  # in training BatchNorm would refuse first
    with pytest.raises(ConfigError, match=r"^batch_size=1: .*wanted at least 2"):
        loss_of(method, rows=1)


def test_an_unknown_key_is_told_with_the_known_ones(method_arguments: Arguments) -> None:
    message = message_of(method_arguments | {"qqqq": 1})
    known = ", ".join(key for key in method_arguments if key != "name") or "no arguments"
    assert message == f"unknown key method.qqqq: {method_arguments['name']} takes {known}"


def test_a_key_nearly_right_is_suggested_as_it_is_typed(trained_method: Arguments) -> None:
    for key, value in trained_method.items():
        if key != "name":
            others = {other: kept for other, kept in trained_method.items() if other != key}
            message = message_of(others | {f"{key}x": value})
            assert message.endswith(f"; did you mean method.{key}={value}?")


def test_the_width_of_the_encoder_is_not_the_users_to_set(method_arguments: Arguments) -> None:
    assert message_of(method_arguments | {"features": 4}).startswith("unknown key method.features: ")


def test_every_key_refuses_a_wrong_type(trained_method: Arguments) -> None:
    for key in trained_method.keys() - {"name"}:
        assert message_of(trained_method | {key: "abc"}).startswith(f"method.{key}=abc: got text, wanted ")


def test_every_key_is_wanted(trained_method: Arguments) -> None:
    for key in trained_method.keys() - {"name"}:
        others = {other: value for other, value in trained_method.items() if other != key}
        assert message_of(others).startswith(f"method.{key} is missing: ")


def test_an_unknown_method_is_told_with_the_known_ones_and_the_nearest() -> None:
    message = message_of({"name": "simsim"})
    assert message.startswith("method=simsim: wanted one of dcl, dclw, ")
    assert message.endswith("; did you mean method=simsiam?")


@pytest.mark.parametrize("value", [0, 0.0, -0.5])
@pytest.mark.parametrize(
    ("name", "key"),
    [("simclr", "temperature"), ("dcl", "temperature"), ("dclw", "temperature"), ("dclw", "sigma")],
)
def test_a_temperature_that_is_not_above_0_is_refused_when_built(name: str, key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"^method.{key}={value}: wanted a number above 0"):
        of(name, **{key: value})


def test_a_method_that_trains_nothing_has_no_parameters(untrained_method: Arguments) -> None:
    assert list(build_method(untrained_method, features=FEATURES, seed=0).parameters()) == []


def test_a_method_that_trains_nothing_cannot_be_trained(untrained_method: Arguments) -> None:
    method = build_method(untrained_method, features=FEATURES, seed=0)
    with pytest.raises(NotImplementedError, match="trains nothing"):
        method.embed(batch())
    with pytest.raises(NotImplementedError, match="trains nothing"):
        method.loss((batch(),), (batch(),))


def test_terms_of_vicreg_are_shown_unweighted() -> None:
    method = of("vicreg", invariance=2.0, variance=3.0, covariance=5.0)
    terms = method.loss(*two_views(method))
    weighted = 2 * terms["invariance"] + 3 * terms["variance"] + 5 * terms["covariance"]
    torch.testing.assert_close(terms["loss"], weighted)


def test_released_vicreg_sums_the_variance_of_the_views() -> None:
    paper, released = of("vicreg"), of("vicreg", average_variance=False)
    views = two_views(paper)
    torch.testing.assert_close(released.loss(*views)["variance"], 2 * paper.loss(*views)["variance"])


def test_simsiam_holds_the_projection_constant() -> None:
    """The same loss with z taken as a number has the same gradient."""
    method = of("simsiam")
    (z1, p1), (z2, p2) = two_views(method)
    loss = method.loss((z1, p1), (z2, p2))["loss"]
    cosine = nn.functional.cosine_similarity
    constant = -(cosine(p1, z2.detach()).mean() + cosine(p2, z1.detach()).mean()) / 2
    inputs = list(method.parameters())
    wanted = torch.autograd.grad(constant, inputs, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(loss, inputs), wanted)


def test_simsiam_without_predictor_predicts_the_projection_itself() -> None:
    projection, prediction = of("simsiam", predictor=False).embed(batch())
    assert torch.equal(projection, prediction)


@pytest.mark.parametrize("output_batch_norm", [True, False])
def test_simsiam_normalises_its_projections_if_asked(output_batch_norm: bool) -> None:
    projection = of("simsiam", output_batch_norm=output_batch_norm).embed(batch(64))[0]
    assert torch.allclose(projection.std(dim=0, correction=0), torch.ones(12), atol=0.01) == output_batch_norm


@pytest.mark.parametrize("changes", [{"detach_weights": False}, {"symmetric": False}, {"sigma": 5.0}], ids=str)
def test_every_setting_of_dclw_changes_the_gradient(changes: Arguments) -> None:
    def gradient(method: Method) -> Tensor:
        loss_of(method).backward()
        return method.projector[0].weight.grad

    assert not torch.allclose(gradient(of("dclw")), gradient(of("dclw", **changes)))


@pytest.mark.parametrize("name", ["simclr", "dcl", "dclw"])
def test_the_temperature_changes_the_loss(name: str) -> None:
    assert not torch.allclose(loss_of(of(name)), loss_of(of(name, temperature=3.0)))


@pytest.mark.parametrize(
    ("make", "layers"),
    [
        (lambda: mlp(3, 5, 7), ["Linear", "BatchNorm1d", "ReLU", "Linear"]),
        (lambda: mlp(3, 5, 7, output_batch_norm=True), ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d"]),
    ],
)
def test_a_head_has_two_layers_and_no_bias_before_batch_norm(
    make: Callable[[], nn.Sequential], layers: list[str]
) -> None:
    head = make()
    assert [type(layer).__name__ for layer in head] == layers
    assert all(one.bias is None for one, after in pairwise(head) if isinstance(after, nn.BatchNorm1d))
    assert head(batch(4, features=3)).shape == (4, 7)


@pytest.mark.parametrize("rows", [2, 6])
@pytest.mark.parametrize("name", ["simclr", "dcl", "dclw"])
@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_chance_loss_is_that_of_embeddings_that_are_all_alike(name: str, temperature: float, rows: int) -> None:
    method = of(name, temperature=temperature)
    alike = (torch.ones(rows, 12),)
    wanted = method.chance_loss(rows)
    assert wanted is not None
    assert method.loss(alike, alike)["loss"].item() == pytest.approx(wanted, rel=1e-5)


def test_one_directed_loss_without_detached_weights_has_the_same_chance() -> None:
    method = of("dclw", symmetric=False, detach_weights=False)
    alike = (torch.ones(6, 12),)
    wanted = method.chance_loss(6)
    assert wanted is not None
    assert method.loss(alike, alike)["loss"].item() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("name", ["simsiam", "vicreg", "supervised"])
def test_methods_that_contrast_nothing_have_no_chance_loss(name: str) -> None:
    assert of(name).chance_loss(8) is None
