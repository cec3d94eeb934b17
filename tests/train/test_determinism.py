"""What repeats: on one machine every byte; with another number of threads all that is drawn, and the loss nearly."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import CPU, SIMCLR, TRAINING, VIEWS
from torch import Tensor, nn

from lowres_ssl.augment.sampling import FULL_VIEW
from lowres_ssl.data.image_store import ImageStore
from lowres_ssl.device import CHANNELS_LAST, DevicePrecision, resolve_device
from lowres_ssl.encoders.from_config import build_backbone
from lowres_ssl.methods.base import build_method
from lowres_ssl.seeding import seed_torch
from lowres_ssl.train.batches import BatchReader, iter_training_batches
from lowres_ssl.train.history import EpochLog
from lowres_ssl.train.loop import pretrain
from lowres_ssl.train.state import Execution, TrainingData
from lowres_ssl.train.world import SINGLE_PROCESS

# Sums are taken in another order; relative, of an epoch's mean loss, in fp32 (docs/reliability.md). Without BatchNorm:
# over a batch of eight it makes several percent of a loss, within an epoch, of a difference in the last digits.
TOLERANCE = 1e-4

Threads = Callable[[int], None]


@pytest.fixture
def threads() -> Iterator[Threads]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def trained(
    store: ImageStore, checkpoint: Path, encoder: nn.Module | None = None, features: int = 64, batch_size: int = 8
) -> tuple[list[EpochLog], dict[str, Tensor]]:
    """Two epochs: the history, and the encoder's weights. Three layers without BatchNorm unless there is an encoder."""
    if encoder is None:
        with seed_torch(0, "encoder"):
            layers = [nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU()]
            encoder = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        encoder = encoder.to(memory_format=torch.channels_last)
    done = pretrain(
        encoder=encoder,
        method=build_method(SIMCLR, features=features, seed=0),
        data=TrainingData(store, np.arange(32), [VIEWS] * 2),
        options=replace(TRAINING, epochs=2, batch_size=batch_size),
        execution=Execution(DevicePrecision(CPU, "fp32")),
        checkpoint=checkpoint,
        name="simclr on noise",
    )
    return done.history, encoder.state_dict()


def test_twice_the_same_gives_the_same_bytes_and_other_threads_nearly_the_same_loss(
    tiny_store: ImageStore, tmp_path: Path, threads: Threads
) -> None:
    threads(1)
    history, weights = trained(tiny_store, tmp_path / "one.pt")
    again, same = trained(tiny_store, tmp_path / "again.pt")
    assert [line["loss"] for line in again] == [line["loss"] for line in history]
    assert all(torch.equal(same[key], value) for key, value in weights.items())
    threads(2)
    other, _ = trained(tiny_store, tmp_path / "two.pt")
    for one, two in zip(history, other, strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=TOLERANCE)


def test_number_of_threads_changes_no_view(tiny_store: ImageStore, threads: Threads) -> None:
    made = []
    for number in (1, 2):
        threads(number)
        batches = iter_training_batches(
            TrainingData(tiny_store, np.arange(40), [VIEWS]),
            BatchReader(tiny_store, CPU, "host"),
            (FULL_VIEW, FULL_VIEW),
            epoch=0,
            first_step=0,
            options=TRAINING,
            processes=SINGLE_PROCESS,
            layout=CHANNELS_LAST,
        )
        made.append([torch.cat(views) for views, _ in batches])
    assert len(made[0]) == 5
    assert all(torch.equal(one, two) for one, two in zip(*made, strict=True))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_repeats_its_bytes_where_it_is_asked_to() -> None:
    compute = resolve_device("cuda", "bf16", deterministic=True).set_up_process()
    assert torch.are_deterministic_algorithms_enabled()
    assert compute.describe().endswith("bf16, deterministic")
    encoder, _ = build_backbone("resnet18", small_stem=False, zero_init_residual=False, seed=0)
    encoder.to(compute.device)
    images = torch.randn(16, 3, 64, 64, device=compute.device)
    gradients = []
    for _ in range(2):
        encoder.zero_grad()
        with compute.autocast():
            encoder(images).float().square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in encoder.parameters() if parameter.grad is not None])
    assert all(torch.equal(one, two) for one, two in zip(*gradients, strict=True))
    resolve_device("cuda", "bf16").set_up_process()
    assert not torch.are_deterministic_algorithms_enabled()
