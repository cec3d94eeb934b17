"""What the processes of the tests train: in float64, BatchNorm's statistics held where asked, on images of noise."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from method_files import METHODS, shrunk
from tiny_training import CPU, TRAINING, VIEWS, noise_store
from torch import Tensor, nn

from lowres_ssl.device import DevicePrecision
from lowres_ssl.encoders.base import list_fixed_encoders
from lowres_ssl.methods.base import Method, build_method
from lowres_ssl.train.history import EpochLog
from lowres_ssl.train.loop import pretrain
from lowres_ssl.train.state import Execution, TrainingData
from lowres_ssl.train.world import World

FP32 = DevicePrecision(CPU, "fp32")
CLASSES, WIDTH = 3, 8
TRAINED = [name for name in METHODS if name not in list_fixed_encoders()]
SHORT = replace(TRAINING, epochs=2, keep_last_batch=True, learning_rate=0.001)
ROWS = range(36)  # a last batch of 4, which 4 processes share as well
STEPS = 5


class Double(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.double()


def models(name: str, *, held: bool = True) -> tuple[nn.Module, Method]:
    """An encoder of two convolutions and the method's heads, the same in every process. `held`: with BatchNorm's
    statistics as they are, instead of the batch's."""
    torch.manual_seed(1)
    encoder = nn.Sequential(
        Double(),
        nn.Conv2d(3, WIDTH, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(WIDTH),
        nn.ReLU(),
        nn.Conv2d(WIDTH, WIDTH, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(WIDTH),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    method = build_method(shrunk(METHODS[name]), features=WIDTH, classes=CLASSES, images=40, seed=0)
    for model in (encoder.double(), method.double()):
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.uniform_(-0.1, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                if held:
                    hold(module)
    return encoder, method


def hold(module: nn.Module) -> None:
    """It stays as in evaluation, whatever it is told."""
    module.eval()
    module.train = lambda mode=True: module


def train(
    name: str,
    processes: World,
    checkpoint: Path,
    in_step: Callable[[int, nn.Module], None] = lambda step, encoder: None,
    checkpoint_seconds: float = 60.0,
    sync_batch_norm: bool = False,
) -> tuple[list[EpochLog], dict[str, Tensor]]:
    """The history and the weights. `in_step` is called within each step, counted from 1."""
    encoder, method = models(name)
    steps = 0

    def hook(module: nn.Module, _inputs: object) -> None:
        nonlocal steps
        steps += 1
        if steps % 2:  # a view each
            in_step((steps + 1) // 2, module)

    encoder.register_forward_pre_hook(hook)
    trained = pretrain(
        encoder=encoder,
        method=method,
        data=TrainingData(
            noise_store(),
            np.array(ROWS),
            [VIEWS] * 2,
            labels=np.arange(40) % CLASSES if method.takes_labels else None,
        ),
        options=replace(SHORT, checkpoint_seconds=checkpoint_seconds),
        execution=Execution(FP32, processes, sync_batch_norm=sync_batch_norm),
        checkpoint=checkpoint,
        name=name,
    )
    return trained.history, {**encoder.state_dict(), **method.state_dict()}
