"""Training seconds until the validation KNN accuracy that training without a schedule ends with: with small images
first, and without. Both are the `tuned` recipe, from the same start; validation itself is not counted."""

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lowres_ssl.data.prepare import select_pretraining_images
from lowres_ssl.experiment.train_run import RunObserver
from lowres_ssl.runs.run import Run
from lowres_ssl.tracking.session import NO_TRACKING
from lowres_ssl.train.history import EpochLog
from lowres_ssl.train.loop import pretrain
from lowres_ssl.train.state import Execution, TrainingData
from speed.experiment import build_overrides, experiment
from speed.table import arguments, machine, markdown, median_and_spread


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--method", default="dcl")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--split", help="patient for the phantom, else stratified")
    parser.add_argument("--k", type=int, default=20)
    parser.add_argument("--schedule", default="[[0.8,0.5],[0.2,1.0]]")
    parser.add_argument("--share", type=float, default=1.0, help="of the epochs, that training with the schedule has")
    given = parser.parse_args()
    print(machine(given.device), flush=True)
    rows, ratios = [], []
    for seed in range(given.repetitions):
        curves = {}
        for schedule, epochs in (("[[1.0,1.0]]", given.epochs), (given.schedule, round(given.share * given.epochs))):
            overrides = build_overrides(
                given,
                *("recipe=tuned", f"method={given.method}", f"batch_size={given.batch_size}", f"epochs={epochs}"),
                *(f"split={given.split or ('stratified' if given.data else 'patient')}", f"seed={seed}"),
                "compile=never",  # auto compiles on a GPU, each size anew, and that would count in the seconds
                *(f"probe.knn.k={given.k}", f"image_size_schedule={schedule}", "select_encoder=best_validation_knn"),
            )
            curves[schedule] = train(overrides)
        plain, small_first = curves["[[1.0,1.0]]"], curves[given.schedule]
        wanted = plain[-1]["validation_knn_accuracy"]
        without, with_it = seconds_to(wanted, plain), seconds_to(wanted, small_first)
        assert without is not None, "its own last epoch has it"
        ratios.append(math.inf if with_it is None else with_it / without)
        best = max(line["validation_knn_accuracy"] for line in small_first)
        told = ["never" if with_it is None else f"{with_it:.0f}", f"{ratios[-1]:.2f}"]
        total = sum(line["seconds"] for line in plain), sum(line["seconds"] for line in small_first)
        rows.append(
            [str(seed), f"{wanted:.3f}", f"{without:.0f}", *told, f"{best:.3f}", f"{total[0]:.0f}", f"{total[1]:.0f}"]
        )
        print(*rows[-1], flush=True)
    heads = ["seed", "accuracy to reach", "s without", "s with", "ratio", "best with", "all s without", "all s with"]
    print(f"\n{given.method}, {given.backbone}, {given.image_size} px, {given.schedule}\n\n{markdown(heads, rows)}")
    print(f"\nmedian of the ratios: {median_and_spread(ratios, 2)}")


def train(overrides: Sequence[str]) -> list[EpochLog]:
    made = experiment(overrides)
    plan, material = made.plan, made.material
    with tempfile.TemporaryDirectory() as folder:
        return pretrain(
            encoder=plan.encoder,
            method=plan.method,
            data=TrainingData(
                material.store,
                select_pretraining_images(material.catalogue, material.split, "training"),
                plan.views,
                plan.config.store.name,
            ),
            options=plan.training,
            execution=Execution(plan.compute),
            checkpoint=Path(folder) / "checkpoint.pt",
            name="benchmark",
            observer=RunObserver(plan, material, Run(Path(folder)), None, NO_TRACKING),
        ).history


def seconds_to(accuracy: float, history: list[EpochLog]) -> float | None:
    """Training seconds until the first epoch that has at least this validation accuracy."""
    seconds = 0.0
    for line in history:
        seconds += line["seconds"]
        if line["validation_knn_accuracy"] >= accuracy:
            return seconds
    return None


if __name__ == "__main__":
    main()
