"""The loop, with an encoder of three convolutions on 40 images of noise: through, stopped and resumed, gone wrong."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_training import CPU, SIMCLR, TRAINING, VIEWS
from torch import Tensor, nn

from lowres_ssl.batches import make_batches
from lowres_ssl.checkpoint import load_state, save_state
from lowres_ssl.data.store import ImageStore
from lowres_ssl.device import Compute
from lowres_ssl.errors import CheckpointError, ConfigError, Interrupted, TrainingError
from lowres_ssl.features import extract
from lowres_ssl.forward import embed_both
from lowres_ssl.history import Line
from lowres_ssl.methods import Method, build_method
from lowres_ssl.pretrain import Trained, Training, pretrain
from lowres_ssl.randomness import derive
from lowres_ssl.residence import reader

Arguments = dict[str, Any]
Encoders = Callable[[int], nn.Module]
STEPS = 4  # an epoch, of 33 images
VICREG = {
    "name": "vicreg",
    "expander_hidden": 16,
    "expander_output": 16,
    "invariance": 25.0,
    "variance": 25.0,
    "covariance": 1.0,
    "average_variance": True,
}
COLUMNS = [
    "epoch",
    "loss",
    "learning_rate",
    "embedding_std",
    "effective_rank",
    "views_per_second",
    "seconds",
    "image_size",
]


@dataclass
class Experiment:
    """One training and what it needs; `run` goes on from its checkpoint, as a new process would."""

    encoders: Encoders
    store: ImageStore
    checkpoint: Path
    arguments: Arguments = field(default_factory=lambda: dict(SIMCLR))
    precision: str = "fp32"
    rows: range = range(3, 36)  # 33 of the 40
    training: Training = TRAINING
    validate: Callable[[nn.Module], float] | None = None
    labels: NDArray[np.int64] | None = None
    preemption: signal.Signals | None = None
    seed: int = 0
    encoder: nn.Module = field(init=False)
    method: Method = field(init=False)
    histories: list[list[Line]] = field(default_factory=list)

    def prepare(self) -> "Experiment":
        """New modules, with other weights each time: what is resumed has to come from the checkpoint."""
        self.encoder = self.encoders(self.seed)
        self.method = build_method(self.arguments, features=8, seed=self.seed)
        self.seed += 1
        return self

    def run(self) -> Trained:
        return pretrain(
            encoder=self.encoder,
            method=self.method,
            store=self.store,
            rows=self.rows,
            views=[VIEWS] * self.training.epochs,
            training=self.training,
            compute=Compute(CPU, self.precision),
            place="host",
            checkpoint=self.checkpoint,
            name="simclr on noise",
            on_epoch=lambda history: self.histories.append(list(history)),
            validate=self.validate,
            labels=self.labels,
            preemption=self.preemption,
        )

    def at_call(self, number: int, act: Callable[[Tensor], Tensor | None]) -> None:
        """Do something to the output of the encoder's call of this number, from 1; a step makes two (joint: one)."""
        calls = 0

        def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
            nonlocal calls
            calls += 1
            return act(output) if calls == number else None

        self.encoder.register_forward_hook(hook)

    def stop_in_step(self, step: int, number: signal.Signals = signal.SIGTERM) -> Interrupted:
        """Run until this step, counted from 1 where this run starts; send the signal in the middle of it."""
        self.at_call(step if self.training.joint else 2 * step - 1, lambda _: os.kill(os.getpid(), number))
        with pytest.raises(Interrupted) as caught:
            self.run()
        return caught.value

    def weights(self) -> dict[str, Tensor]:
        model = nn.ModuleDict({"encoder": self.encoder, "method": self.method})
        return {key: value.clone() for key, value in model.state_dict().items()}


