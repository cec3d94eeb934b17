"""Producing ahead in a thread. Knows nothing of what is produced."""

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from queue import Empty, Queue
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True)
class Produced(Generic[Item]):
    item: Item


@dataclass(frozen=True)
class Finished:
    error: BaseException | None


def prefetch(iterable: Iterable[Item], depth: int = 2) -> Iterator[Item]:
    """The items of `iterable` in their order, up to `depth` (at least 1) of them made ahead by a daemon thread.

    The thread starts with the first item asked for. An exception in the iterable is raised here, after the items before
    it. When the consumer stops early (the generator is closed), the thread ends after the item in hand, and is waited
    for.
    """
    queue: Queue[Produced[Item] | Finished] = Queue(maxsize=max(depth, 1))
    stopped = threading.Event()

    def produce() -> None:
        # Each put follows a look at `stopped`: so at most one comes after the consumer has emptied the queue, and none
        # waits for ever.
        error: BaseException | None = None
        try:
            for item in iterable:
                if stopped.is_set():
                    return
                queue.put(Produced(item))
                if stopped.is_set():
                    return
        except BaseException as caught:  # the consumer's to handle, whatever it is
            error = caught
        if not stopped.is_set():
            queue.put(Finished(error))

    thread = threading.Thread(target=produce, name="prefetch", daemon=True)
    thread.start()
    try:
        while isinstance(message := queue.get(), Produced):
            yield message.item
        if message.error is not None:
            raise message.error
    finally:
        stopped.set()
        drain(queue)
        thread.join()


def drain(queue: Queue[Produced[Item] | Finished]) -> None:
    while True:
        try:
            queue.get_nowait()
        except Empty:
            return
