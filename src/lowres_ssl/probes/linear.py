"""What the paper calls linear evaluation: a 2-layer MLP on frozen features. Wherever it is shown it is labelled MLP."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import inf
from threading import Event
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lowres_ssl.config.check import require
from lowres_ssl.errors import TrainingError
from lowres_ssl.probes.base import Details, Features, FittedProbe, Probe
from lowres_ssl.probes.batched_mlp import BatchedMLP, HeadTraining, compute_logits

# Features up to this many are too few for two threads; see `limit_threads`.
FEW_FEATURES = 1024


@dataclass(frozen=True)
class HeadFit:
    """What came of training a head: the epoch whose weights are taken, with its validation accuracy and loss.

    Accuracy is -1 and loss infinite while nothing was validated. `diverged`: its scores were NaN or infinite since.
    """

    epoch: int
    accuracy: float = -1.0
    loss: float = inf
    diverged: bool = False


class TrainingCancelled(Exception):  # noqa: N818  # nothing is wrong
    """Nobody waits for what is being trained any more."""


@dataclass(eq=False)
class MLPProbe(Probe):
    """Linear(D, hidden), BatchNorm, LeakyReLU, Linear(hidden, C), trained with cross-entropy in float32.

    The head is the released code's, the rest the paper's section 3.2: Adam at `learning_rate`, multiplied by `gamma`
    every `step_size` epochs. Taken are the weights of the epoch with the best validation accuracy, of equals that with
    the lower validation loss, then the earliest; those of the last epoch where a class has no validation image. An
    incomplete last batch is kept, unless it is a single image, which BatchNorm cannot take.

    Runs on the device of the features. What is random, the initial weights and the order of the images, comes from the
    seed. Raises `TrainingError` if it diverges.

    The released code departs from this twice: `restart_from_best=True` begins each epoch with the best weights so far
    (Adam's state runs on), `schedule_delay=25` lets the schedule begin after that many epochs. A third departure, an
    encoder whose BatchNorm statistics drift while the head is trained, cannot happen with stored features.
    """

    label = "linear (MLP)"

    hidden: int
    batch_size: int
    learning_rate: float
    epochs: int
    step_size: int
    gamma: float
    encoder: Literal["selected", "last"] = field()  # its default is the file's
    restart_from_best: bool
    schedule_delay: int

    def __post_init__(self) -> None:
        require(self.hidden >= 1, "probe.linear.hidden", self.hidden, "at least 1")
        wanted = "at least 2, for BatchNorm; try 16"
        require(self.batch_size >= 2, "probe.linear.batch_size", self.batch_size, wanted)
        rate = self.learning_rate
        require(rate > 0, "probe.linear.learning_rate", rate, "a number above 0; try 0.01")
        require(self.epochs >= 1, "probe.linear.epochs", self.epochs, "at least 1")
        require(self.step_size >= 1, "probe.linear.step_size", self.step_size, "at least 1 epoch")
        require(0 < self.gamma <= 1, "probe.linear.gamma", self.gamma, "a number above 0, at most 1")
        require(self.schedule_delay >= 0, "probe.linear.schedule_delay", self.schedule_delay, "at least 0 epochs")

    def fit_probe(self, features: Features, *, seed: int) -> FittedProbe:
        with limit_threads(features.train):
            heads, (fit,) = self.fit(features, [self.learning_rate], [seed])
        if fit.diverged:
            raise self.diverged()
        details: Details = {"epoch": fit.epoch, "chosen": "last epoch: a class has no validation image"}
        if features.can_validate:
            details |= {"validation_accuracy": fit.accuracy, "chosen": "best validation accuracy"}
        return self.fitted(heads, details)

    def restore(self, tensors: Mapping[str, Tensor], train: Callable[[], Tensor], classes: int) -> FittedProbe:
        _, width, hidden = tensors["first"].shape
        heads = BatchedMLP(width, hidden, classes, [torch.Generator()])
        heads.load_state_dict(dict(tensors))
        return self.fitted(heads, {})

    def fitted(self, heads: BatchedMLP, details: Details) -> FittedProbe:
        def shares(rows: Tensor) -> NDArray[np.floating[Any]]:
            with limit_threads(rows):
                scores = compute_logits(heads.to(rows.device), rows)[0].softmax(dim=1)
            if not scores.isfinite().all():  # weights that are NaN would go on to the last epoch
                raise self.diverged()
            return scores.cpu().numpy()

        return FittedProbe(shares, heads.state_dict(), details)

    def diverged(self) -> TrainingError:
        return TrainingError(
            f"probe.linear diverged at probe.linear.learning_rate={self.learning_rate}; "
            f"try probe.linear.learning_rate={self.learning_rate / 10:g}"
        )

    def fit(
        self, features: Features, rates: Sequence[float], seeds: Sequence[int], called_off: Event | None = None
    ) -> tuple[BatchedMLP, list[HeadFit]]:
        """Train heads side by side, one for each of `rates` and the seed beside it: each as if it were alone.

        The test features are not looked at. A head that diverges is marked in its `HeadFit`. Raises
        `TrainingCancelled` at the next epoch once another thread sets `called_off`.
        """
        device, images = features.train.device, len(features.train)
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        heads = BatchedMLP(features.train.shape[1], self.hidden, features.classes, generators).to(device)
        training = HeadTraining(heads, rates, features.train, features.train_labels, features.classes, self.batch_size)
        best = copy_weights(heads)
        fits = [HeadFit(epoch=self.epochs)] * len(seeds)
        can_validate = features.can_validate

        for epoch in range(1, self.epochs + 1):
            if called_off is not None and called_off.is_set():
                raise TrainingCancelled
            training.epoch(torch.stack([torch.randperm(images, generator=generator) for generator in generators]))
            if epoch > self.schedule_delay and (epoch - self.schedule_delay) % self.step_size == 0:
                training.multiply_rates(self.gamma)
            if not can_validate:
                continue
            fits, better = update_best_fits(
                fits, compute_logits(heads, features.validation), features.validation_labels, epoch
            )
            if better:
                places = torch.tensor(better, device=device)
                for name, values in heads.state_dict().items():
                    best[name][places] = values[places]
            if all(fit.diverged for fit in fits):
                break
            if self.restart_from_best:
                heads.load_state_dict(best)

        if can_validate:
            heads.load_state_dict(best)
        return heads, fits


def update_best_fits(
    fits: Sequence[HeadFit], scores: Tensor, labels: Tensor, epoch: int
) -> tuple[list[HeadFit], list[int]]:
    """What is known of each head after an epoch with these validation scores [P, n, C]; and which are at their best."""
    count = len(fits)
    diverged = ~scores.isfinite().flatten(1).all(dim=1)
    accuracies = (scores.argmax(dim=2) == labels).float().mean(dim=1)
    losses = F.cross_entropy(scores.flatten(0, 1), labels.repeat(count), reduction="none").reshape(count, -1)
    found = torch.stack([diverged.double(), accuracies.double(), losses.mean(dim=1).double()], dim=1)
    rows: list[tuple[float, float, float]] = found.tolist()  # a GPU is waited for here alone
    after, better = [], []
    for place, (fit, (is_diverged, accuracy, loss)) in enumerate(zip(fits, rows, strict=True)):
        if fit.diverged or is_diverged:
            after.append(replace(fit, diverged=True))
        elif (accuracy, -loss) > (fit.accuracy, -fit.loss):
            after.append(HeadFit(epoch, accuracy, loss))
            better.append(place)
        else:
            after.append(fit)
    return after, better


def copy_weights(heads: BatchedMLP) -> dict[str, Tensor]:
    return {name: values.clone() for name, values in heads.state_dict().items()}


@contextmanager
def limit_threads(inputs: Tensor) -> Iterator[None]:
    """One thread for a step on few features [n, D] on a CPU: handing so little work to a second one takes longer than
    the work. Measured on two cores, 100 epochs of 4,087 images: 26 s instead of 49 at D = 512; at 2,048, 62 and 48."""
    threads = torch.get_num_threads()
    if inputs.device.type == "cpu" and inputs.shape[1] <= FEW_FEATURES:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
