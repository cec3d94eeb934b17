"""A run's stored probe, with its calibration: features -> probabilities of the classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lowres_ssl import probes
from lowres_ssl.build import available
from lowres_ssl.checkpoint import load_tensors
from lowres_ssl.device import DTYPES
from lowres_ssl.errors import CheckpointError, ConfigError, did_you_mean
from lowres_ssl.evaluation.classifier import TrainedClassifier
from lowres_ssl.evaluation.probing import without_origin
from lowres_ssl.features import digest_of
from lowres_ssl.probes import Fitted, Probe, build_probe
from lowres_ssl.results.on_disk import FITTED, fitted_file, read_predictions
from lowres_ssl.runs import END_TO_END, Run, Which
from lowres_ssl.statistics.calibration import Calibration, calibrate

# What arrays of other shapes, types or names end in.
STUMBLES = (KeyError, IndexError, ValueError, TypeError, AttributeError, RuntimeError, ArithmeticError)


@dataclass(frozen=True)
class StoredProbe:
    """What a probe has learnt, and what its scores are worth. `folder`, `result`: of its result, and that."""

    folder: Path
    result: dict[str, Any]
    fitted: Fitted
    calibration: Calibration

    @property
    def classes(self) -> list[str]:
        return list(self.result["classes"])

    def __call__(self, features: Tensor) -> tuple[NDArray[np.int64], NDArray[np.floating[Any]]]:
        """Features float32 [n, D] -> the class of each, a place in `classes`, and calibrated probabilities [n, C]."""
        scores = self.fitted.scores(features)
        return scores.argmax(axis=1), self.calibration.applied(scores)


def choose_result(run: Run, asked: str | None, precision: str) -> tuple[Path, dict[str, Any]]:
    """The result that `asked` means, a probe's name or the name of a result's folder; None: the only one there is.

    Of those with all labels and at this precision. Raises `ConfigError` if there is none, or several.
    """
    stored = [(folder, result) for folder, result in run.results() if is_whole(result)]
    usable = [pair for pair in stored if pair[1]["precision"] == precision]
    found = [pair for pair in usable if asked in (None, pair[1]["probe"], pair[0].name)]
    if len(found) == 1:
        return found[0]
    if not found:
        named = "any probe" if asked is None else f"probe={asked}"
        there = ", ".join(sorted(f"{folder.name} ({result['precision']})" for folder, result in stored)) or "none"
        raise ConfigError(
            f"{run.name}: no stored result of {named} at precision={precision}; there is {there}"
            f"{instead(run, asked, precision, stored)}"
        )
    names = [result["probe"] for _, result in found]
    if len(set(names)) < len(names):
        names = [f"{folder.name}{what_differs(result, found)}" for folder, result in found]
    raise ConfigError(f"{run.name}: several results would do; type the one that is meant: probe={' or '.join(names)}")


def what_differs(result: dict[str, Any], found: Sequence[tuple[Path, dict[str, Any]]]) -> str:
    """ " (learning_rate=0.1)": the settings that other results of the same probe have otherwise."""
    others = [other["settings"] for _, other in found if other["probe"] == result["probe"]]
    mine = [
        f"{key}={value}"
        for key, value in result["settings"].items()
        if any(other.get(key) != value for other in others)
    ]
    return f" ({', '.join(mine)})" if mine else ""


def instead(run: Run, asked: str | None, precision: str, stored: Sequence[tuple[Path, dict[str, Any]]]) -> str:
    """The end of the message, where nothing stored is what was asked for: what to type."""
    evaluate = f"lowres-ssl evaluate run={run.name} precision={precision}"
    other = [result["precision"] for folder, result in stored if asked in (None, result["probe"], folder.name)]
    if other:
        return f"; type precision={other[0]}"
    if asked == END_TO_END and run.classifier.exists():
        return f"; type {evaluate}"
    if asked in available(probes.__name__):
        return f"; type {evaluate} probe=[{asked}]"
    usable = [(folder.name, result["probe"]) for folder, result in stored if result["precision"] == precision]
    if not usable:
        return f"; type {evaluate} probe=[logistic]"
    meant = did_you_mean(asked or "", [name for names in usable for name in names], "probe={}")
    return meant or f"; type probe={' or '.join(folder for folder, _ in usable)}"


def is_whole(result: dict[str, Any]) -> bool:
    return bool(result.get("labels", {"fraction": 1.0})["fraction"] == 1.0)


def which_encoder(result: dict[str, Any]) -> Which:
    """Of the run's two encoders, the one that a result is of."""
    return "last" if result["encoder"] == "encoder-last.safetensors" else "selected"


def open_probe(run: Run, folder: Path, result: dict[str, Any], width: int) -> StoredProbe:
    """The probe of a result, for features of `width`. Raises `CheckpointError` if it was not stored, does not fit the
    run's encoder, or the training features that it asks are gone."""
    fitted_again = "" if result["probe"] == END_TO_END else f" probe=[{result['probe']}]"
    repair = f"type lowres-ssl evaluate run={run.name}{fitted_again} force=true"
    if result["precision"] not in DTYPES:  # it is part of a file's name below
        raise CheckpointError(
            f"{folder}: precision {result['precision'][:20]!r} is none of {', '.join(DTYPES)}; {repair}"
        )
    if not (folder / FITTED).exists():
        raise CheckpointError(f"{folder}: what its probe has learnt was not stored by that version; {repair}")
    tensors, known = load_tensors(fitted_file(folder, result))
    if known.get("encoder") != run.description().get("encoders", {}).get(result["encoder"]):
        raise CheckpointError(f"{folder / FITTED}: not of the encoder that the run has now; {repair}")
    if result["probe"] == END_TO_END:
        probe: Probe = TrainedClassifier(run.classifier)
    else:
        probe = build_probe(result["probe"], without_origin(result["settings"]))

    def train() -> Tensor:
        features = load_tensors(run.features(which_encoder(result), result["precision"]), ["train"])[0]["train"]
        if digest_of(features) != known.get("train"):
            raise CheckpointError(f"{folder}: the run's training features are not those that it asks; {repair}")
        return features

    try:
        if any(tensor.is_complex() for tensor in tensors.values()):
            raise ValueError("complex numbers")
        fitted = probe.restore(tensors, train, len(result["classes"]))
        scores = fitted.scores(torch.zeros(1, width))  # of the right width?
    except STUMBLES as error:
        raise CheckpointError(f"{folder / FITTED}: not what this probe stores ({error}); {repair}") from error
    assert scores.shape == (1, len(result["classes"]))
    predictions = read_predictions(folder, result)
    try:
        calibration = calibrate(predictions)
    except STUMBLES as error:
        raise CheckpointError(
            f"{folder / 'predictions.npz'}: not what this probe predicts ({error}); {repair}"
        ) from error
    return StoredProbe(folder, result, fitted, calibration)


def labels_of(places: NDArray[np.int64], classes: Sequence[str]) -> list[str]:
    return [classes[place] for place in places]