@pytest.fixture
def experiment(tiny_encoder: Encoders, tiny_store: ImageStore, tmp_path: Path) -> Callable[..., Experiment]:
    """A maker of experiments, each with a checkpoint of its own. `training` holds changes to `TRAINING`."""
    made = 0

    def make(*, training: Arguments | None = None, **settings: Any) -> Experiment:
        nonlocal made
        made += 1
        changed = Training(**vars(TRAINING) | (training or {}))
        place = tmp_path / str(made) / "checkpoint.pt"
        return Experiment(tiny_encoder, tiny_store, place, training=changed, **settings).prepare()

    return make


Make = Callable[..., Experiment]


def timeless(history: list[Line]) -> list[Line]:
    return [
        {key: value for key, value in line.items() if key not in ("seconds", "views_per_second")} for line in history
    ]


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())


def check_resumed(through: Experiment, stopped: Experiment, stops: list[int]) -> None:
    """The same weights and history, one run through and one stopped at these steps, each counted from its start."""
    expected = through.run()
    for step in stops:
        stopped.stop_in_step(step)
        stopped.prepare()
    got = stopped.run()
    assert same(stopped.weights(), through.weights())
    assert timeless(got.history) == timeless(expected.history)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("stop", [STEPS + 2, STEPS], ids=["in the middle of an epoch", "at the end of an epoch"])
def test_a_run_stopped_and_resumed_is_bit_identical(
    experiment: Make, trained_method: Arguments, precision: str, stop: int
) -> None:
    settings = {"arguments": trained_method, "precision": precision, "training": {"epochs": 2}}
    check_resumed(experiment(**settings), experiment(**settings), [stop])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_supervised_run_stopped_and_resumed_is_bit_identical(experiment: Make, precision: str) -> None:
    labels = np.zeros(40, dtype=np.int64)  # its classifier has one class here
    settings: Arguments = {"arguments": {"name": "supervised"}, "labels": labels, "precision": precision}
    check_resumed(experiment(**settings), experiment(**settings), [STEPS + 2])


@pytest.mark.parametrize("stops", [[1], [3 * STEPS], [2, 1], [STEPS, STEPS], [6, 3, 2]], ids=str)
def test_a_resumed_run_is_bit_identical_wherever_and_however_often_it_stopped(
    experiment: Make, stops: list[int]
) -> None:
    check_resumed(experiment(), experiment(), stops)


@pytest.mark.parametrize(
    "changes",
    [{"joint": True}, {"keep_last_batch": True, "batch_size": 10}, {"checkpoint_every": 2}, {"schedule": "constant"}],
    ids=str,
)
def test_a_resumed_run_is_bit_identical_under_every_setting(experiment: Make, changes: Arguments) -> None:
    check_resumed(experiment(training=changes), experiment(training=changes), [3])


def test_a_run_does_not_depend_on_the_global_generators(experiment: Make) -> None:
    one, other = experiment(), experiment()
    torch.manual_seed(1)
    one.run()
    torch.manual_seed(2)
    other.run()
    assert same(one.weights(), other.weights())


def test_another_seed_gives_another_run(experiment: Make) -> None:
    one, other = experiment(), experiment(training={"seed": 1})
    one.run()
    other.run()
    assert not same(one.weights(), other.weights())


def test_a_checkpoint_from_the_end_of_an_epoch_is_gone_on_from(experiment: Make) -> None:
    """As after a crash: nothing was asked to stop."""
    through, crashed = experiment(), experiment()
    expected = through.run()

    def crash(_: Tensor) -> None:
        raise MemoryError

    crashed.at_call(2 * (STEPS + 2), crash)
    with pytest.raises(MemoryError):
        crashed.run()
    got = crashed.prepare().run()
    assert same(crashed.weights(), through.weights())
    assert timeless(got.history) == timeless(expected.history)


def test_a_finished_run_is_loaded_and_not_trained_again(experiment: Make) -> None:
    run = experiment()
    expected, weights = run.run(), run.weights()
    run.prepare().at_call(1, lambda _: pytest.fail("a step was made"))
    assert run.run() == expected
    assert same(run.weights(), weights)


