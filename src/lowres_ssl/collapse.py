"""Whether a run has collapsed, by what its history says of its embeddings. Knows no torch."""

import csv
from collections.abc import Mapping
from typing import Any

from lowres_ssl.errors import CheckpointError
from lowres_ssl.runs import RETRAIN, Run

# Of `embedding_std`: below it the embeddings point in nearly one direction. Measured on 128 images of the phantom: 0.18
# after 5 epochs of SimSiam with neither predictor nor output BatchNorm (three seeds), and of the methods as they are 0.43
# to 1.00 after 5 epochs, DCL's lowest within 20 epochs 0.35. The effective rank does not tell: 88 to 96 where it
# collapsed, 67 to 117 where it did not.
COLLAPSED_STD = 0.25
MEANING = f"embedding_std below {COLLAPSED_STD} after its last epoch: it maps all images to nearly one direction"


def has_collapsed(run: Run, description: Mapping[str, Any]) -> bool:
    """Of the epoch that the run's encoder is from, or of the last there is. `description`: what `run.json` says.

    False for what is not trained, and for what is trained on labels: images of a class are meant to come together.
    Raises `CheckpointError` if the history cannot be read.
    """
    path = run.folder / "history.csv"
    if run.classifier.exists() or not path.exists():
        return False
    try:
        with path.open(encoding="utf-8", newline="") as file:
            spread = {int(line["epoch"]): float(line["embedding_std"]) for line in csv.DictReader(file)}
        epoch = description.get("selected_epoch", max(spread))
        return spread[epoch] < COLLAPSED_STD
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error!r}); {RETRAIN}") from error
