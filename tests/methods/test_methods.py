"""Every choice that has a file in conf/method: it builds, its loss is sound, gradients reach what they should."""

import inspect
from collections.abc import Callable
from copy import deepcopy
from itertools import pairwise
from typing import Any

import pytest
import torch
from method_files import METHODS
from torch import Tensor, nn

from lowres_ssl.encoders.base import FixedEncoder, build_fixed_encoder, list_fixed_encoders
from lowres_ssl.encoders.from_config import set_training_mode
from lowres_ssl.errors import ConfigError
from lowres_ssl.methods.base import Method, Outputs, build_method, mlp
from lowres_ssl.registry import list_available

Arguments = dict[str, Any]
FEATURES = 8
DINO_COUNTS = ("prototypes", "small_views")
VICREG_WEIGHTS = ("invariance", "variance", "covariance")


def built(arguments: Arguments) -> Method | FixedEncoder:
    """The choice with these arguments, as a run builds it."""
    return build_fixed_encoder(arguments) or build_method(arguments, features=FEATURES, seed=0)


def of(name: str, **changes: Any) -> Method:
    """The method of conf/method/<name>.yaml with narrow heads and these changes."""
    narrow = {key: 12 for key, value in METHODS[name].items() if type(value) is int}
    return build_method(METHODS[name] | narrow | changes, features=FEATURES, images=12, seed=0)


def batch(rows: int = 6, seed: int = 0, features: int = FEATURES) -> Tensor:
    return torch.randn(rows, features, generator=torch.Generator().manual_seed(seed))


def outputs_of(method: Method, rows: int = 6) -> list[Outputs]:
    """What the method makes of features that differ from view to view; a teacher is its copy."""
    first, encoder = batch(rows), nn.Identity()
    method.prepare(encoder)
    views = [first + 0.3 * number * batch(rows, seed=number) for number in range(len(method.view_kinds()))]
    return method.encode(encoder, views, joint=False)


def labels_of(method: Method, rows: int = 6) -> Tensor | None:
    return torch.arange(rows) if method.separates_images else None


def loss_of(method: Method, rows: int = 6) -> Tensor:
    return method.loss(outputs_of(method, rows), labels_of(method, rows))["loss"]


