"""Probes: how good frozen features are. Stored features in, predictions out; one file a probe, found by its name.

A probe sees no encoder, no image and no test label. It takes its random numbers from the seed it is given and leaves
the global generators alone. Shape legend: D features, C classes.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lowres_ssl.config.experiment_schema import SCORED_SIZE, SETTINGS_ORIGIN
from lowres_ssl.errors import ConfigError
from lowres_ssl.registry import build

PACKAGE = "lowres_ssl.probes"

Details = dict[str, float | int | str]


@dataclass(frozen=True)
class Features:
    """The features of one split.

    `train`, `validation`, `test`: float32 [n, D], each with its own n; validation may be empty [0, D]. The labels:
    int64 [n], from 0 to `classes` - 1. Test labels are not here: the metrics alone read them.
    """

    train: Tensor
    train_labels: Tensor
    validation: Tensor
    validation_labels: Tensor
    test: Tensor
    classes: int

    @property
    def can_validate(self) -> bool:
        """Whether every class has a validation image; if not, nothing should be chosen on the validation images."""
        return len(self.validation_labels.unique()) == self.classes


@dataclass(frozen=True)
class FittedProbe:
    """A probe that has learnt.

    `scores`: features float32 [n, D] -> probabilities or shares of the vote, float [n, C]; rows sum to 1. Predicted is
    the class with the highest one, the first of equals. `tensors`: what `Probe.restore` makes it from again. `details`:
    what the probe chose, for the record.
    """

    scores: Callable[[Tensor], NDArray[np.floating[Any]]]
    tensors: Mapping[str, Tensor]
    details: Details


class Probe(ABC):
    """A classifier on frozen features. Its constructor takes what `conf/probe/<name>.yaml` holds.

    `label` is its name in tables. `encoder` sets which encoder of a run it scores: the one that `select_encoder` chose,
    or the last (the paper's released code gives KNN the last and the linear evaluation the best). `depends_on_seed` is
    false for a probe without random numbers.
    """

    label: str
    depends_on_seed: ClassVar[bool] = True
    encoder: Literal["selected", "last"] = "selected"

    def check(self, *, train_counts: Sequence[int], class_names: Sequence[str]) -> list[str]:
        """Check, before any long work, that it can be fitted on `train_counts` images a class; return warnings.

        Raises `ConfigError` where it cannot.
        """
        if len(class_names) < 2:
            names = ", ".join(class_names) or "none"
            raise ConfigError(f"classes: got {len(class_names)} ({names}), wanted at least 2; see lowres-ssl data")
        for name, count in zip(class_names, train_counts, strict=True):
            if count == 0:
                raise ConfigError(
                    f"class {name}: got no training images, wanted at least 1; add images or try another split_seed"
                )
        return []

    def at_fraction(self, fraction: float) -> "Probe":
        """Return the probe for this fraction of the labels, above 0: another one if a setting of it counts images."""
        return self

    @abstractmethod
    def fit_probe(self, features: Features, *, seed: int) -> FittedProbe:
        """Fit on the training features, choose on validation. The test features are not looked at. The same seed gives
        the same scores."""

    @abstractmethod
    def restore(self, tensors: Mapping[str, Tensor], train: Callable[[], Tensor], classes: int) -> FittedProbe:
        """Rebuild what `fit_probe` returned, from its `tensors`: the same numbers on the same device.

        `train` returns the training features [n, D], for a probe that needs them.
        """


def build_probe(name: str, settings: Mapping[str, Any]) -> Probe:
    """Build the probe in `probes/<name>.py`. Raises `ConfigError` if there is none or `settings` do not fit it.

    Three settings are no arguments of a probe: its name, the size of the images that are scored, and where batch size
    and rate of the linear one come from.
    """
    arguments = {key: value for key, value in settings.items() if key not in ("name", SCORED_SIZE, SETTINGS_ORIGIN)}
    return build(PACKAGE, name, Probe, arguments, f"probe.{name}", "probe")
