"""Images to scores: features once and probes on them, against a linear probe whose backbone is asked every epoch."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from lowres_ssl.evaluate.features import build_probe_features, get_subset_rows
from lowres_ssl.probes.base import Features, Probe
from lowres_ssl.reporting.figures.tsne import compute_tsne
from speed.experiment import Experiment, build_overrides, experiment, synchronise
from speed.table import arguments, machine, markdown, median_and_spread

FORWARDED_EPOCHS = 1
GENEROUS = 128  # a batch that forwards faster than the paper's 16, though no such probe would be trained with it


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--probe", nargs="+", default=["knn", "linear", "logistic"], help="linear among them")
    given = parser.parse_args()
    print(machine(given.device), flush=True)
    own = ("recipe=tuned", "method=random", f"probe=[{','.join(given.probe)}]", "probe.knn.k=20")
    made = experiment(build_overrides(given, *own))
    encoder = made.plan.encoder.to(made.plan.compute.device)
    parts: dict[str, list[float]] = {}
    ratios: dict[str, list[float]] = {}
    for _ in range(given.repetitions):
        seconds, sides = timed(made, features_of, made, encoder)
        parts.setdefault("features of all images, once", []).append(seconds)
        features = build_probe_features(sides, made.material, made.plan.compute)
        for name, probe in made.plan.evaluation.probes.items():
            probing, _ = timed(made, fit_and_score, probe, features)
            parts.setdefault(probe.label, []).append(probing)
            if name == "linear":
                linear, epochs, batch_size = probing, probe.epochs, probe.batch_size
        parts.setdefault("t-SNE of the test images", []).append(timed(made, compute_tsne, sides["test"].numpy())[0])
        for batch in (batch_size, GENEROUS):
            again = forwarding(made, encoder, features, batch) / FORWARDED_EPOCHS * epochs
            name = f"a linear probe that forwards every epoch, {epochs} epochs, batches of {batch}"
            parts.setdefault(name, []).append(again)
            ratios.setdefault(f"batches of {batch}", []).append(again / (seconds + linear))
            print(f"batches of {batch}: ratio {again / (seconds + linear):.1f}", flush=True)
    split = made.material.split
    title = f"{given.backbone}, {given.image_size} px, {len(split.train)} train, {len(split.test)} test"
    rows = [[name, median_and_spread(values, 2)] for name, values in parts.items()]
    print(
        f"\n{title}; the forwarding probe is {FORWARDED_EPOCHS} epoch, multiplied\n\n{markdown(['', 'seconds'], rows)}"
    )
    label = made.plan.evaluation.probes["linear"].label
    both = ", ".join(f"{median_and_spread(found)} in {name}" for name, found in ratios.items())
    print(f"\nforwarding / (features + {label}): {both}")


def fit_and_score(probe: Probe, features: Features) -> None:
    fitted = probe.fit_probe(features, seed=0)
    fitted.scores(features.test)
    fitted.scores(features.validation)


def timed(made: Experiment, work: Callable[..., Any], *given: Any, **named: Any) -> tuple[float, Any]:
    """Seconds, and what came of it."""
    started = time.perf_counter()
    outcome = work(*given, **named)
    synchronise(made.plan.compute.device)
    return time.perf_counter() - started, outcome


def features_of(made: Experiment, encoder: torch.nn.Module) -> dict[str, torch.Tensor]:
    sides = get_subset_rows(made.material.split)
    return {name: made.extract(encoder, rows) for name, rows in sides.items()}


def forwarding(made: Experiment, encoder: torch.nn.Module, features: Features, batch: int) -> float:
    """Seconds of a probe that has no stored features: each epoch forwards the training images in the probe's batches,
    and the validation images."""
    plan, split = made.plan, made.material.split
    head = torch.nn.Linear(features.train.shape[1], features.classes).to(plan.compute.device)
    optimiser = torch.optim.Adam(head.parameters(), lr=0.01)
    started = time.perf_counter()
    for _ in range(FORWARDED_EPOCHS):
        order = np.random.default_rng(0).permutation(len(split.train))
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            inputs = made.extract(encoder, split.train[rows])
            loss = F.cross_entropy(head(inputs.to(plan.compute.device)), features.train_labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        made.extract(encoder, split.validation)
    synchronise(plan.compute.device)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
