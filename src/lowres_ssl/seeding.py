"""Derive a seed for every use of random numbers, from the run's seed and the use's name."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager


def derive_seed(seed: int, *names: str | int) -> int:
    """Derive a seed, 0 to 2**63 - 1, for the use that `names` name; the same on every machine."""
    text = "\0".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


@contextmanager
def seed_torch(seed: int, *names: str | int) -> Iterator[None]:
    """Seed PyTorch's global CPU generator with `derive_seed(seed, *names)` in the block, and restore it afterwards."""
    import torch  # seeds are derived where nothing is computed as well

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, *names))
        yield
