"""Several runs on the same images, scored and shown side by side on the terminal."""

from collections.abc import Sequence

from lowres_ssl.artefacts import row_name
from lowres_ssl.config import Experiment
from lowres_ssl.device import Compute
from lowres_ssl.evaluation import evaluate, picture_of, probes_of
from lowres_ssl.preparation import Material
from lowres_ssl.runs import Run
from lowres_ssl.scoreboard import scoreboard

SAW_EVERYTHING = "Pre-trained on all images (pretrain_on=all): the encoder has seen the validation and the test images."


def score_and_show(rows: Sequence[tuple[Run, Experiment]], material: Material, compute: Compute) -> None:
    """Score the runs, each with the probes of its own config, and print one table; the first run is the one asked for.

    The table goes to standard output, what is being done to standard error.
    """
    names, results = [], []
    for run, config in rows:
        names.append(row_name(run.description()))
        results.append(evaluate(run, config, material, probes_of(config), compute))
    first, config = rows[0]
    print(scoreboard(list(zip(names, results, strict=True)), config.dataset.title))
    if first.description().get("pretrain_on") == "all":
        print(f"\n{SAW_EVERYTHING}")
    print(f"\nResults and encoder: {first.folder}", flush=True)
    picture = picture_of(first, names[0], config, material, compute)
    print(f"t-SNE of the test images: {picture}", flush=True)
