"""The loop of this package, as `lowres-ssl pretrain` runs it: data, views, model, loss, optimiser, history."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.contestants import Case
from benchmarks.experiment import experiment
from lowres_ssl.pretrain import pretrain


def enter(case: Case) -> Callable[[int], float]:
    made = experiment(case.overrides)
    plan, material = made.plan, made.material
    available = material.pretraining_rows("training")
    folder = tempfile.TemporaryDirectory()

    def epoch(steps: int) -> float:
        """Its seconds as the history has them: of its steps, not of the checkpoint that is written after them."""
        checkpoint = Path(folder.name) / "checkpoint.pt"
        checkpoint.unlink(missing_ok=True)
        trained = pretrain(
            encoder=plan.encoder,
            method=plan.method,
            store=material.store,
            rows=np.resize(available, steps * case.batch_size).tolist(),
            views=plan.views,
            training=replace(plan.training, epochs=1, warmup_epochs=0.0),
            compute=plan.compute,
            place=plan.config.store.name,
            checkpoint=checkpoint,
            name="benchmark",
            on_epoch=lambda history: None,
        )
        return trained.history[-1]["seconds"]

    return epoch