def weights_of(module: nn.Module) -> list[nn.Parameter]:
    """The parameters that are trained: not a teacher's."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def message_of(arguments: Arguments) -> str:
    with pytest.raises(ConfigError) as caught:
        built(arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_files_and_choices_have_the_same_names() -> None:
    choices = [*list_available("lowres_ssl.methods", Method), *list_fixed_encoders()]
    assert list(METHODS) == sorted(choices)
    assert all(arguments["name"] == name for name, arguments in METHODS.items())


def test_the_file_has_the_keys_and_the_defaults_and_the_constructor_has_none(method_arguments: Arguments) -> None:
    before = dict(method_arguments)
    parameters = inspect.signature(type(built(method_arguments))).parameters
    assert parameters.keys() - {"features", "classes", "images"} == method_arguments.keys() - {"name"}
    assert {parameter.default for parameter in parameters.values()} <= {inspect.Parameter.empty}
    assert method_arguments == before


def test_heads_depend_on_the_seed_alone(trained_method: Arguments) -> None:
    def weights(seed: int) -> list[Tensor]:
        method = build_method(trained_method, features=FEATURES, seed=seed)
        return [parameter for parameter in method.parameters() if parameter.ndim > 1]

    state = torch.get_rng_state()
    assert all(torch.equal(one, same) for one, same in zip(weights(0), weights(0), strict=True))
    assert not any(torch.equal(one, other) for one, other in zip(weights(0), weights(1), strict=True))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("bf16", [False, True])
def test_loss_and_terms_are_finite_scalars_in_full_precision(trained_method: Arguments, bf16: bool) -> None:
    method = build_method(trained_method, features=FEATURES, images=16, seed=0)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        views = outputs_of(method)
    losses = method.loss(views, labels_of(method))
    assert next(iter(losses)) == "loss"
    assert all(value.shape == () and value.isfinite() and value.dtype == torch.float32 for value in losses.values())


def test_loss_is_symmetric_in_views(trained_method: Arguments) -> None:
    method = build_method(trained_method, features=FEATURES, images=6, seed=0)
    one, two, *others = outputs_of(method)
    there = deepcopy(method).loss([one, two, *others], labels_of(method))["loss"]
    torch.testing.assert_close(there, method.loss([two, one, *others], labels_of(method))["loss"])


def test_gradient_reaches_every_parameter_of_encoder_and_heads(
    trained_method: Arguments, tiny_encoder: Callable[[int], nn.Module]
) -> None:
    encoder, method = tiny_encoder(0), build_method(trained_method, features=FEATURES, images=4, seed=0)
    method.prepare(encoder)
    images = batch(4, features=3 * 8 * 8).view(4, 3, 8, 8)
    views = [images.roll(number, 3) for number in range(len(method.view_kinds()))]
    method.loss(method.encode(encoder, views, joint=False), labels_of(method, 4))["loss"].backward()
    for parameter in [*weights_of(encoder), *weights_of(method)]:
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
        # A bias may have nothing to do: one before a BatchNorm or VICReg's terms cancels.
        assert parameter.grad.any() or parameter.ndim == 1


def test_keys_that_do_not_fit_are_refused_by_the_key_as_typed(trained_method: Arguments) -> None:
    assert message_of(trained_method | {"features": 4}).startswith("unknown key method.features: ")
    for key, value in trained_method.items():
        if key != "name":
            others = {other: kept for other, kept in trained_method.items() if other != key}
            assert message_of(others | {f"{key}x": value}).endswith(f"; did you mean method.{key}={value}?")
            assert message_of(trained_method | {key: "abc"}).startswith(f"method.{key}=abc: got text, wanted ")
            assert message_of(others).startswith(f"method.{key} is missing: ")


def test_an_unknown_method_is_refused_with_all_choices_and_the_nearest() -> None:
    message = message_of({"name": "simsim"})
    assert message == f"method=simsim: wanted one of {', '.join(METHODS)}; did you mean method=simsiam?"


@pytest.mark.parametrize("value", [0, -0.5])
@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("simclr", "temperature"),
        ("dcl", "temperature"),
        ("dclw", "temperature"),
        ("dclw", "sigma"),
        ("moco_v3", "temperature"),
        ("instance", "temperature"),
        ("barlow_twins", "loss_scale"),
    ],
)
def test_a_temperature_that_is_not_above_0_is_refused_when_built(name: str, key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"^method.{key}={value}: wanted a number above 0"):
        of(name, **{key: value})


def test_simsiam_holds_the_projection_constant() -> None:
    """The same loss with z taken as a number has the same gradient."""
    method = of("simsiam")
    (z1, p1), (z2, p2) = outputs = outputs_of(method)
    loss = method.loss(outputs, None)["loss"]
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


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("simclr", {"temperature": 3.0}),
        ("dcl", {"temperature": 3.0}),
        ("dclw", {"temperature": 3.0}),
        ("dclw", {"sigma": 5.0}),
        ("dclw", {"detach_weights": False}),
        ("dclw", {"symmetric": False}),
        ("vicreg", {"average_variance": False}),
        ("vicreg", {"covariance": 9.0}),
        ("barlow_twins", {"redundancy": 0.5}),
        ("barlow_twins", {"loss_scale": 1.0}),
        ("tico", {"contrast": 1.0}),
        ("tico", {"covariance_decay": 0.1}),
        ("moco_v3", {"temperature": 1.0}),
        ("instance", {"temperature": 1.0}),
        ("dino", {"temperatures": [0.5, 0.04]}),
        ("dino", {"temperatures": [0.1, 0.4]}),
    ],
    ids=str,
)
def test_every_setting_of_a_loss_changes_the_gradient(name: str, changes: Arguments) -> None:
    def gradient(method: Method) -> Tensor:
        loss_of(method).backward()
        return next(method.parameters()).grad

    assert not torch.allclose(gradient(of(name)), gradient(of(name, **changes)))


@pytest.mark.parametrize("output_batch_norm", [False, True])
def test_a_head_has_two_layers_and_no_bias_before_batch_norm(output_batch_norm: bool) -> None:
    head = mlp(3, 5, 7, output_batch_norm=output_batch_norm)
    layers = ["Linear", "BatchNorm1d", "ReLU", "Linear", *(["BatchNorm1d"] * output_batch_norm)]
    assert [type(layer).__name__ for layer in head] == layers
    assert all(one.bias is None for one, after in pairwise(head) if isinstance(after, nn.BatchNorm1d))
    assert head(batch(4, features=3)).shape == (4, 7)


@pytest.mark.parametrize("rows", [2, 6])
@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("simclr", {}),
        ("simclr", {"temperature": 0.05}),
        ("dcl", {}),
        ("dclw", {}),
        ("dclw", {"symmetric": False, "detach_weights": False}),
        ("moco_v3", {}),
        ("dino", {}),
        ("instance", {}),
    ],
    ids=str,
)
def test_chance_loss_is_that_of_outputs_that_are_all_alike(name: str, changes: Arguments, rows: int) -> None:
    method = of(name, **changes)
    if name == "instance":
        nn.init.ones_(method.prototypes)
    outputs = outputs_of(method, rows)
    alike = [tuple(map(torch.ones_like, output)) for output in outputs]
    wanted = method.chance_loss(rows)
    assert wanted is not None
    assert method.loss(alike, labels_of(method, rows))["loss"].item() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("name", ["byol", "moco_v3", "tico", "dino"])
def test_a_teacher_follows_by_its_momentum_which_rises_to_1(name: str) -> None:
    method, encoder = of(name, momentum=0.9), nn.Linear(FEATURES, FEATURES)
    method.prepare(encoder)
    own, followed = next(method.teacher.parameters()), encoder.weight
    assert torch.equal(own, followed)
    with torch.no_grad():
        followed += 1
    for progress, momentum in ((0.0, 0.9), (0.5, 0.95), (1.0, 1.0)):
        distance = (followed - own).mean().item()
        method.after_step(encoder, progress)
        assert (followed - own).mean().item() == pytest.approx(momentum * distance, rel=1e-5)
    assert not own.requires_grad


def test_a_teacher_drops_nothing_and_normalises_by_its_batch() -> None:
    encoder = nn.Sequential(nn.Linear(FEATURES, FEATURES), nn.BatchNorm1d(FEATURES), nn.Dropout(0.5))
    method = of("byol")
    method.prepare(encoder)
    set_training_mode(nn.ModuleList((encoder, method)))
    teacher, views = method.teacher, [batch(), batch()]
    (one,), (other,) = teacher(views[:1], joint=True), teacher(views[1:], joint=True)
    assert torch.equal(one, other)
    assert not torch.equal(encoder(views[0]), encoder(views[1]))
    assert teacher.network[0][1].num_batches_tracked == 2
    assert teacher.network[1][1].training


@pytest.mark.parametrize("joint", [True, False])
def test_small_crops_pass_together_or_one_by_one(tiny_encoder: Callable[[int], nn.Module], joint: bool) -> None:
    """In evaluation mode, where BatchNorm does not see the difference; views of one size share a pass."""
    encoder, method = tiny_encoder(0).eval(), of("dino").eval()
    method.prepare(encoder)
    passes = list[torch.Size]()
    encoder.register_forward_pre_hook(lambda _, inputs: passes.append(inputs[0].shape))
    views = [torch.randn(4, 3, size, size) for size in (12, 12, 6, 6, 6)]
    outputs = method.encode(encoder, views, joint=joint)
    for output, view in zip(outputs, views, strict=True):
        torch.testing.assert_close(output[0], method.embed(encoder(view))[0])
    assert [shape[0] for shape in passes[: -len(views)]] == ([8, 12] if joint else [4] * 5)


@pytest.mark.parametrize("width", [0, -3])
def test_a_head_without_width_is_refused_by_its_key(trained_method: Arguments, width: int) -> None:
    widths = [key for key, value in trained_method.items() if type(value) is int and key not in DINO_COUNTS]
    assert widths or trained_method["name"] == "supervised"
    for key in widths:
        assert message_of(trained_method | {key: width}).startswith(f"method.{key}={width}: wanted a width")


@pytest.mark.parametrize(
    ("name", "key"),
    [("tico", "contrast"), ("barlow_twins", "redundancy"), *(("vicreg", key) for key in VICREG_WEIGHTS)],
)
def test_a_weight_of_a_term_below_0_is_refused_and_0_leaves_it_out(name: str, key: str) -> None:
    of(name, **{key: 0.0})
    with pytest.raises(ConfigError, match=f"^method.{key}=-8.0: wanted a number of at least 0"):
        of(name, **{key: -8.0})


@pytest.mark.parametrize(
    "changes",
    [
        {"crop_boundary": 0.01},
        {"crop_boundary": 1.0},
        {"temperatures": [0.1]},
        {"temperatures": [0.1, 0.0]},
        {"small_size": 0.0},
        {"small_size": 1.5},
        {"small_views": -1},
        {"prototypes": 1},
    ],
    ids=str,
)
def test_dino_refuses_crops_and_temperatures_that_make_no_sense(changes: Arguments) -> None:
    with pytest.raises(ConfigError, match=f"method.{next(iter(changes))}"):
        of("dino", **changes)


@pytest.mark.parametrize("momentum", [1.0, -0.1])
def test_a_momentum_out_of_range_is_refused(momentum: float) -> None:
    with pytest.raises(ConfigError, match=r"method\.momentum"):
        of("byol", momentum=momentum)
