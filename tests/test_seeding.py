"""Derived seeds: the same everywhere, another for every use; the global generator is only borrowed."""

import itertools

import torch

from lowres_ssl.seeding import derive_seed, seed_torch


def test_a_derived_seed_is_the_same_on_every_machine() -> None:
    """SHA-256 of "0\\0encoder", its first 8 bytes little-endian, halved: by sha256sum."""
    assert derive_seed(0, "encoder") == int.from_bytes(bytes.fromhex("d640baed83ac7cb3"), "little") // 2


def test_every_use_has_a_seed_of_its_own() -> None:
    uses = [(seed, *names) for seed in (0, 1, 10) for names in [(), ("a",), ("b",), ("a", 0), ("a", 1), ("a", "b")]]
    uses += [(0, "ab"), (0, "a", 0, 1), (0, "a", 10)]
    assert len({derive_seed(*use) for use in uses}) == len(uses)


def test_what_is_drawn_within_depends_on_the_seed_and_the_names() -> None:
    def draw(seed: int, *names: str | int) -> float:
        with seed_torch(seed, *names):
            return torch.rand(()).item()

    draws = [draw(0, "a"), draw(0, "b"), draw(1, "a"), draw(0, "a", 1)]
    assert all(one != other for one, other in itertools.combinations(draws, 2))
    assert draw(0, "a") == draws[0]


def test_the_global_generator_goes_on_as_if_nothing_had_been() -> None:
    state = torch.get_rng_state()
    with seed_torch(0, "a"):
        torch.rand(3)
    assert torch.equal(torch.get_rng_state(), state)
