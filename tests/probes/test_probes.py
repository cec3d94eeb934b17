"""What every probe must do, whichever it is. A new probe is checked on arrival."""

import random
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from in_process import compose_config

from lowres_ssl.encoders.weights_file import load_tensors, save_tensors
from lowres_ssl.errors import ConfigError
from lowres_ssl.probes.base import PACKAGE, Features, Probe, build_probe
from lowres_ssl.registry import list_available

Clouds = Callable[..., Features]
CONF = Path(__file__).resolve().parents[2] / "conf" / "probe"
NAMES = list_available(PACKAGE, Probe)
FEWER: dict[str, Any] = {"k": 7, "epochs": 4, "hidden": 16}


@cache
def arguments_of(name: str) -> dict[str, Any]:
    """What conf/probe/<name>.yaml hands to the constructor, with fewer epochs and neighbours."""
    found = compose_config("dataset=phantom", f"probe=[{name}]").probe[name]
    return {key: FEWER.get(key, value) for key, value in found.items()}


@pytest.fixture(params=NAMES)
def probe(request: pytest.FixtureRequest) -> Probe:
    return build_probe(request.param, arguments_of(request.param))


def test_every_probe_has_its_config_and_an_unknown_one_is_refused_with_those_there_are() -> None:
    assert sorted(path.stem for path in CONF.glob("*.yaml")) == NAMES
    with pytest.raises(ConfigError, match=rf"^probe=kmn: wanted one of {', '.join(NAMES)}.*knn"):
        build_probe("kmn", {})


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("knn", "k", 0),
        ("knn", "temperature", 0.0),
        ("linear", "hidden", 0),
        ("linear", "batch_size", 1),
        ("linear", "learning_rate", 0.0),
        ("linear", "epochs", 0),
        ("linear", "step_size", 0),
        ("linear", "gamma", 1.1),
        ("linear", "schedule_delay", -1),
        ("logistic", "strengths", []),
        ("logistic", "strengths", [0.1, 0.0]),
        ("logistic", "max_iterations", 0),
    ],
)
def test_value_out_of_range_is_refused(name: str, key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^probe\.{name}\.{key}={re.escape(str(value))}: wanted "):
        build_probe(name, arguments_of(name) | {key: value})


@pytest.mark.parametrize("classes", [2, 3])
def test_clouds_far_apart_are_told_apart(probe: Probe, clouds: Clouds, classes: int) -> None:
    features = clouds(apart=20.0, classes=classes)
    fitted = probe.fit_probe(features, seed=0)
    assert (fitted.scores(features.validation).argmax(axis=1) == features.validation_labels.numpy()).all()
    assert (fitted.scores(features.test).argmax(axis=1) == np.tile(np.arange(classes), 8)).all()


@pytest.mark.parametrize("validation", [0, 6])
def test_shapes_and_types_are_as_documented(probe: Probe, clouds: Clouds, validation: int) -> None:
    features = clouds(validation=validation)
    fitted = probe.fit_probe(features, seed=0)
    for asked in (features.test, features.validation):
        scores = fitted.scores(asked)
        assert scores.shape == (len(asked), 3)
        assert np.issubdtype(scores.dtype, np.floating)
        np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-5)
    assert all(isinstance(value, str | int | float) for value in fitted.details.values())


def test_global_generators_are_left_alone_and_not_asked(probe: Probe, clouds: Clouds) -> None:
    torch.manual_seed(1)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    features = clouds()
    first = probe.fit_probe(features, seed=3)
    scores = first.scores(features.test)
    torch.testing.assert_close(torch.get_rng_state(), states[0], rtol=0, atol=0)
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert random.getstate() == states[2]
    torch.manual_seed(2)
    again = probe.fit_probe(features, seed=3)
    np.testing.assert_array_equal(again.scores(features.test), scores)
    assert first.details == again.details


def test_test_features_change_no_choice_and_no_score(probe: Probe, clouds: Clouds) -> None:
    features = clouds()
    first = probe.fit_probe(features, seed=0)
    other = probe.fit_probe(replace(features, test=100 * features.test.flip(0)), seed=0)
    assert first.details == other.details
    np.testing.assert_array_equal(first.scores(features.test), other.scores(features.test))


@pytest.mark.parametrize(
    ("counts", "names", "message"),
    [
        ([20, 0], ["a", "b"], r"^class b: got no training images, wanted at least 1; .*split_seed$"),
        ([], [], r"^classes: got 0 \(none\), wanted at least 2"),
        ([20], ["only"], r"^classes: got 1 \(only\), wanted at least 2"),
    ],
)
def test_classes_without_images_or_without_others_are_refused_before_any_work(
    probe: Probe, counts: list[int], names: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        probe.check(train_counts=counts, class_names=names)


@pytest.mark.parametrize("name", ["knn", "logistic"])
def test_class_without_a_training_image_is_never_predicted(clouds: Clouds, name: str) -> None:
    """As of a fraction of the labels. scikit-learn leaves its column out."""
    features = clouds()
    kept = features.train_labels != 1
    fewer = replace(features, train=features.train[kept], train_labels=features.train_labels[kept])
    scores = build_probe(name, arguments_of(name)).fit_probe(fewer, seed=0).scores(fewer.test)
    assert scores.shape == (24, 3)
    assert (scores[:, 1] == 0).all()


@pytest.mark.parametrize("validation", [0, 6])
def test_restored_from_its_tensors_it_predicts_the_same(
    probe: Probe, clouds: Clouds, tmp_path: Path, validation: int
) -> None:
    features = clouds(validation=validation)
    learnt = probe.fit_probe(features, seed=0)
    save_tensors(tmp_path / "probe.safetensors", learnt.tensors, {})
    restored = probe.restore(load_tensors(tmp_path / "probe.safetensors")[0], lambda: features.train, features.classes)
    np.testing.assert_array_equal(restored.scores(features.test), learnt.scores(features.test))
    one_by_one = np.concatenate([restored.scores(row[None]) for row in features.test])
    np.testing.assert_allclose(one_by_one, learnt.scores(features.test), rtol=1e-5, atol=1e-7)


def test_probe_that_depends_on_no_seed_gives_the_same_for_every_seed(probe: Probe, clouds: Clouds) -> None:
    features = clouds(apart=0.5)
    one, other = (probe.fit_probe(features, seed=seed).scores(features.test) for seed in (0, 1))
    assert np.array_equal(one, other) is not probe.depends_on_seed
