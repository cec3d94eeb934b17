"""Dealing: the pure functions that decide who goes where."""

import os
import random
import subprocess
import sys

import pytest

from lowres_ssl.data.deal import deal, deal_groups, united


def test_deal_does_not_depend_on_the_hash_seed_of_python() -> None:
    code = (
        "from lowres_ssl.data.deal import deal_groups;"
        "units=[(i,i+1,i+2) for i in range(0,60,3)];"
        "print(deal_groups(units,[i%4 for i in range(60)],[str(i) for i in range(60)],0,{'train':7,'test':2,'val':1}))"
    )
    outputs = set()
    for hash_seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        result = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
        )
        outputs.add(result.stdout)
    assert len(outputs) == 1


@pytest.mark.parametrize("seed", range(20))
def test_united_images_are_those_joined_by_a_chain_of_keys(seed: int) -> None:
    rng = random.Random(seed)
    keys = [(rng.randrange(13), rng.randrange(13)) for _ in range(2 * seed)]
    units = united([(("left", a), ("right", b)) for a, b in keys])
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
        hands = deal([(index,) for index in range(total)], {"train": 7, "test": 2, "val": 1})
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
    hands = deal_groups(units, labels, [str(n) for n in range(len(labels))], seed, {"train": 7, "test": 2, "val": 1})
    assert sorted(unit for hand in hands.values() for unit in hand) == sorted(units)
    for label in set(labels):
        owners = sum(labels[unit[0]] == label for unit in units)
        reached = sum(any(labels[unit[0]] == label for unit in hand) for hand in hands.values())
        assert reached == min(3, owners)
