"""How images are dealt out to the sides: pure functions of names, hashes and whole numbers, the same on every platform.

A unit is a list of images that must stay together. Order comes from hashes of names, never from a generator or from the
order of files; shares are compared in whole numbers, so that no rounding decides.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence

Unit = tuple[int, ...]  # indices of images, ascending
SUBSETS = ("train", "val", "test")
MIN_ORDERS, MAX_ORDERS = 8, 64  # tried for a split by groups
SHARE_SCALE = 10**12  # weights of classes are whole multiples of 1/SCALE


def group_by_shared_keys(keys: Iterable[Sequence[Hashable]]) -> list[Unit]:
    """Images that share a key, directly or through others, as units, by first image. `keys` holds each image's keys."""
    parents: list[int] = []
    first: dict[Hashable, int] = {}

    def top(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    for index, own in enumerate(keys):
        parents.append(index)
        for key in own:
            a, b = top(first.setdefault(key, index)), top(index)
            parents[max(a, b)] = min(a, b)
    units: dict[int, list[int]] = defaultdict(list)
    for index in range(len(parents)):
        units[top(index)].append(index)
    return [tuple(unit) for unit in units.values()]


def shuffle_units(units: Iterable[Unit], ids: Sequence[str], seed: str) -> list[Unit]:
    """The units in the order of SHA-256 of "seed|first id"."""
    return sorted(units, key=lambda unit: hashlib.sha256(f"{seed}|{ids[unit[0]]}".encode()).digest())


def split_units(units: Sequence[Unit], shares: dict[str, int]) -> dict[str, list[Unit]]:
    """Deal the units, in their order, to the sides in tenths of `shares` (which sum to 10).

    Each side gets a unit as long as there are some, the first named first; every further unit goes where most is
    lacking. Units of one image come out at the rounded shares exactly.
    """
    total = sum(map(len, units))
    wanted = {side: (share * total + 5) // 10 for side, share in shares.items()}
    largest = max(wanted, key=lambda side: wanted[side])
    wanted[largest] += total - sum(wanted.values())
    hands: dict[str, list[Unit]] = {side: [] for side in shares}
    for unit in units:
        empty = [side for side, hand in hands.items() if not hand]
        side = empty[0] if empty else max(wanted, key=lambda each: wanted[each])
        hands[side].append(unit)
        wanted[side] -= len(unit)
    return hands


def stratified_group_split(
    units: Sequence[Unit], labels: Sequence[int], ids: Sequence[str], seed: int, shares: dict[str, int]
) -> dict[str, list[Unit]]:
    """Deal whole groups so that each class comes near `shares` (tenths) on each side, as far as groups allow.

    Orders of the groups are drawn from `seed`, as many as there are groups (at least 8, at most 64; all 64 while a
    class is missing from a side that it could be on), and the best is kept: first by how few classes are missing from a
    side, then by how far the classes are from their shares. A group's size has no part in its place in an order, since
    the test groups are to be a random sample of all groups. Nor is the best of 64 taken of few groups: that would be
    the same split for nearly every seed.
    """
    contents = {unit: Counter(labels[index] for index in unit) for unit in units}
    totals = Counter(labels)
    holders = Counter(label for content in contents.values() for label in content)
    unavoidable = sum(max(0, len(shares) - number) for number in holders.values())
    enough = max(MIN_ORDERS, min(len(units), MAX_ORDERS))
    best: tuple[tuple[int, int], dict[str, list[Unit]]] | None = None
    for trial in range(MAX_ORDERS):
        if best is not None and trial >= enough and best[0][0] <= unavoidable:
            break
        hands, lacking = assign_groups_greedily(shuffle_units(units, ids, f"{seed}|{trial}"), contents, totals, shares)
        missing, off = 0, 0
        for side, lacks in lacking.items():
            for label, total in totals.items():
                missing += lacks[label] == shares[side] * total
                off += abs(lacks[label]) * SHARE_SCALE // total
        if best is None or (missing, off) < best[0]:
            best = (missing, off), hands
    assert best is not None
    return best[1]


def assign_groups_greedily(
    order: Sequence[Unit], contents: dict[Unit, Counter[int]], totals: Counter[int], shares: dict[str, int]
) -> tuple[dict[str, list[Unit]], dict[str, dict[int, int]]]:
    """Deal the groups greedily, in their order: each goes where its classes lack most.

    Before that each class, the rarest first, is given a group on each side in the order of `shares`, so that one with
    fewer groups than sides is missing from those named last. Returns the units of each side, and how many tenths of an
    image of each class it still lacks (below 0: has too many).
    """
    holders = Counter(label for unit in order for label in contents[unit])
    hands: dict[str, list[Unit]] = {side: [] for side in shares}
    lacking = {side: {label: share * total for label, total in totals.items()} for side, share in shares.items()}
    held: dict[str, set[int]] = {side: set() for side in shares}
    free = dict.fromkeys(order)

    def give(unit: Unit, side: str) -> None:
        hands[side].append(unit)
        del free[unit]
        for label, count in contents[unit].items():
            lacking[side][label] -= 10 * count
            held[side].add(label)

    for label in sorted(holders, key=lambda label: (holders[label], totals[label], label)):
        for side in shares:
            first = next((unit for unit in free if label in contents[unit]), None)
            if label not in held[side] and first is not None:
                give(first, side)
    for unit in list(free):
        gains = {
            side: sum(
                count * lacks[label] * SHARE_SCALE // totals[label] ** 2 for label, count in contents[unit].items()
            )
            for side, lacks in lacking.items()
        }
        give(unit, max(gains, key=lambda each: gains[each]))
    return hands, lacking