@pytest.mark.parametrize(
    ("step", "said"),
    [(6, "epoch 2, step 2 of 4 is saved"), (8, "epoch 2 of 3 is saved"), (12, "epoch 3 of 3 is saved")],
)
@pytest.mark.parametrize(
    ("number", "word", "code"), [(signal.SIGTERM, "terminated", 143), (signal.SIGINT, "interrupted", 130)]
)
def test_a_signal_stops_after_the_step_and_says_what_is_saved(
    experiment: Make, step: int, said: str, number: signal.Signals, word: str, code: int
) -> None:
    caught = experiment().stop_in_step(step, number)
    assert str(caught) == f"{word}; {said}; the same command (without force=true) goes on from there"
    assert caught.exit_code == code


def test_the_signal_of_a_scheduler_does_the_same(experiment: Make) -> None:
    caught = experiment(preemption=signal.SIGUSR2).stop_in_step(6, signal.SIGUSR2)
    assert caught.exit_code == 143
    assert str(caught).startswith("terminated by SIGUSR2; epoch 2, step 2 of 4 is saved; the same command ")


class Telling(list[list[Line]]):
    """A list that does something when it is first added to."""

    def __init__(self, act: Callable[[], None]) -> None:
        super().__init__()
        self.act = act

    def append(self, history: list[Line]) -> None:
        if not self:
            self.act()
        super().append(history)


def test_a_signal_after_the_last_checkpoint_is_not_lost_with_what_came_since(experiment: Make) -> None:
    """Between two checkpoints, while the history is written: the epoch just finished is saved all the same."""
    run = experiment(training={"checkpoint_every": 3})
    run.histories = Telling(lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted, match="epoch 1 of 3 is saved"):
        run.run()
    assert load_state(run.checkpoint)["epoch"] == 1


