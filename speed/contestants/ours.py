"""The loop of this package, as `lowres-ssl pretrain` runs it: data, views, model, loss, optimiser, history."""

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from lowres_ssl.experiment.plan import is_layout_open, use_faster_layout
from lowres_ssl.train.history import EpochLog
from lowres_ssl.train.loop import pretrain
from speed.contestants import Case, Epoch, Taken
from speed.experiment import experiment


def enter(case: Case) -> Epoch:
    made = experiment(case.overrides)
    plan, material = made.plan, made.material
    # As a run of some length decides it; those of a turn are too short.
    compute = use_faster_layout(plan, plan.compute) if is_layout_open(plan) else plan.compute
    available = material.pretraining_rows("training")

    def epoch(steps: int) -> Taken:
        """Two epochs. The steps are the first's, which starts as cold as anybody's, by the history's seconds.

        What follows the steps (the monitors) is what is left of the second when its steps are taken
        off. It comes once an epoch, so that its share of these steps is that of as many steps in an epoch over all
        training images.
        """
        ends: list[float] = []

        def at_the_end(history: list[EpochLog]) -> None:
            ends.append(time.perf_counter())

        with tempfile.TemporaryDirectory() as folder:  # a new one, so that nothing is there to go on from
            trained = pretrain(
                encoder=plan.encoder,
                method=plan.method,
                store=material.store,
                rows=np.resize(available, steps * case.batch_size).tolist(),
                views=[plan.views[0]] * 2,
                training=replace(plan.training, epochs=2, warmup_epochs=0.0),
                compute=compute,
                place=plan.config.store.name,
                checkpoint=Path(folder) / "checkpoint.pt",
                name="benchmark",
                on_epoch=at_the_end,
            )
        first, second = (line["seconds"] for line in trained.history)
        beside = ends[1] - ends[0] - second
        return Taken(first, first + beside * steps / plan.training.steps_per_epoch(len(available)))

    return epoch
