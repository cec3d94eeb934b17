"""Random numbers that depend on what they are for and on nothing else: no state, no global generator.

The draws of a view are the splitmix64 stream that starts at a hash of (seed, epoch, view, image key). Batch order,
batch composition, prefetching and resuming can't change them, and asking for more leaves the earlier ones as they are.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Constants of splitmix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST_FACTOR = np.uint64(0xBF58476D1CE4E5B9)
SECOND_FACTOR = np.uint64(0x94D049BB133111EB)


def image_keys(ids: Sequence[str]) -> NDArray[np.uint64]:
    """A stable 64-bit hash (BLAKE2b, little-endian) of each record id, the same on every platform: [N] uint64."""
    digests = b"".join(hashlib.blake2b(record.encode(), digest_size=8).digest() for record in ids)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def uniforms(*, seed: int, epoch: int, view: int, keys: NDArray[np.uint64], count: int) -> NDArray[np.float64]:
    """`count` independent draws for each of B images, uniform on [0, 1): [count, B] float64.

    `seed`, `epoch` and `view` are whole numbers from 0 to 2**64 - 1; `keys` is [B] uint64 from `image_keys`.
    """
    state = np.zeros(1, dtype=np.uint64)  # an array, since numpy warns when a scalar wraps around
    for word in (seed, epoch, view):
        state = scramble((state ^ np.uint64(word)) + GOLDEN)
    start = scramble((state ^ keys) + GOLDEN)  # [B]
    counters = np.arange(1, count + 1, dtype=np.uint64)[:, None]  # [count, 1]
    bits = scramble(start + counters * GOLDEN)  # [count, B]
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53  # the upper 53 bits: every float64 multiple of 2**-53


def scramble(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The output function of splitmix64: a bijection of 64-bit words in which each input bit moves every output bit."""
    words = (words ^ (words >> np.uint64(30))) * FIRST_FACTOR
    words = (words ^ (words >> np.uint64(27))) * SECOND_FACTOR
    return words ^ (words >> np.uint64(31))
