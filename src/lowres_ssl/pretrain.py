"""THE loop: two views of each image, the method's loss, a step; every epoch into the history, resumable at any step.

It knows neither labels nor folders beyond the checkpoint it is given. Every draw derives from (seed, epoch, image) and
the order of the images from (seed, epoch), so that a checkpoint needs no generator's state.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lowres_ssl import monitors
from lowres_ssl.checkpoint import load_state, save_state
from lowres_ssl.data.store import ImageStore
from lowres_ssl.device import Compute
from lowres_ssl.errors import ConfigError, TrainingError
from lowres_ssl.interruption import Deferred
from lowres_ssl.methods import Method
from lowres_ssl.optimisation import learning_rate_at, make_optimiser
from lowres_ssl.progress import Progress
from lowres_ssl.randomness import derive
from lowres_ssl.views.maker import ViewMaker, image_keys
from lowres_ssl.views.prefetch import prefetch

History = list[dict[str, float]]


@dataclass(frozen=True)
class Training:
    """How to train; `conf/recipe/*.yaml` says what each is. `joint`: both views in one forward pass."""

    epochs: int
    batch_size: int
    keep_last_batch: bool
    joint: bool
    learning_rate: float
    momentum: float
    weight_decay: float
    decay_norm_and_bias: bool
    schedule: str
    warmup_epochs: float
    checkpoint_every: int
    seed: int

    def steps_per_epoch(self, images: int) -> int:
        """Raises `ConfigError` if there would be none."""
        if self.batch_size > images:
            raise ConfigError(
                f"batch_size={self.batch_size}: the training set has {images} images, so no batch would be full and the "
                f"whole epoch would be dropped; wanted at most {images}; try batch_size={2 ** int(math.log2(images))}"
            )
        full, rest = divmod(images, self.batch_size)
        # A batch of one image has nothing to be compared with.
        return full + int(self.keep_last_batch and rest > 1)


@dataclass
class State:
    """Where training stands: `epoch` epochs done and `step` steps of the next, with what these add up to."""

    epoch: int = 0
    step: int = 0
    history: History = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    embeddings: list[Tensor] = field(default_factory=list)
    best: dict[str, Any] | None = None  # {"accuracy", "epoch", "encoder"}


def pretrain(
    *,
    encoder: nn.Module,
    method: Method,
    store: ImageStore,
    rows: Sequence[int],
    views: ViewMaker,
    training: Training,
    compute: Compute,
    checkpoint: Path,
    name: str,
    on_epoch: Callable[[History], None],
    validate: Callable[[nn.Module], float] | None = None,
) -> State:
    """Train `encoder` and `method`'s heads in place on the store's `rows`, from `checkpoint` on if it is there.

    `on_epoch` is given the history after each epoch. `validate` scores the encoder after each epoch; the state's `best`
    is the first with the highest score. Raises `TrainingError` if a loss or a weight is not finite, leaving the
    checkpoint before; `Interrupted` on SIGINT and SIGTERM, after writing one.
    """
    images = np.asarray(rows, dtype=np.int64)
    steps = training.steps_per_epoch(len(images))
    encoder.to(compute.device).train()
    method.to(compute.device).train()
    model = nn.ModuleDict({"encoder": encoder, "method": method})
    optimiser = make_optimiser(model, training.momentum, training.weight_decay, training.decay_norm_and_bias)
    scaler = torch.amp.GradScaler(compute.device.type, enabled=compute.precision == "fp16")
    state = State()

    def save() -> None:
        content = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "scaler": scaler.state_dict()}
        save_state(checkpoint, content | vars(state))

    if checkpoint.exists():
        content = load_state(checkpoint)
        model.load_state_dict(content.pop("model"))
        optimiser.load_state_dict(content.pop("optimiser"))
        scaler.load_state_dict(content.pop("scaler"))
        state = State(**content)

    size = 2 * training.batch_size
    done = state.epoch * steps + state.step
    with (
        Deferred() as stop,
        Progress(name=name, epochs=training.epochs, steps_per_epoch=steps, done=done, views_per_step=size) as progress,
    ):
        while state.epoch < training.epochs:
            terms: dict[str, Tensor] = {}
            started = time.perf_counter()

            def settle() -> None:
                """What the epoch's steps came to so far, into the state; not before all of it is known to be finite."""
                nonlocal started
                for term, value in terms.items():
                    state.sums[term] = state.sums.get(term, 0.0) + float(value)
                terms.clear()
                check_finite(state, model, optimiser.param_groups[0]["lr"], compute.precision)
                state.seconds += time.perf_counter() - started
                started = time.perf_counter()

            batches = make_batches(store, images, views, state, training, steps, compute)
            for first, second in batches:
                rate = learning_rate_at(
                    state.epoch * steps + state.step,
                    peak=training.learning_rate,
                    steps=training.epochs * steps,
                    warmup=round(training.warmup_epochs * steps),
                    schedule=training.schedule,
                )
                for group in optimiser.param_groups:
                    group["lr"] = rate
                with compute.autocast():
                    one, two = embed_both(encoder, method, first, second, joint=training.joint)
                losses = method.loss(one, two)
                optimiser.zero_grad()
                scaler.scale(losses["loss"]).backward()
                scaler.step(optimiser)
                scaler.update()
                for term, value in losses.items():
                    terms[term] = terms.get(term, 0) + value.detach()
                state.embeddings = [*state.embeddings, one[0].detach().float().cpu()]
                state.embeddings = state.embeddings[-math.ceil(monitors.WINDOW / training.batch_size) :]
                state.step += 1
                progress.step()
                if progress.is_due():
                    settle()
                    progress.show(state.sums["loss"] / state.step)
                if stop.received and state.step < steps:
                    settle()
                    save()
                    raise stop.interrupted(f"epoch {state.epoch + 1}, step {state.step} of {steps} is saved")

            settle()
            seen = min(steps * training.batch_size, len(images))
            state.history = [*state.history, summary(state, steps, 2 * seen, optimiser.param_groups[0]["lr"])]
            progress.show(state.history[-1]["loss"])
            state.epoch, state.step, state.sums, state.seconds, state.embeddings = state.epoch + 1, 0, {}, 0.0, []
            if validate is not None:
                accuracy = validate(encoder)
                state.history[-1]["validation_knn_accuracy"] = accuracy
                if state.best is None or accuracy > state.best["accuracy"]:
                    weights = {key: value.detach().cpu().clone() for key, value in encoder.state_dict().items()}
                    state.best = {"accuracy": accuracy, "epoch": state.epoch, "encoder": weights}
            on_epoch(state.history)
            if stop.received or state.epoch % training.checkpoint_every == 0 or state.epoch == training.epochs:
                save()
            if stop.received:
                raise stop.interrupted(f"epoch {state.epoch} of {training.epochs} is saved")
    return state