def test_a_signal_during_the_last_save_is_not_swallowed(experiment: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def save(path: Path, state: dict[str, Any]) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        save_state(path, state)

    monkeypatch.setattr("lowres_ssl.pretrain.save_state", save)
    run = experiment(training={"epochs": 1})
    with pytest.raises(Interrupted, match="epoch 1 of 1 is saved"):
        run.run()
    assert load_state(run.checkpoint)["epoch"] == 1


def test_a_second_interrupt_does_not_wait(experiment: Make) -> None:
    run = experiment()

    def interrupt(_: Tensor) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    run.at_call(2, interrupt)
    with pytest.raises(KeyboardInterrupt) as caught:
        run.run()
    assert not isinstance(caught.value, Interrupted)
    assert not run.checkpoint.exists()


def test_handlers_of_signals_are_put_back(experiment: Make) -> None:
    before = signal.getsignal(signal.SIGTERM)
    experiment().stop_in_step(2)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(("every", "epochs"), [(1, [1, 2, 3, 4]), (2, [2, 4]), (3, [3, 4]), (9, [4])])
def test_checkpoints_are_written_as_often_as_asked_and_at_the_end(
    experiment: Make, every: int, epochs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []
    monkeypatch.setattr("lowres_ssl.pretrain.save_state", lambda _, state: saved.append(state["epoch"]))
    experiment(training={"checkpoint_every": every, "epochs": 4}).run()
    assert saved == epochs


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut off": lambda content: content[:-100],
    "half": lambda content: content[: len(content) // 2],
    "empty": lambda _: b"",
    "a bit": lambda content: content[:5000] + bytes([content[5000] ^ 1]) + content[5001:],
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_checkpoint_without_one_before_is_refused(experiment: Make, damage: Callable[[bytes], bytes]) -> None:
    run = experiment()
    run.stop_in_step(2)
    run.checkpoint.write_bytes(damage(run.checkpoint.read_bytes()))
    with pytest.raises(CheckpointError, match=r"^.*checkpoint.pt: the checkpoint is damaged; start .* force=true$"):
        run.prepare().run()


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_run_with_a_damaged_checkpoint_goes_on_from_the_one_before(
    experiment: Make, damage: Callable[[bytes], bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    through, damaged = experiment(), experiment()
    expected = through.run()
    damaged.stop_in_step(STEPS + 2)
    damaged.checkpoint.write_bytes(damage(damaged.checkpoint.read_bytes()))
    capsys.readouterr()
    damaged.prepare().stop_in_step(1)  # the one before takes no harm from the damaged one
    assert f"{damaged.checkpoint}: the checkpoint is damaged; going on from the one before" in capsys.readouterr().err
    damaged.checkpoint.write_bytes(damage(damaged.checkpoint.read_bytes()))
    got = damaged.prepare().run()
    assert same(damaged.weights(), through.weights())
    assert timeless(got.history) == timeless(expected.history)


def test_a_checkpoint_of_another_device_is_refused(experiment: Make) -> None:
    run = experiment()
    run.stop_in_step(2)
    save_state(run.checkpoint, load_state(run.checkpoint) | {"device": "cuda"})
    with pytest.raises(CheckpointError, match=r"begun with device=cuda, got cpu; type device=cuda to go on, or force"):
        run.prepare().run()


def test_a_checkpoint_of_another_version_is_refused(experiment: Make) -> None:
    run = experiment()
    run.stop_in_step(2)
    content = torch.load(run.checkpoint, weights_only=True)
    torch.save(content | {"version": 999}, run.checkpoint)
    with pytest.raises(CheckpointError, match=r"version 999 of this format, wanted version 1, .* start .* force=true"):
        run.prepare().run()


def test_the_history_is_told_again_when_a_run_goes_on(experiment: Make) -> None:
    """Its file may have been damaged meanwhile, or be ahead of the checkpoint."""
    run = experiment()
    run.stop_in_step(STEPS + 2)
    told = run.histories[-1]
    run.histories.clear()
    run.prepare().stop_in_step(1)
    assert run.histories == [told]


@pytest.mark.parametrize(("precision", "advice"), [("fp32", ""), ("bf16", ", or precision=fp32")])
def test_a_nan_names_the_epoch_the_terms_and_what_to_try(experiment: Make, precision: str, advice: str) -> None:
    run = experiment(arguments=VICREG, precision=precision)
    run.at_call(2 * STEPS + 3, lambda output: output * torch.nan)
    with pytest.raises(TrainingError) as caught:
        run.run()
    assert str(caught.value) == (
        "epoch 2, step 4: the loss is no longer finite (means of the epoch: loss nan, invariance nan, variance nan, "
        "covariance nan); what was saved before it is kept; try learning_rate=0.005, a longer warm-up such as "
        f"warmup_epochs=3{advice}"
    )


def test_a_nan_leaves_the_checkpoint_of_the_epoch_before(experiment: Make) -> None:
    run, before = experiment(), list[bytes]()

    def spoil(output: Tensor) -> Tensor:
        before.append(run.checkpoint.read_bytes())
        return output * torch.nan

    run.at_call(2 * STEPS + 3, spoil)
    with pytest.raises(TrainingError):
        run.run()
    assert load_state(run.checkpoint)["epoch"] == 1
    assert run.checkpoint.read_bytes() == before[0]


def test_a_run_that_went_wrong_can_be_gone_on_from_its_checkpoint(experiment: Make) -> None:
    run, through = experiment(), experiment()
    run.at_call(2 * STEPS + 3, lambda output: output * torch.nan)
    with pytest.raises(TrainingError):
        run.run()
    run.prepare().run()
    through.run()
    assert same(run.weights(), through.weights())


def test_a_nan_in_the_first_epoch_leaves_no_checkpoint(experiment: Make) -> None:
    run = experiment()
    run.at_call(1, lambda output: output * torch.nan)
    with pytest.raises(TrainingError, match=r"^epoch 1, step 4: "):
        run.run()
    assert not run.checkpoint.exists()


def test_a_nan_is_not_saved_when_stopped_either(experiment: Make) -> None:
    run = experiment()
    run.at_call(1, lambda output: output * torch.nan)
    run.at_call(3, lambda _: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(TrainingError, match=r"^epoch 1, step 2: "):
        run.run()
    assert not run.checkpoint.exists()


def test_a_weight_that_is_not_finite_is_noticed_though_the_loss_is(experiment: Make) -> None:
    """The last step's gradient is infinite: the loss before it was fine."""
    run = experiment(training={"epochs": 1})
    run.at_call(2 * STEPS, lambda output: output.register_hook(lambda gradient: gradient * torch.inf) and None)
    with pytest.raises(TrainingError, match=r"^epoch 1, step 4: a weight is no longer finite \(.*loss \d"):
        run.run()
    assert not run.checkpoint.exists()


@pytest.mark.parametrize(("images", "advised"), [(7, 4), (8, 8), (63, 32), (2, 2)])
def test_a_batch_larger_than_the_set_is_refused_with_the_largest_power_of_two(images: int, advised: int) -> None:
    training = Training(**vars(TRAINING) | {"batch_size": 64})
    with pytest.raises(ConfigError) as caught:
        training.steps_per_epoch(images)
    assert str(caught.value).startswith(f"batch_size=64: the training set has {images} images, ")
    assert str(caught.value).endswith(f"; try batch_size={advised}")


def test_a_batch_larger_than_the_set_is_refused_before_anything_is_done(experiment: Make) -> None:
    run = experiment(training={"batch_size": 34})
    run.at_call(1, lambda _: pytest.fail("a step was made"))
    with pytest.raises(ConfigError, match=r"^batch_size=34: the training set has 33 images"):
        run.run()


@pytest.mark.parametrize(
    ("images", "keep", "steps"),
    [(8, False, 1), (8, True, 1), (15, False, 1), (15, True, 2), (16, True, 2), (17, True, 2), (18, True, 3)],
)
def test_an_incomplete_last_batch_is_dropped_or_kept_but_for_a_single_image(
    images: int, keep: bool, steps: int
) -> None:
    assert Training(**vars(TRAINING) | {"keep_last_batch": keep}).steps_per_epoch(images) == steps


@pytest.mark.parametrize(
    ("rows", "keep", "sizes"),
    [(24, False, [8, 8, 8]), (27, False, [8, 8, 8]), (27, True, [8, 8, 8, 3]), (25, True, [8, 8, 8])],
)
def test_a_step_sees_two_views_of_each_image_of_its_batch(
    experiment: Make, rows: int, keep: bool, sizes: list[int]
) -> None:
    run = experiment(rows=range(rows), training={"keep_last_batch": keep, "epochs": 1})
    seen: list[int] = []
    run.encoder.register_forward_hook(lambda _module, inputs, _output: seen.append(len(inputs[0])))
    (line,) = run.run().history
    assert seen == [size for size in sizes for _ in range(2)]
    assert line["views_per_second"] * line["seconds"] == pytest.approx(sum(seen))


def batches(
    store: ImageStore, rows: range, epoch: int = 0, first: int = 0, **changes: Any
) -> list[tuple[Tensor, Tensor]]:
    training = Training(**vars(TRAINING) | changes)
    steps = training.steps_per_epoch(len(rows))
    made = make_batches(
        store,
        reader(store, CPU, "host"),
        np.array(rows),
        VIEWS,
        epoch=epoch,
        steps=range(first, steps),
        batch_size=training.batch_size,
        seed=training.seed,
        ahead=False,
    )
    return [(one, two) for one, two, _ in made]


@dataclass(frozen=True)
class Numbers:
    """In the place of the views: each pixel is the image's number, plus that of the view."""

    def __call__(self, images: Tensor, sizes: Any, keys: Any, *, epoch: int, view: int) -> Tensor:
        return (images[:, :1, :2, :2].float() + view / 2).expand(-1, 3, -1, -1)


def numbers(rows: range, epoch: int, seed: int = 0, ahead: bool = False) -> list[list[tuple[float, float]]]:
    """Which images are in each batch: by the pixels of their first and their second view."""
    images = np.arange(40, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 4, 4), dtype=np.uint8)
    store = ImageStore(images, np.full((40, 2), 4, dtype=np.int32), tuple(map(str, range(40))), Path())
    training = Training(**vars(TRAINING) | {"keep_last_batch": True, "seed": seed})
    steps = training.steps_per_epoch(len(rows))
    made = make_batches(
        store,
        reader(store, CPU, "host"),
        np.array(rows),
        Numbers(),  # type: ignore[arg-type]
        epoch=epoch,
        steps=range(steps),
        batch_size=training.batch_size,
        seed=seed,
        ahead=ahead,
    )
    return [list(zip(one[:, 0, 0, 0].tolist(), two[:, 0, 0, 0].tolist(), strict=True)) for one, two, _ in made]


def test_an_epoch_sees_each_of_the_rows_once_and_no_other() -> None:
    seen = [first for batch in numbers(range(5, 37, 2), epoch=0) for first, _ in batch]
    assert sorted(seen) == list(range(5, 37, 2))


def test_made_ahead_or_not_the_batches_are_the_same() -> None:
    assert numbers(range(40), epoch=1, ahead=True) == numbers(range(40), epoch=1)


def test_the_two_views_of_a_row_are_of_the_same_image() -> None:
    assert all(second == first + 0.5 for batch in numbers(range(40), epoch=0) for first, second in batch)


def test_each_epoch_and_each_seed_has_an_order_of_its_own() -> None:
    orders = [numbers(range(40), epoch=epoch, seed=seed) for epoch in (0, 1) for seed in (0, 1)]
    assert all(one != other for place, one in enumerate(orders) for other in orders[:place])


@pytest.mark.parametrize("first", [0, 1, 3])
def test_batches_from_a_step_on_are_those_of_the_whole_epoch(tiny_store: ImageStore, first: int) -> None:
    whole, rest = batches(tiny_store, range(33), epoch=2), batches(tiny_store, range(33), epoch=2, first=first)
    assert len(rest) == STEPS - first
    assert all(
        torch.equal(*pair)
        for one, other in zip(whole[first:], rest, strict=True)
        for pair in zip(one, other, strict=True)
    )


def test_labels_go_with_their_images(tiny_store: ImageStore) -> None:
    labels = torch.arange(40) * 7
    made = make_batches(
        tiny_store,
        reader(tiny_store, CPU, "host"),
        np.arange(5, 35),
        VIEWS,
        epoch=0,
        steps=range(3),
        batch_size=8,
        seed=0,
        ahead=False,
        labels=labels,
    )
    unlabelled = batches(tiny_store, range(5, 35), batch_size=8)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(derive(0, "order", 0))) + 5
    for step, (batch, plain) in enumerate(zip(made, unlabelled, strict=True)):
        assert torch.equal(batch[0], plain[0])
        assert batch[2] is not None
        assert torch.equal(batch[2], 7 * order[8 * step : 8 * step + 8])


def test_a_method_gets_labels_if_it_sees_them_and_only_then(experiment: Make) -> None:
    with pytest.raises(ValueError, match="is given labels if it sees them, and only then"):
        experiment(labels=np.zeros(40, dtype=np.int64)).run()


def test_views_are_made_anew_each_epoch_and_lie_channels_last(tiny_store: ImageStore) -> None:
    (one, other), (again, _) = (batches(tiny_store, range(8), epoch=epoch)[0] for epoch in (0, 1))
    assert not torch.equal(one.sum((1, 2, 3)).sort().values, again.sum((1, 2, 3)).sort().values)
    assert not torch.equal(one, other)
    assert one.shape == (8, 3, 12, 12)
    assert one.is_contiguous(memory_format=torch.channels_last)


def test_grey_images_are_seen_as_three_equal_channels(tiny_store: ImageStore) -> None:
    grey = ImageStore(tiny_store.images[:, :1], tiny_store.sizes, tiny_store.ids, tiny_store.path)
    (one, _), *_ = batches(grey, range(33))
    assert torch.equal(one, one[:, :1].expand(-1, 3, -1, -1))


def two_views() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(6, 3, 12, 12, generator=generator), 3 + 2 * torch.randn(6, 3, 12, 12, generator=generator)


def first_norm(encoder: nn.Module) -> nn.BatchNorm2d:
    assert isinstance(encoder[1], nn.BatchNorm2d)
    return encoder[1]


def test_joint_batch_norm_sees_both_views_together(experiment: Make) -> None:
    run, (first, second) = experiment(), two_views()
    embed_both(run.encoder.train(), run.method, first, second, joint=True)
    norm = first_norm(run.encoder)
    together = run.encoder[0](torch.cat((first, second))).transpose(0, 1).flatten(1)
    assert norm.num_batches_tracked == 1
    torch.testing.assert_close(norm.running_mean, 0.1 * together.mean(1))
    torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * together.var(1))


def test_per_view_batch_norm_sees_each_view_alone(experiment: Make) -> None:
    run, (first, second) = experiment(), two_views()
    embed_both(run.encoder.train(), run.method, first, second, joint=False)
    norm = first_norm(run.encoder)
    one, two = (run.encoder[0](view).transpose(0, 1).flatten(1) for view in (first, second))
    assert norm.num_batches_tracked == 2
    torch.testing.assert_close(norm.running_mean, 0.09 * one.mean(1) + 0.1 * two.mean(1))
    torch.testing.assert_close(norm.running_var, 0.81 + 0.09 * one.var(1) + 0.1 * two.var(1))


def test_joint_and_per_view_are_the_same_without_batch_norm(experiment: Make, trained_method: Arguments) -> None:
    """In evaluation mode: the halves of the joint pass are the two views, in their order, for every output."""
    run, (first, second) = experiment(arguments=trained_method), two_views()
    run.encoder.eval()
    run.method.eval()
    joint = embed_both(run.encoder, run.method, first, second, joint=True)
    apart = embed_both(run.encoder, run.method, first, second, joint=False)
    torch.testing.assert_close(joint, apart)


def test_joint_training_differs_from_per_view(experiment: Make) -> None:
    joint, apart = experiment(training={"joint": True}), experiment()
    joint.run()
    apart.run()
    assert not same(joint.weights(), apart.weights())


def test_the_best_encoder_is_the_latest_of_equals(experiment: Make) -> None:
    scores, seen = iter([0.5, 0.75, 0.75, 0.25]), list[dict[str, Tensor]]()

    def validate(encoder: nn.Module) -> float:
        seen.append({key: value.clone() for key, value in encoder.state_dict().items()})
        return next(scores)

    best = experiment(validate=validate, training={"epochs": 4}).run().best
    assert best is not None
    assert (best.epoch, best.accuracy) == (3, 0.75)
    assert same(best.encoder, seen[2])


@pytest.mark.parametrize("step", [STEPS, STEPS + 2])
def test_the_best_encoder_survives_a_stop(experiment: Make, step: int) -> None:
    """The first epoch's is the best, and the run is stopped after it."""

    def score(encoder: nn.Module) -> float:
        return 1 / float(first_norm(encoder).num_batches_tracked)

    through, stopped = experiment(validate=score), experiment(validate=score)
    expected = through.run().best
    stopped.stop_in_step(step)
    got = stopped.prepare().run().best
    assert expected is not None
    assert got is not None
    assert (got.epoch, got.accuracy) == (expected.epoch, expected.accuracy) == (1, 1 / (2 * STEPS))
    assert same(got.encoder, expected.encoder)


def test_without_validation_there_is_no_best(experiment: Make) -> None:
    assert experiment().run().best is None


def test_training_goes_on_in_training_mode_after_a_validation(experiment: Make) -> None:
    def validate(encoder: nn.Module) -> float:
        view = {"image_size": 12, "mean": (0.5,) * 3, "std": (0.25,) * 3}
        return float(extract(encoder, run.store, [0, 1, 2], **view, compute=Compute(CPU, "fp32")).std())

    run, seen = experiment(validate=validate), set[tuple[int, bool]]()
    run.encoder.register_forward_hook(lambda module, inputs, _: seen.add((len(inputs[0]), module.training)))
    run.run()
    assert seen == {(8, True), (3, False)}


def test_a_validation_changes_nothing_in_the_training(experiment: Make) -> None:
    plain, validated = experiment(), experiment(validate=lambda _: float(torch.rand(())))
    plain.run()
    validated.run()
    assert same(plain.weights(), validated.weights())


@pytest.mark.parametrize(
    ("arguments", "terms"), [(SIMCLR, []), (VICREG, ["invariance", "variance", "covariance"])], ids=["simclr", "vicreg"]
)
def test_lines_of_the_history_have_the_documented_columns(
    experiment: Make, arguments: Arguments, terms: list[str]
) -> None:
    history = experiment(arguments=arguments).run().history
    assert [list(line) for line in history] == [[*COLUMNS[:2], *terms, *COLUMNS[2:]]] * 3


def test_lines_with_a_validation_have_its_accuracy_last(experiment: Make) -> None:
    history = experiment(validate=lambda _: 0.25).run().history
    assert [list(line) for line in history] == [[*COLUMNS, "validation_knn_accuracy"]] * 3
    assert {line["validation_knn_accuracy"] for line in history} == {0.25}


def test_epochs_are_counted_from_one(experiment: Make) -> None:
    assert [line["epoch"] for line in experiment().run().history] == [1, 2, 3]


def test_the_learning_rate_told_is_that_of_the_epochs_last_step(experiment: Make) -> None:
    """Half an epoch of warm-up, so 2 of 12 steps; then a cosine over the other 10."""
    rates = [line["learning_rate"] for line in experiment().run().history]
    assert rates == pytest.approx([0.05 * (1 + np.cos(np.pi * done / 10)) / 2 for done in (1, 5, 9)])


def test_on_epoch_is_given_the_history_so_far(experiment: Make) -> None:
    run = experiment()
    history = run.run().history
    assert run.histories == [history[:1], history[:2], history]


def test_the_loss_falls(experiment: Make) -> None:
    history = experiment(training={"epochs": 8, "learning_rate": 0.3}).run().history
    assert history[-1]["loss"] < history[0]["loss"] - 0.1


def test_weight_decay_reaches_norms_and_biases_only_if_asked(experiment: Make) -> None:
    spared, decayed = experiment(), experiment(training={"decay_norm_and_bias": True})
    spared.run()
    decayed.run()
    assert not same(spared.weights(), decayed.weights())


def test_a_method_that_trains_nothing_is_never_trained(experiment: Make, untrained_method: Arguments) -> None:
    run = experiment(arguments=untrained_method)
    before = run.weights()
    with pytest.raises(ValueError, match="trains nothing"):
        run.run()
    assert same(run.weights(), before)  # not even BatchNorm's statistics
    assert not run.checkpoint.exists()


def test_progress_is_told_on_standard_error(experiment: Make, capsys: pytest.CaptureFixture[str]) -> None:
    experiment().run()
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1].startswith("simclr on noise: epoch 3/3, loss ")
