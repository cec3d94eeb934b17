"""What repeats: on one machine every byte; with another number of threads all that is drawn, and the loss nearly."""

import pytest
import torch
from experiments import Make, Threads, same
from torch import nn

from lowres_ssl.device import resolve_device
from lowres_ssl.encoders.from_config import build_backbone
from lowres_ssl.seeding import seed_torch

# Sums are taken in another order; relative, of an epoch's mean loss, in fp32 (docs/reliability.md). Without BatchNorm:
# over a batch of eight it makes several percent of a loss, within an epoch, of a difference in the last digits.
TOLERANCE = 1e-4


def without_norm(seed: int) -> nn.Module:
    with seed_torch(seed, "encoder"):
        layers = [nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 8, 3, padding=1), nn.ReLU()]
        encoder = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return encoder.to(memory_format=torch.channels_last)


def test_twice_the_same_gives_the_same_bytes_and_other_threads_nearly_the_same_loss(
    experiment: Make, threads: Threads
) -> None:
    runs, losses = [], []
    for number in (1, 1, 2):
        threads(number)
        run = experiment(encoders=without_norm, training={"epochs": 2})
        losses.append([line["loss"] for line in run.run().history])
        runs.append(run)
    assert losses[0] == losses[1]
    assert same(runs[0].weights(), runs[1].weights())
    assert losses[2] == pytest.approx(losses[0], rel=TOLERANCE)


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
