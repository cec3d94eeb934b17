"""The loop of this package, as `lowres-ssl pretrain` runs it: data, views, model, loss, optimiser, history."""

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from lowres_ssl.data.prepare import select_pretraining_images
from lowres_ssl.experiment.plan import is_layout_open, use_faster_layout
from lowres_ssl.train.history import EpochLog
from lowres_ssl.train.loop import pretrain
from lowres_ssl.train.state import Execution, TrainingData, TrainingObserver
from speed.contestants import Case, Epoch, Taken
from speed.experiment import experiment


class Clock(TrainingObserver):
    def __init__(self) -> None:
        self.ends: list[float] = []

    def record(self, history: list[EpochLog]) -> None:
        self.ends.append(time.perf_counter())


def enter(case: Case) -> Epoch:
    made = experiment(case.overrides)
    plan, material = made.plan, made.material
    # As a run of some length decides it; those of a turn are too short.
    compute = use_faster_layout(plan, plan.compute) if is_layout_open(plan) else plan.compute
    available = select_pretraining_images(material.catalogue, material.split, "training")
    labels = np.zeros(len(material.store.ids), dtype=np.int64) if plan.method.takes_labels else None

    def epoch(steps: int) -> Taken:
        """Two epochs. The steps are the first's, which starts as cold as anybody's, by the history's seconds.

        What follows the steps (the monitors) is what is left of the second when its steps are taken
        off. It comes once an epoch, so that its share of these steps is that of as many steps in an epoch over all
        training images.
        """
        clock = Clock()
        rows = np.resize(available, steps * case.batch_size)
        with tempfile.TemporaryDirectory() as folder:  # a new one, so that nothing is there to go on from
            trained = pretrain(
                encoder=plan.encoder,
                method=plan.method,
                data=TrainingData(material.store, rows, [plan.views[0]] * 2, plan.config.store.name, labels),
                options=replace(plan.training, epochs=2, warmup_epochs=0.0),
                execution=Execution(compute),
                checkpoint=Path(folder) / "checkpoint.pt",
                name="benchmark",
                observer=clock,
            )
        first, second = (line["seconds"] for line in trained.history)
        beside = clock.ends[1] - clock.ends[0] - second
        return Taken(first, first + beside * steps / plan.training.steps_per_epoch(len(available)))

    return epoch
