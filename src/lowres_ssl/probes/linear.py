"""What the paper calls linear evaluation: a 2-layer MLP on frozen features. Wherever it is shown it is labelled MLP."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lowres_ssl.errors import TrainingError
from lowres_ssl.probes import Details, Features, Prediction, Probe, require

# Features up to this many are too few for two threads; see `threads_for`.
FEW_FEATURES = 1024


class Linear(Probe):
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

    def __init__(
        self,
        hidden: int,
        batch_size: int,
        learning_rate: float,
        epochs: int,
        step_size: int,
        gamma: float,
        encoder: Literal["selected", "last"],
        restart_from_best: bool,
        schedule_delay: int,
    ) -> None:
        require(hidden >= 1, "linear.hidden", hidden, "at least 1")
        require(batch_size >= 2, "linear.batch_size", batch_size, "at least 2, for BatchNorm; try 16")
        require(learning_rate > 0, "linear.learning_rate", learning_rate, "a number above 0; try 0.01")
        require(epochs >= 1, "linear.epochs", epochs, "at least 1")
        require(step_size >= 1, "linear.step_size", step_size, "at least 1 epoch")
        require(0 < gamma <= 1, "linear.gamma", gamma, "a number above 0, at most 1")
        require(schedule_delay >= 0, "linear.schedule_delay", schedule_delay, "at least 0 epochs")
        self.hidden = hidden
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.step_size = step_size
        self.gamma = gamma
        self.encoder = encoder
        self.restart_from_best = restart_from_best
        self.schedule_delay = schedule_delay

    def fit_predict(self, features: Features, *, seed: int) -> Prediction:
        with threads_for(features.train):
            return self.fit(features, seed)

    def fit(self, features: Features, seed: int) -> Prediction:
        generator = torch.Generator().manual_seed(seed)
        device = features.train.device
        head = self.initial_head(features.train.shape[1], features.classes, generator).to(device)
        optimiser = torch.optim.Adam(head.parameters(), lr=self.learning_rate, fused=device.type in ("cpu", "cuda"))
        schedule = torch.optim.lr_scheduler.StepLR(optimiser, self.step_size, self.gamma)
        best = (-1.0, 0.0)  # accuracy, minus the loss: the order of preference
        details: Details = {}

        for epoch in range(1, self.epochs + 1):
            order = torch.randperm(len(features.train), generator=generator).to(device)
            self.train_one_epoch(head, optimiser, features.train[order].float(), features.train_labels[order])
            if epoch > self.schedule_delay:
                schedule.step()
            if not features.can_validate:
                continue
            scores = logits(head, features.validation)
            accuracy = (scores.argmax(dim=1) == features.validation_labels).float().mean().item()
            loss = F.cross_entropy(scores, features.validation_labels).item()
            self.require_finite(scores)
            if (accuracy, -loss) > best:
                best, best_weights = (accuracy, -loss), deepcopy(head.state_dict())
                details = {"epoch": epoch, "validation_accuracy": accuracy, "chosen": "best validation accuracy"}
            if self.restart_from_best and details:
                head.load_state_dict(best_weights)

        if details:
            head.load_state_dict(best_weights)
        else:
            details = {"epoch": self.epochs, "chosen": "last epoch: a class has no validation image"}
        test, validation = (logits(head, side).softmax(dim=1) for side in (features.test, features.validation))
        self.require_finite(test)
        self.require_finite(validation)
        return Prediction.from_scores(test.cpu().numpy(), validation.cpu().numpy(), details)

    def require_finite(self, scores: Tensor) -> None:
        """Weights that are NaN would go on to the last epoch: raises `TrainingError` where they are first seen."""
        if not scores.isfinite().all():
            raise TrainingError(
                f"probe.linear diverged at probe.linear.learning_rate={self.learning_rate}; "
                f"try probe.linear.learning_rate={self.learning_rate / 10:g}"
            )

    def initial_head(self, inputs: int, classes: int, generator: torch.Generator) -> nn.Sequential:
        """The head as PyTorch initialises it by default, but with numbers from `generator`."""
        with torch.random.fork_rng(devices=[]):
            first, last = nn.Linear(inputs, self.hidden), nn.Linear(self.hidden, classes)
        for layer in (first, last):
            bound = layer.in_features**-0.5
            nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
            nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
        return nn.Sequential(first, nn.BatchNorm1d(self.hidden), nn.LeakyReLU(), last)

    def train_one_epoch(self, head: nn.Module, optimiser: torch.optim.Adam, inputs: Tensor, labels: Tensor) -> None:
        """One pass over `inputs` [n, D] and `labels` [n], already in their order."""
        head.train()
        batches = zip(inputs.split(self.batch_size), labels.split(self.batch_size), strict=True)
        for batch, targets in batches:
            if len(batch) == 1:
                continue
            optimiser.zero_grad()
            F.cross_entropy(head(batch), targets).backward()
            optimiser.step()


@contextmanager
def threads_for(inputs: Tensor) -> Iterator[None]:
    """One thread for a step on few features [n, D] on a CPU: handing so little work to a second one takes longer than
    the work. Measured on two cores, 100 epochs of 4,087 images: 26 s instead of 49 at D = 512; at 2,048, 62 and 48."""
    threads = torch.get_num_threads()
    if inputs.device.type == "cpu" and inputs.shape[1] <= FEW_FEATURES:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@torch.no_grad()
def logits(head: nn.Module, inputs: Tensor) -> Tensor:
    """[n, D] -> [n, C], with the running statistics of BatchNorm."""
    head.eval()
    scores: Tensor = head(inputs.float())
    return scores