def make_batches(
    store: ImageStore,
    rows: NDArray[np.int64],
    views: ViewMaker,
    state: State,
    training: Training,
    steps: int,
    compute: Compute,
) -> Iterator[tuple[Tensor, Tensor]]:
    """The two views of each batch left in this epoch, [B, 3, S, S] float32 channels_last on the device."""
    epoch, first = state.epoch, state.step
    generator = torch.Generator().manual_seed(derive(training.seed, "order", epoch))
    order = rows[torch.randperm(len(rows), generator=generator).numpy()]
    keys = image_keys(store.ids)

    def produce() -> Iterator[tuple[Tensor, Tensor]]:
        for step in range(first, steps):
            batch = order[step * training.batch_size : (step + 1) * training.batch_size]
            images = torch.from_numpy(store.images[batch]).to(compute.device)
            sizes = store.sizes[batch].astype(np.int64)
            one, two = (views(images, sizes, keys[batch], epoch=epoch, view=view) for view in (0, 1))
            yield tuple(view.contiguous(memory_format=torch.channels_last) for view in (one, two))  # type: ignore[misc]

    # On a CPU a second thread takes the cores from the step, and was measured to be slower.
    return prefetch(produce()) if compute.device.type == "cuda" else produce()


def embed_both(
    encoder: nn.Module, method: Method, first: Tensor, second: Tensor, *, joint: bool
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Both views embedded, in one forward pass, where BatchNorm sees both together, or in one each."""
    if not joint:
        return method.embed(encoder(first)), method.embed(encoder(second))
    outputs = method.embed(encoder(torch.cat((first, second))))
    halves = [output.chunk(2) for output in outputs]
    return tuple(half[0] for half in halves), tuple(half[1] for half in halves)


def summary(state: State, steps: int, views: int, rate: float) -> dict[str, float]:
    """One epoch's line of the history."""
    embeddings = torch.cat(state.embeddings)[-monitors.WINDOW :]
    return {
        "epoch": state.epoch + 1,
        **{term: total / steps for term, total in state.sums.items()},
        "learning_rate": rate,
        "views_per_second": views / state.seconds,
        "seconds": state.seconds,
        "embedding_std": monitors.embedding_std(embeddings),
        "effective_rank": monitors.effective_rank(embeddings),
    }


def check_finite(state: State, model: nn.Module, rate: float, precision: str) -> None:
    """Raises `TrainingError` if a term or a weight is NaN or infinite."""
    bad = [f"{term}={total}" for term, total in state.sums.items() if not math.isfinite(total)]
    floats = [tensor for tensor in model.state_dict().values() if tensor.is_floating_point()]
    if not bad and not torch.stack([tensor.isfinite().all() for tensor in floats]).all():
        bad = ["the weights"]
    if bad:
        terms = ", ".join(f"{term}={total / max(state.step, 1):.4g}" for term, total in state.sums.items())
        advice = "" if precision == "fp32" else ", or precision=fp32"
        raise TrainingError(
            f"epoch {state.epoch + 1}, step {state.step}: {bad[0]} is no longer finite ({terms}); the checkpoint before is "
            f"kept; try learning_rate={rate / 10:.1g}, a longer warm-up (warmup_epochs=5){advice}"
        )
