"""Signals that wait, sent to this process itself."""

import pickle
import signal
import threading
from collections.abc import Iterator

import pytest

from lowres_ssl.errors import Interrupted
from lowres_ssl.interruption import SIGNALS, Deferred


@pytest.fixture(autouse=True)
def handlers() -> Iterator[list[int]]:
    """Signals that come through are noted, so that a failing test does not end pytest."""
    came: list[int] = []
    before = {number: signal.signal(number, lambda got, _: came.append(got)) for number in SIGNALS}
    yield came
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_remembered_not_raised(number: signal.Signals, handlers: list[int]) -> None:
    with pytest.raises(Interrupted, match="what was finished is saved"), Deferred() as stop:
        signal.raise_signal(number)
        assert stop.received is number
        assert handlers == []


def test_nothing_is_received_where_nothing_was_sent() -> None:
    with Deferred() as stop:
        assert stop.received is None


@pytest.mark.parametrize("first", SIGNALS)
def test_a_second_interrupt_is_raised_at_once(first: signal.Signals) -> None:
    with pytest.raises(Interrupted), Deferred():
        signal.raise_signal(first)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("first", SIGNALS)
def test_a_second_sigterm_waits_like_the_first(first: signal.Signals) -> None:
    with pytest.raises(Interrupted), Deferred() as stop:
        signal.raise_signal(first)
        signal.raise_signal(signal.SIGTERM)
        assert stop.received is signal.SIGTERM


@pytest.mark.parametrize("number", SIGNALS)
def test_afterwards_signals_go_where_they_went_before(number: signal.Signals, handlers: list[int]) -> None:
    with Deferred():
        pass
    signal.raise_signal(number)
    assert handlers == [number]


def test_handlers_are_put_back_after_an_error_too() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with pytest.raises(RuntimeError, match="within"), Deferred():
        raise RuntimeError("within")
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_another_thread_changes_no_handler() -> None:
    seen = []

    def look() -> None:
        with Deferred() as stop:
            seen.extend([stop.received, *(signal.getsignal(number) for number in SIGNALS)])

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [None, *(signal.getsignal(number) for number in SIGNALS)]


@pytest.mark.parametrize(
    ("number", "word", "code"), [(signal.SIGINT, "interrupted", 130), (signal.SIGTERM, "terminated", 143)]
)
def test_the_exit_code_and_the_message_are_those_of_the_signal(number: signal.Signals, word: str, code: int) -> None:
    with pytest.raises(Interrupted), Deferred() as stop:
        signal.raise_signal(number)
    interrupted = stop.interrupted("epoch 3 of 5 is saved")
    assert interrupted.exit_code == code
    assert (
        str(interrupted) == f"{word}; epoch 3 of 5 is saved; the same command (without force=true) goes on from there"
    )


def test_an_interruption_is_no_error_that_a_sweep_could_pass_over() -> None:
    with pytest.raises(Interrupted), Deferred() as stop:
        signal.raise_signal(signal.SIGINT)
    assert not isinstance(stop.interrupted("saved"), Exception)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interruption_survives_the_way_back_from_a_worker(number: signal.Signals, code: int) -> None:
    with pytest.raises(Interrupted) as caught, Deferred():
        signal.raise_signal(number)
    returned = pickle.loads(pickle.dumps(caught.value))
    assert (str(returned), returned.exit_code) == (str(caught.value), code)
