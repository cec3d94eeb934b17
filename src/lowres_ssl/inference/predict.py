"""Predict by a run's stored probe with its calibration: features -> probabilities of the classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lowres_ssl.encoders.weights_file import load_tensors
from lowres_ssl.errors import CheckpointError, ConfigError
from lowres_ssl.evaluate.evaluate import drop_settings_origin
from lowres_ssl.evaluate.features import digest_features
from lowres_ssl.evaluate.supervised_head import SupervisedHead
from lowres_ssl.probes.base import FittedProbe, Probe, build_probe, list_probes
from lowres_ssl.runs.records import ResultRecord
from lowres_ssl.runs.result_io import PROBE_FILE, get_fitted_file, read_predictions
from lowres_ssl.runs.run import CLASSIFIER_PROBE, EncoderChoice, Run
from lowres_ssl.stats.calibration import ProbeCalibration, calibrate

# What arrays of other shapes, types or names raise.
PROBE_LOAD_ERRORS = (KeyError, IndexError, ValueError, TypeError, AttributeError, RuntimeError, ArithmeticError)


@dataclass(frozen=True)
class StoredProbe:
    """Hold a fitted probe with its calibration, and the result that it is of, by folder and content."""

    folder: Path
    result: ResultRecord
    fitted: FittedProbe
    calibration: ProbeCalibration

    @property
    def classes(self) -> list[str]:
        return list(self.result.classes)

    def __call__(self, features: Tensor) -> tuple[NDArray[np.int64], NDArray[np.floating[Any]]]:
        """Features float32 [n, D] -> the class of each, a place in `classes`, and calibrated probabilities [n, C]."""
        scores = self.fitted.scores(features)
        return scores.argmax(axis=1), self.calibration.apply(scores)


def choose_stored_result(run: Run, asked: str | None, precision: str) -> tuple[Path, ResultRecord]:
    """Choose the result that `asked` means, a probe's name or the name of a result's folder; None: the only one.

    Only results of all labels at this precision count. Raises `ConfigError` if there is none, or several.
    """
    stored = [(folder, result) for folder, result in run.results() if uses_full_labels(result)]
    usable = [pair for pair in stored if pair[1].precision == precision]
    found = [pair for pair in usable if asked in (None, pair[1].probe, pair[0].name)]
    if len(found) == 1:
        return found[0]
    if found:
        names = [result.probe for _, result in found]
        if len(set(names)) < len(names):
            names = [f"{folder.name}{format_distinct_settings(result, found)}" for folder, result in found]
        raise ConfigError(
            f"{run.name}: several results would do; type the one that is meant: probe={' or '.join(names)}"
        )
    there = ", ".join(sorted(f"{folder.name} ({result.precision})" for folder, result in stored)) or "none"
    other = [result.precision for folder, result in stored if asked in (None, result.probe, folder.name)]
    evaluate = f"type lowres-ssl evaluate run={run.name} precision={precision}"
    if other:
        hint = f"type precision={other[0]}"
    elif asked == CLASSIFIER_PROBE and run.classifier.exists():
        hint = evaluate
    elif asked in list_probes() or not usable:
        hint = f"{evaluate} probe=[{asked if asked in list_probes() else 'logistic'}]"
    else:
        hint = f"type probe={' or '.join(folder.name for folder, _ in usable)}"
    named = "any probe" if asked is None else f"probe={asked}"
    raise ConfigError(f"{run.name}: no stored result of {named} at precision={precision}; there is {there}; {hint}")


def format_distinct_settings(result: ResultRecord, found: Sequence[tuple[Path, ResultRecord]]) -> str:
    """ " (learning_rate=0.1)": the settings that other results of the same probe have otherwise."""
    others = [other.settings for _, other in found if other.probe == result.probe]
    mine = [
        f"{key}={value}" for key, value in result.settings.items() if any(other.get(key) != value for other in others)
    ]
    return f" ({', '.join(mine)})" if mine else ""


def uses_full_labels(result: ResultRecord) -> bool:
    return result.labels.is_full


def get_result_encoder(result: ResultRecord) -> EncoderChoice:
    """Which of the run's two encoders a result is of."""
    return "last" if result.encoder == "encoder-last.safetensors" else "selected"


def load_stored_probe(run: Run, folder: Path, result: ResultRecord, width: int) -> StoredProbe:
    """Load the probe of a result, for features of `width`. Raises `CheckpointError` if it was not stored, does not fit
    the run's encoder, or the training features that it needs are gone."""
    fitted_again = "" if result.probe == CLASSIFIER_PROBE else f" probe=[{result.probe}]"
    repair = f"type lowres-ssl evaluate run={run.name}{fitted_again} force=true"
    if not (folder / PROBE_FILE).exists():
        raise CheckpointError(f"{folder}: its fitted probe is not there; {repair}")
    tensors, known = load_tensors(get_fitted_file(folder, result))
    if known.get("encoder") != run.get_encoder_hash(run.folder / result.encoder):
        raise CheckpointError(f"{folder / PROBE_FILE}: not of the encoder that the run has now; {repair}")
    if result.probe == CLASSIFIER_PROBE:
        probe: Probe = SupervisedHead(run.classifier)
    else:
        probe = build_probe(result.probe, drop_settings_origin(result.settings))

    def train() -> Tensor:
        features = load_tensors(run.features(get_result_encoder(result), result.precision), ["train"])[0]["train"]
        if digest_features(features) != known.get("train"):
            raise CheckpointError(
                f"{folder}: the run's training features are not those that it was fitted to; {repair}"
            )
        return features

    try:
        if any(tensor.is_complex() for tensor in tensors.values()):
            raise ValueError("complex numbers")
        fitted = probe.restore(tensors, train, len(result.classes))
        scores = fitted.scores(torch.zeros(1, width))  # of the right width?
    except PROBE_LOAD_ERRORS as error:
        raise CheckpointError(f"{folder / PROBE_FILE}: not what this probe stores ({error}); {repair}") from error
    assert scores.shape == (1, len(result.classes))
    predictions = read_predictions(folder, result)
    try:
        calibration = calibrate(predictions)
    except PROBE_LOAD_ERRORS as error:
        raise CheckpointError(
            f"{folder / 'predictions.npz'}: not what this probe predicts ({error}); {repair}"
        ) from error
    return StoredProbe(folder, result, fitted, calibration)
