"""What a method may bring: an EMA teacher, a queue, several crops, a teacher to keep, a class for each image.

Each trains by the real loop, resumes with the same bits, and has the loss and gradient of one process where two share a
batch: here a toy, the methods of the package in tests/train/test_resuming.py and tests/distributed/.
"""

import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from method_files import METHODS, shrunk
from tiny_training import CPU, TRAINING, VIEWS
from torch import Tensor, multiprocessing, nn
from torch.nn import functional as F

from lowres_ssl.data.image_store import ImageStore
from lowres_ssl.device import DevicePrecision
from lowres_ssl.errors import Interrupted
from lowres_ssl.methods.base import Method, Outputs, build_method, mlp
from lowres_ssl.methods.teacher import TeacherMethod
from lowres_ssl.seeding import seed_torch
from lowres_ssl.train.forward import ForwardPass
from lowres_ssl.train.loop import pretrain
from lowres_ssl.train.state import Execution, TrainingData, TrainingResult
from lowres_ssl.train.world import SINGLE_PROCESS, World

WIDTH = 8
FP32 = DevicePrecision(CPU, "fp32")


class ToyMoCo(TeacherMethod):
    """He et al., MoCo, 2020 (arXiv 1911.05722): keys of a moving average, and a queue of the keys before them."""

    queue: Tensor
    oldest: Tensor

    def __init__(self) -> None:
        super().__init__(momentum=0.95)
        self.projector = mlp(WIDTH, 16, 12)
        self.register_buffer("queue", F.normalize(torch.randn(24, 12), dim=1))
        self.register_buffer("oldest", torch.zeros((), dtype=torch.int64))

    def embed(self, features: Tensor) -> Outputs:
        return (self.projector(features),)

    def loss(self, outputs: Sequence[Outputs], labels: Tensor | None) -> dict[str, Tensor]:
        (query, _), (_, key) = outputs
        query, key = F.normalize(query.float()), F.normalize(key.float())
        positive = (query * key).sum(dim=1, keepdim=True)
        logits = torch.cat((positive, query @ self.queue.T.clone()), dim=1) / 0.2
        places = (self.oldest + torch.arange(len(key))) % len(self.queue)
        self.queue[places] = key
        self.oldest.copy_((self.oldest + len(key)) % len(self.queue))
        return {"loss": F.cross_entropy(logits, torch.zeros(len(query), dtype=torch.int64))}


Encoders = Callable[[int], nn.Module]


def built(name: str, seed: int = 0) -> Method:
    if name != "toy":
        return build_method(shrunk(METHODS[name]), features=WIDTH, images=40, seed=seed)
    with seed_torch(seed, "heads"):
        return ToyMoCo()


def train(
    name: str, encoder: nn.Module, store: ImageStore, checkpoint: Path, seed: int = 0
) -> tuple[TrainingResult, Method]:
    method = built(name, seed)
    trained = pretrain(
        encoder=encoder,
        method=method,
        data=TrainingData(store, np.arange(33), [VIEWS] * TRAINING.epochs),
        options=TRAINING,
        execution=Execution(FP32),
        checkpoint=checkpoint,
        name=name,
    )
    return trained, method


def weights(encoder: nn.Module, method: Method) -> dict[str, Tensor]:
    return {**encoder.state_dict(prefix="encoder."), **method.state_dict()}


def test_new_method_learns_and_resumes_with_the_same_bits(
    tiny_encoder: Encoders, tiny_store: ImageStore, tmp_path: Path
) -> None:
    encoder, started = tiny_encoder(0), built("toy")
    started.prepare(encoder)
    before = {key: value.clone() for key, value in weights(encoder, started).items()}
    result, method = train("toy", encoder, tiny_store, tmp_path / "through.pt")
    expected = weights(encoder, method)
    assert expected.keys() == before.keys()
    assert not any(torch.equal(value, before[key]) for key, value in expected.items() if value.ndim > 1)
    assert all(np.isfinite(line["loss"]) for line in result.history)

    stopped = tiny_encoder(0)
    steps = 0

    def stop(_module: nn.Module, _inputs: object) -> None:
        nonlocal steps
        steps += 1
        if steps == 11:
            signal.raise_signal(signal.SIGTERM)

    stopped.register_forward_pre_hook(stop)
    with pytest.raises(Interrupted):
        train("toy", stopped, tiny_store, tmp_path / "stopped.pt")
    resumed = tiny_encoder(7)
    again, other = train("toy", resumed, tiny_store, tmp_path / "stopped.pt", seed=7)
    assert [line["loss"] for line in again.history] == [line["loss"] for line in result.history]
    got = weights(resumed, other)
    assert all(torch.equal(got[key], value) for key, value in expected.items())


def test_kept_encoder_is_the_teacher_where_the_method_has_it_so(
    tiny_encoder: Encoders, tiny_store: ImageStore, tmp_path: Path
) -> None:
    encoder = tiny_encoder(0)
    result, method = train("dino", encoder, tiny_store, tmp_path / "checkpoint.pt")
    assert result.encoder is method.teacher.network[0]
    assert not torch.equal(result.encoder[0].weight, encoder[0].weight)


@pytest.mark.parametrize("joint", [True, False])
def test_small_crops_pass_together_or_one_by_one(tiny_encoder: Encoders, joint: bool) -> None:
    """In evaluation mode, where BatchNorm does not see the difference; views of one size share a pass."""
    encoder, method = tiny_encoder(0).eval(), built("dino").eval()
    method.prepare(encoder)
    passes = list[torch.Size]()
    encoder.register_forward_pre_hook(lambda _, inputs: passes.append(inputs[0].shape))
    views = [torch.randn(4, 3, size, size) for size in (12, 12, 6, 6, 6)]
    outputs = method.encode(encoder, views, joint=joint)
    for output, view in zip(outputs, views, strict=True):
        torch.testing.assert_close(output[0], method.embed(encoder(view))[0])
    assert [shape[0] for shape in passes[: -len(views)]] == ([8, 12] if joint else [4] * 5)


def share_a_batch(rank: int, folder: Path) -> None:
    """One of two processes: how far loss and gradients are from those of one process on the whole batch."""
    store = dist.FileStore(str(folder / "store"), 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    views = [torch.randn(8, 3, 12, 12, generator=torch.Generator().manual_seed(at)) for at in range(2)]
    gradients, losses = [], []
    for processes in (SINGLE_PROCESS, World(rank, 2, rank, 2, store)):
        with seed_torch(0, "encoder"):
            layers = nn.Conv2d(3, WIDTH, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
            encoder, method = nn.Sequential(*layers), built("toy")
        method.eval()  # BatchNorm over a share would have other statistics
        method.prepare(encoder)
        forward = ForwardPass(encoder, method, FP32, joint=True, processes=processes)
        for _ in range(2):  # the second sees the queue that the first left
            encoder.zero_grad()
            loss = forward([processes.shard(view) for view in views], None)[0]["loss"]
            loss.backward()
        losses.append(loss.detach())
        gradients.append(torch.cat([each.grad.flatten() for each in encoder.parameters()]))
    assert gradients[0].any()
    found = (losses[0] - losses[1]).abs().item(), (gradients[0] - gradients[1]).abs().max().item()
    torch.save(found, folder / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_that_share_a_batch_have_the_loss_and_gradient_of_one(tmp_path: Path) -> None:
    multiprocessing.start_processes(share_a_batch, (tmp_path,), nprocs=2, start_method="fork")
    for rank in range(2):
        assert max(torch.load(tmp_path / f"{rank}.pt", weights_only=True)) < 1e-5
