"""What every probe must do, whichever it is. A new probe is checked on arrival."""

import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from lowres_ssl.encoders.weights_file import load_tensors, save_tensors
from lowres_ssl.errors import ConfigError
from lowres_ssl.probes.base import Features, Prediction, Probe, build_probe, list_probes

Clouds = Callable[..., Features]
CONF = Path(__file__).resolve().parents[2] / "conf" / "probe"
NAMES = list_probes()
FEWER: dict[str, Any] = {"k": 7, "epochs": 4, "hidden": 16}


def arguments_of(name: str) -> dict[str, Any]:
    """What conf/probe/<name>.yaml hands to the constructor, with fewer epochs and neighbours."""
    chosen = OmegaConf.load(CONF / f"{name}.yaml")
    everything = OmegaConf.merge({"method": {"name": "none"}, "dataset": {"name": "none"}}, chosen)
    arguments = OmegaConf.to_container(everything, resolve=True)
    assert isinstance(arguments, dict)
    found = arguments["probe"][name] if "probe" in arguments else arguments
    told = ("method", "dataset")
    found = {str(key): value for key, value in found.items() if key not in told}
    return found | {key: value for key, value in FEWER.items() if key in found}


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
    prediction = probe.fit_predict(features, seed=0)
    assert (prediction.validation == features.validation_labels.numpy()).all()
    assert (prediction.test == np.tile(np.arange(classes), 8)).all()


@pytest.mark.parametrize("validation", [0, 6])
def test_shapes_and_types_are_as_documented(probe: Probe, clouds: Clouds, validation: int) -> None:
    prediction = probe.fit_predict(clouds(validation=validation), seed=0)
    for predicted, scores, count in (
        (prediction.test, prediction.test_scores, 24),
        (prediction.validation, prediction.validation_scores, 3 * validation),
    ):
        assert (predicted.dtype, predicted.shape) == (np.int64, (count,))
        assert scores.shape == (count, 3)
        assert np.issubdtype(scores.dtype, np.floating)
        np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-5)
    assert all(isinstance(value, str | int | float) for value in prediction.details.values())


def test_global_generators_are_left_alone_and_not_asked(probe: Probe, clouds: Clouds) -> None:
    torch.manual_seed(1)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    first = probe.fit_predict(clouds(), seed=3)
    torch.testing.assert_close(torch.get_rng_state(), states[0], rtol=0, atol=0)
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert random.getstate() == states[2]
    torch.manual_seed(2)
    again = probe.fit_predict(clouds(), seed=3)
    np.testing.assert_array_equal(first.test_scores, again.test_scores)
    np.testing.assert_array_equal(first.validation_scores, again.validation_scores)
    assert first.details == again.details


def test_test_features_change_no_choice_and_no_other_prediction(probe: Probe, clouds: Clouds) -> None:
    features = clouds()
    first = probe.fit_predict(features, seed=0)
    changed = features.test.clone()
    changed[1:] = 100 * changed[1:].flip(0)
    other = probe.fit_predict(replace(features, test=changed), seed=0)
    assert first.details == other.details
    np.testing.assert_array_equal(first.validation_scores, other.validation_scores)
    assert not np.array_equal(first.test_scores, other.test_scores)


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
    scores = build_probe(name, arguments_of(name)).fit_predict(fewer, seed=0).test_scores
    assert scores.shape == (24, 3)
    assert (scores[:, 1] == 0).all()


def test_validation_needs_an_image_of_every_class(clouds: Clouds) -> None:
    features = clouds()
    assert features.can_validate
    kept = features.validation_labels != 1
    fewer = replace(features, validation=features.validation[kept], validation_labels=features.validation_labels[kept])
    assert not fewer.can_validate
    assert not clouds(validation=0).can_validate


def test_equal_scores_predict_the_first_class() -> None:
    scores = np.array([[0.2, 0.4, 0.4], [0.5, 0.0, 0.5]])
    prediction = Prediction(scores, scores[:1], {})
    assert prediction.test.tolist() == [1, 0]
    assert prediction.validation.tolist() == [1]


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
    np.testing.assert_array_equal(learnt.scores(features.test), probe.fit_predict(features, seed=0).test_scores)


def test_probe_that_depends_on_no_seed_gives_the_same_for_every_seed(probe: Probe, clouds: Clouds) -> None:
    features = clouds(apart=0.5)
    one, other = (probe.fit_predict(features, seed=seed).test_scores for seed in (0, 1))
    assert np.array_equal(one, other) is not probe.depends_on_seed
