"""Producing ahead: order, exceptions, an early end, and how far ahead."""

import threading
import time
from collections.abc import Iterator

import pytest

from lowres_ssl.train.batches import prefetch


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_everything_arrives_in_order_and_the_thread_ends(depth):
    assert list(prefetch(range(50), depth)) == list(range(50))
    assert not threads()


def test_an_exception_arrives_after_the_items_before_it():
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise KeyError("broken image")

    ahead = prefetch(items())
    assert [next(ahead), next(ahead)] == [1, 2]
    with pytest.raises(KeyError, match="broken image") as caught:
        next(ahead)
    assert "items" in [entry.name for entry in caught.traceback]  # it still shows where it was raised
    assert not threads()


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("taken", [1, 2, 7])
def test_closing_early_ends_the_thread_and_closes_the_source(depth, taken):
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            number = 0
            while True:
                yield number
                number += 1
        finally:
            closed.set()

    ahead = prefetch(endless(), depth)
    assert [next(ahead) for _ in range(taken)] == list(range(taken))
    ahead.close()
    assert not threads()
    assert closed.is_set()


def test_it_makes_no_more_than_depth_items_ahead():
    made = []

    def items() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    ahead = prefetch(items(), depth=2)
    next(ahead)
    deadline = time.monotonic() + 5
    while len(made) < 3 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.05)
    assert len(made) == 3  # one taken, two waiting
    ahead.close()
