"""Whether a run has collapsed, by what its history says of its embeddings. Knows no torch."""

from collections.abc import Mapping
from typing import Any

from lowres_ssl.errors import CheckpointError
from lowres_ssl.runs import Run, retrain

# Of `embedding_std`: below it the embeddings point in nearly one direction. Measured on 128 images of the phantom after
# 5 to 20 epochs: 0.09 for SimSiam with neither predictor nor output BatchNorm, which is known to collapse, at a rate of
# 0.3, and 0.10 at 0.1; 0.96 and 1.00 for SimSiam as it is, 0.79 and more for SimCLR and VICReg. DCL is content with
# less: 0.38, 0.24 and 0.21 at rates of 0.01, 0.03 and 0.1, never below 0.16. So the threshold is low, to be right where
# it marks. The effective rank does not tell: 57 to 69 where SimSiam collapsed, 5 to 37 for DCL.
COLLAPSED_STD = 0.12
MEANING = f"embedding_std below {COLLAPSED_STD} after its last epoch: it maps all images to nearly one direction"


def has_collapsed(run: Run, description: Mapping[str, Any]) -> bool:
    """Of the epoch that the run's encoder is from, or of the last there is. `description`: what `run.json` says.

    False for what is not trained, and for what is trained on labels: images of a class are meant to come together.
    Raises `CheckpointError` if the history cannot be read, is gone, or is not as it was written.
    """
    if run.classifier.exists() or not run.has_history(description):
        return False
    try:
        spread = {int(line["epoch"]): line["embedding_std"] for line in run.read_history(description)}
        epoch = description.get("selected_epoch", max(spread))
        return spread[epoch] < COLLAPSED_STD
    except (ValueError, KeyError) as error:
        raise CheckpointError(f"{run.history}: cannot be read ({error!r}); {retrain(description)}") from error
