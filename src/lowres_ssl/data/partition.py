"""Assign images to subsets: pure functions of names, hashes and whole numbers, the same on every platform.

A unit is a tuple of images that must stay together. Order is decided by hashes of names, never by a generator or by the
order of files; shares are compared in whole numbers, so that no rounding decides.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence

Unit = tuple[int, ...]  # indices of images, ascending
SUBSETS = ("train", "val", "test")
MIN_ORDERS, MAX_ORDERS = 8, 64  # tried for a split by groups
SHARE_SCALE = 10**12  # weights of classes are whole multiples of 1/SHARE_SCALE


def group_by_shared_keys(keys: Mapping[int, Sequence[Hashable]]) -> list[Unit]:
    """Group images that share a key, directly or through others, by first image. `keys`: those of each image, by its
    index, ascending."""
    parents: dict[int, int] = {}
    first: dict[Hashable, int] = {}

    def find_root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    for index, own in keys.items():
        parents[index] = index
        for key in own:
            a, b = find_root(first.setdefault(key, index)), find_root(index)
            parents[max(a, b)] = min(a, b)
    units: dict[int, list[int]] = defaultdict(list)
    for index in keys:
        units[find_root(index)].append(index)
    return [tuple(unit) for unit in units.values()]


def shuffle_units(units: Iterable[Unit], ids: Sequence[str], seed: str) -> list[Unit]:
    """Sort the units by SHA-256 of "seed|first id"."""
    return sorted(units, key=lambda unit: hashlib.sha256(f"{seed}|{ids[unit[0]]}".encode()).digest())


def split_units(units: Sequence[Unit], shares: dict[str, int]) -> dict[str, list[Unit]]:
    """Assign the units, in their order, to the subsets in tenths of `shares` (which sum to 10).

    Each subset gets a unit while there are some, the first named first; every further unit goes where most is missing.
    Units of one image end at the rounded shares exactly.
    """
    total = sum(map(len, units))
    wanted = {name: (share * total + 5) // 10 for name, share in shares.items()}
    largest = max(wanted, key=lambda name: wanted[name])
    wanted[largest] += total - sum(wanted.values())
    assigned: dict[str, list[Unit]] = {name: [] for name in shares}
    for unit in units:
        empty = [name for name, own in assigned.items() if not own]
        name = empty[0] if empty else max(wanted, key=lambda each: wanted[each])
        assigned[name].append(unit)
        wanted[name] -= len(unit)
    return assigned


def stratified_group_split(
    units: Sequence[Unit], labels: Sequence[int], ids: Sequence[str], seed: int, shares: dict[str, int]
) -> dict[str, list[Unit]]:
    """Assign whole groups so that each class comes near `shares` (tenths) in each subset, as far as groups allow.

    Orders of the groups are drawn from `seed`, as many as there are groups (at least 8, at most 64; all 64 while a
    class is missing from a subset that it could be in), and the best is taken: first by how few classes are missing
    from a subset, then by how far the classes are from their shares. A group's position in an order is independent of
    its size, since the test groups are to be a random sample of all groups. Few groups get few orders: the best of 64
    would be the same split for nearly every seed. `labels`, `ids`: of all images, in `units` or not.
    """
    contents = {unit: Counter(labels[index] for index in unit) for unit in units}
    totals = Counter(labels[index] for unit in units for index in unit)
    holders = Counter(label for content in contents.values() for label in content)
    unavoidable = sum(max(0, len(shares) - number) for number in holders.values())
    enough = max(MIN_ORDERS, min(len(units), MAX_ORDERS))
    best: tuple[tuple[int, int], dict[str, list[Unit]]] | None = None
    for trial in range(MAX_ORDERS):
        if best is not None and trial >= enough and best[0][0] <= unavoidable:
            break
        order = shuffle_units(units, ids, f"{seed}|{trial}")
        assigned, lacking = assign_groups_greedily(order, contents, totals, shares)
        missing, off = 0, 0
        for name, lacks in lacking.items():
            for label, total in totals.items():
                missing += lacks[label] == shares[name] * total
                off += abs(lacks[label]) * SHARE_SCALE // total
        if best is None or (missing, off) < best[0]:
            best = (missing, off), assigned
    assert best is not None
    return best[1]


def assign_groups_greedily(
    order: Sequence[Unit], contents: dict[Unit, Counter[int]], totals: Counter[int], shares: dict[str, int]
) -> tuple[dict[str, list[Unit]], dict[str, dict[int, int]]]:
    """Assign the groups greedily, in their order: each goes where its classes lack most.

    Before that each class, the rarest first, gets a group in each subset in the order of `shares`, so that one with
    fewer groups than subsets is missing from those named last. Returns the units of each subset, and how many tenths of
    an image of each class it still lacks (below 0: has too many).
    """
    holders = Counter(label for unit in order for label in contents[unit])
    assigned: dict[str, list[Unit]] = {name: [] for name in shares}
    lacking = {name: {label: share * total for label, total in totals.items()} for name, share in shares.items()}
    free = dict.fromkeys(order)

    def assign(unit: Unit, name: str) -> None:
        assigned[name].append(unit)
        del free[unit]
        for label, count in contents[unit].items():
            lacking[name][label] -= 10 * count

    for label in sorted(holders, key=lambda label: (holders[label], totals[label], label)):
        for name, share in shares.items():
            first = next((unit for unit in free if label in contents[unit]), None)
            if lacking[name][label] == share * totals[label] and first is not None:
                assign(first, name)
    for unit in list(free):
        gains = {
            name: sum(
                count * lacks[label] * SHARE_SCALE // totals[label] ** 2 for label, count in contents[unit].items()
            )
            for name, lacks in lacking.items()
        }
        assign(unit, max(gains, key=lambda each: gains[each]))
    return assigned, lacking
