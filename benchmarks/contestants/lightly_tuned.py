"""Lightly's parts given bf16 and channels_last by hand."""

from collections.abc import Callable

from benchmarks.contestants import Case, lightly_parts


def enter(case: Case) -> Callable[[int], float]:
    return lightly_parts.enter(case, tuned=True)
