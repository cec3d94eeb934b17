"""The linear classifier that a supervised encoder was trained with: its results on the encoder's features."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from lowres_ssl.encoders.weights_file import load_tensors, save_tensors
from lowres_ssl.probes.base import Features, FittedProbe, Probe


class SupervisedHead(Probe):
    """End to end: the classifier as it was trained, nothing fitted on the features. Reads `path`, which holds `weight`
    [C, D] and `bias` [C]."""

    label = "end to end"
    depends_on_seed: ClassVar[bool] = False

    def __init__(self, path: Path) -> None:
        self.path = path

    def fit_probe(self, features: Features, *, seed: int) -> FittedProbe:
        return self.restore(load_tensors(self.path)[0], lambda: features.train, features.classes)

    def restore(self, tensors: Mapping[str, Tensor], train: Callable[[], Tensor], classes: int) -> FittedProbe:
        def shares(rows: Tensor) -> Any:
            weight, bias = (tensors[key].to(rows.device) for key in ("weight", "bias"))
            return (rows @ weight.T + bias).softmax(dim=1).cpu().numpy()

        return FittedProbe(shares, tensors, {"chosen": "by training"})


def save_classifier(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Write what the head of `methods/supervised.py` learnt; `weights`: its state dict."""
    save_tensors(path, {key.removeprefix("classifier."): value for key, value in weights.items()}, {})
