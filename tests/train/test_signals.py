"""Signals that wait, sent to this process itself."""

import pickle
import signal
from collections.abc import Iterator

import pytest

from lowres_ssl.errors import Interrupted
from lowres_ssl.train.signals import STOP_SIGNALS, DeferredSignals, install_handler


@pytest.fixture(autouse=True)
def handlers() -> Iterator[list[int]]:
    """Signals that come through are noted, so that a failing test does not end pytest."""
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in (*STOP_SIGNALS, signal.SIGUSR2)}
    for number in STOP_SIGNALS:
        signal.signal(number, lambda got, _: came.append(got))
    yield came
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_remembered_not_raised(number: signal.Signals, code: int, handlers: list[int]) -> None:
    """What is raised at the end survives the way back from a worker."""
    with pytest.raises(Interrupted, match="what was finished is saved") as caught, DeferredSignals() as stop:
        signal.raise_signal(number)
        assert stop.received is number
        assert handlers == []
    returned = pickle.loads(pickle.dumps(caught.value))
    assert (str(returned), returned.exit_code) == (str(caught.value), code)


@pytest.mark.parametrize("first", STOP_SIGNALS)
def test_a_second_interrupt_is_raised_at_once(first: signal.Signals) -> None:
    with pytest.raises(Interrupted), DeferredSignals():
        signal.raise_signal(first)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_afterwards_signals_go_where_they_went_before(number: signal.Signals, handlers: list[int]) -> None:
    with DeferredSignals():
        pass
    signal.raise_signal(number)
    assert handlers == [number]


def test_signal_of_a_scheduler_is_waited_with_like_the_others() -> None:
    install_handler(signal.SIGUSR2)
    with pytest.raises(Interrupted) as caught, DeferredSignals(signal.SIGUSR2) as stop:
        signal.raise_signal(signal.SIGUSR2)
        raise stop.interrupted("epoch 3 of 5 is saved")
    assert caught.value.exit_code == 143
    assert str(caught.value).startswith("terminated by SIGUSR2; epoch 3 of 5 is saved; the same command ")
    with pytest.raises(Interrupted, match="the same command goes on") as caught:
        signal.raise_signal(signal.SIGUSR2)  # outside of any step
    assert caught.value.exit_code == 143


def test_whoever_handled_the_signal_before_gets_it_when_everything_is_saved() -> None:
    """As submitit does: its own handler puts the job back into the queue, then ends the process."""
    came = []

    def requeue(number: int, _frame: object) -> None:
        came.append(number)
        raise SystemExit(255)

    signal.signal(signal.SIGUSR2, requeue)
    install_handler(signal.SIGUSR2)  # changes nothing
    with pytest.raises(SystemExit), DeferredSignals(signal.SIGUSR2) as stop:
        signal.raise_signal(signal.SIGUSR2)
        assert came == []
        raise stop.interrupted("saved")
    assert came == [signal.SIGUSR2]
    with pytest.raises(RuntimeError, match="could not be saved"), DeferredSignals(signal.SIGUSR2):
        signal.raise_signal(signal.SIGUSR2)
        raise RuntimeError("it could not be saved")
    assert came == [signal.SIGUSR2]


def test_scheduler_that_handles_its_signal_keeps_sigterm_which_comes_before_it(handlers: list[int]) -> None:
    """submitit passes over SIGTERM: a run that ended by it would not be put back into the queue."""
    signal.signal(signal.SIGUSR2, lambda number, _: handlers.append(number))
    with pytest.raises(Interrupted, match="terminated by SIGUSR2"), DeferredSignals(signal.SIGUSR2) as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop.received is None
        signal.raise_signal(signal.SIGUSR2)
        assert handlers == [signal.SIGTERM]
        raise stop.interrupted("saved")
    assert handlers == [signal.SIGTERM, signal.SIGUSR2]
