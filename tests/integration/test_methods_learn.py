"""Each method beats the better random encoder on the phantom, on average over three seeds, in the demo's training."""

import json
from pathlib import Path
from statistics import fmean

import pytest
from method_files import METHODS
from typed import Command

from lowres_ssl.config.experiment_schema import RANDOM_BASELINES
from lowres_ssl.encoders.base import list_fixed_encoders
from lowres_ssl.methods.base import find_method

pytestmark = pytest.mark.slow

DEMO = ("dataset=phantom", "split=patient", "recipe=tuned", "backbone=resnet18", "image_size=48", "batch_size=32")
SHOWN = ("epochs=24", "probe=[knn]", "probe.knn.k=20", "picture=false", "seed=0,1,2")
UNFIT = ("byol", "dino")  # for trainings this short: docs/methods.md has what they came to
LEARNING = [
    name for name in METHODS if name not in (*list_fixed_encoders(), *UNFIT) and not find_method(name).sees_labels
]


def mean_accuracy(outputs: Path, method: str) -> float:
    paths = list(outputs.glob(f"pretrain/phantom-{method}-*/knn-*/result.json"))
    assert len(paths) == 3
    return fmean(json.loads(path.read_text())["test"]["accuracy"] for path in paths)


@pytest.mark.parametrize("method", LEARNING)
def test_method_beats_the_better_random_encoder_on_the_phantom(
    lowres_ssl: Command, tmp_path: Path, method: str
) -> None:
    answer = lowres_ssl("pretrain", "-m", f"method={method}", *DEMO, *SHOWN)
    assert answer.code == 0, answer.err
    bar = max(mean_accuracy(tmp_path / "outputs", start) for start in RANDOM_BASELINES)
    assert mean_accuracy(tmp_path / "outputs", method) > bar
