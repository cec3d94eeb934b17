"""Partition: the pure functions that assign units to subsets."""

import random
from collections.abc import Sequence

import pytest

from lowres_ssl.data.partition import Unit, group_by_shared_keys, split_units, stratified_group_split

SHARES = {"train": 7, "test": 2, "val": 1}


@pytest.mark.parametrize("seed", range(20))
def test_united_images_are_those_joined_by_a_chain_of_keys(seed: int) -> None:
    rng = random.Random(seed)
    keys = [(rng.randrange(13), rng.randrange(13)) for _ in range(2 * seed)]
    units = group_by_shared_keys({n: (("left", a), ("right", b)) for n, (a, b) in enumerate(keys)})
    assert sorted(index for unit in units for index in unit) == list(range(len(keys)))
    place = {index: number for number, unit in enumerate(units) for index in unit}
    joined = {index: {index} for index in range(len(keys))}  # the slow way: grow each set until nothing changes
    for _ in keys:
        for one, (a, b) in enumerate(keys):
            for other, (c, d) in enumerate(keys):
                if a == c or b == d:
                    joined[one] |= joined[other]
    for one in range(len(keys)):
        assert {other for other in place if place[other] == place[one]} == joined[one]


def test_single_images_are_dealt_at_the_rounded_shares() -> None:
    for total in range(1, 301):
        hands = split_units([(index,) for index in range(total)], {"train": 7, "test": 2, "val": 1})
        counts = {side: len(hand) for side, hand in hands.items()}
        assert sum(counts.values()) == total
        if total >= 10:
            assert (counts["test"], counts["val"]) == ((2 * total + 5) // 10, (total + 5) // 10)
        if total >= 3:
            assert min(counts.values()) >= 1


@pytest.mark.parametrize("seed", range(20))
def test_groups_of_one_class_reach_every_side_they_can(seed: int) -> None:
    rng = random.Random(seed)
    units, labels = [], []
    for _ in range(rng.randint(9, 30)):
        size, label = rng.randint(1, 6), min(rng.randrange(6), 2)
        units.append(tuple(range(len(labels), len(labels) + size)))
        labels += [label] * size
    hands = stratified_group_split(units, labels, [str(n) for n in range(len(labels))], seed, SHARES)
    assert sorted(unit for hand in hands.values() for unit in hand) == sorted(units)
    for label in set(labels):
        owners = sum(labels[unit[0]] == label for unit in units)
        reached = sum(any(labels[unit[0]] == label for unit in hand) for hand in hands.values())
        assert reached == min(3, owners)


def groups_of(sizes: Sequence[int]) -> list[Unit]:
    """Groups of these sizes, of images numbered from 0; the images of each are of class 0 and class 1 in turn."""
    starts = [sum(sizes[:place]) for place in range(len(sizes))]
    return [tuple(range(start, start + size)) for start, size in zip(starts, sizes, strict=True)]


def dealt(units: Sequence[Unit], seed: int) -> dict[str, list[Unit]]:
    total = sum(map(len, units))
    return stratified_group_split(
        units, [index % 2 for index in range(total)], [str(n) for n in range(total)], seed, SHARES
    )


def test_how_large_a_group_is_does_not_decide_whether_it_is_tested() -> None:
    """Else the test images are no random sample, and the test sets of several seeds are nearly the same."""
    units = groups_of([60] * 5 + [20] * 10 + [4] * 20)  # 10%, 3% and 0.7% of all images each
    tested = [set(dealt(units, seed)["test"]) for seed in range(300)]
    for kind in (units[:5], units[5:15], units[15:]):
        often = sum(unit in test for unit in kind for test in tested) / (len(kind) * len(tested))
        assert often == pytest.approx(0.2, abs=0.05), len(kind[0])
    for test in tested:
        assert sum(map(len, test)) / 580 == pytest.approx(0.2, abs=0.04)
