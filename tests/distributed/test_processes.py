"""Who the processes of a run are, and what they refuse, without starting any."""

import numpy as np
import pytest
import torch

from lowres_ssl.errors import ConfigError
from lowres_ssl.train import world
from lowres_ssl.train.world import SINGLE_PROCESS, World, read_world

SECOND = {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
THERE = {"MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}
SLURM = {"SLURM_PROCID": "3", "SLURM_NTASKS": "4", "SLURM_LOCALID": "1"}


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "rendezvous", lambda *_: iter([(torch.distributed.HashStore(), 0, 0)]))


def test_one_process_is_alone() -> None:
    assert read_world({}) is SINGLE_PROCESS
    assert read_world({"RANK": "0", "WORLD_SIZE": "1"}) is SINGLE_PROCESS
    assert SINGLE_PROCESS.is_main
    assert SINGLE_PROCESS.all_reduce_max(3, 1) == [3, 1]


def test_a_slurm_job_is_one_process_unless_submitit_started_its_tasks() -> None:
    assert read_world(SLURM | THERE) is SINGLE_PROCESS
    third = read_world(SLURM | THERE | {"SUBMITIT_EXECUTOR": "slurm"})
    assert (third.rank, third.size, third.local_rank, third.local_size) == (3, 4, 1, 2)
    assert not third.is_main


def test_torchrun_says_who_a_process_is() -> None:
    second = read_world(SECOND | THERE | SLURM | {"SUBMITIT_EXECUTOR": "slurm"})
    assert (second.rank, second.size, second.local_rank, second.local_size) == (1, 4, 1, 2)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (SECOND | THERE | {"RANK": "4"}, "RANK=4"),
        (SECOND | THERE | {"RANK": "-1"}, "RANK=-1"),
        (SECOND | THERE | {"WORLD_SIZE": "many"}, "WORLD_SIZE=many"),
        (SECOND, "MASTER_ADDR and MASTER_PORT"),
        (SECOND | {"MASTER_ADDR": "localhost"}, "wanted MASTER_PORT as well"),
    ],
)
def test_an_environment_that_makes_no_sense_is_refused(variables: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_world(variables)


def test_shares_are_the_batch_in_order() -> None:
    batch = np.arange(12)
    shares = [World(rank, 4).shard(batch) for rank in range(4)]
    assert np.array_equal(np.concatenate(shares), batch)
    assert {len(share) for share in shares} == {3}


@pytest.mark.parametrize(("batch_size", "instead"), [(10, 8), (4, 8), (7, 8), (2, 8), (66, 64)])
def test_batch_that_four_cannot_share_is_refused_with_one_that_they_can(batch_size: int, instead: int) -> None:
    four = World(0, 4)
    with pytest.raises(ConfigError, match=f"try batch_size={instead}$"):
        four.check_batch(batch_size)
    four.check_batch(instead)
    SINGLE_PROCESS.check_batch(batch_size)


@pytest.mark.parametrize(("images", "fits"), [(64, True), (65, True), (72, True), (76, True), (66, False), (68, False)])
def test_last_batch_that_four_cannot_share_is_refused(images: int, fits: bool) -> None:
    """A rest of 0 or 1 is no batch; one of 4 would leave one image each, of which BatchNorm has no variance."""
    SINGLE_PROCESS.check_last_batch(images, 16)
    if fits:
        World(0, 4).check_last_batch(images, 16)
    else:
        with pytest.raises(ConfigError, match="type keep_last_batch=false"):
            World(0, 4).check_last_batch(images, 16)
