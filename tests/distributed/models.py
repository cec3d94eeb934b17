"""What the processes of the tests train: in float64, with BatchNorm's statistics held fixed, on images of noise."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from method_files import METHODS, shrunk
from torch import Tensor, nn

from lowres_ssl.data.store import ImageStore
from lowres_ssl.device import Compute
from lowres_ssl.distributed import Processes
from lowres_ssl.history import Line
from lowres_ssl.methods import Method, build_method, find_method
from lowres_ssl.pretrain import Training, pretrain
from lowres_ssl.views.maker import ViewMaker

CPU = torch.device("cpu")
FP32 = Compute(CPU, "fp32")
CLASSES, WIDTH = 3, 8
TRAINED = [name for name in METHODS if find_method(name).trains]
TRAINING = Training(
    epochs=2,
    batch_size=8,
    keep_last_batch=True,
    joint=False,
    learning_rate=0.001,
    momentum=0.9,
    weight_decay=0.01,
    decay_norm_and_bias=False,
    schedule="cosine",
    warmup_epochs=0.5,
    checkpoint_every=1,
    seed=0,
)
ROWS = range(36)  # a last batch of 4, which 4 processes share as well
STEPS = 5
VIEWS = ViewMaker(
    image_size=12,
    mean=(0.5,) * 3,
    std=(0.25,) * 3,
    seed=0,
    crop_scale=(0.2, 1.0),
    crop_ratio=(0.75, 1.33),
    horizontal_flip=0.5,
    vertical_flip=0.5,
    right_angles=False,
    rotation_degrees=0.0,
    rotation_padding="zeros",
    jitter=0.8,
    brightness=0.4,
    contrast=0.4,
    saturation=0.0,
    hue=0.0,
    grey=0.0,
    blur=0.0,
    blur_kernel_fraction=0.2,
    blur_sigma=(0.1, 2.0),
    solarise=0.0,
    solarise_threshold=128,
)


class Double(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.double()


def models(name: str) -> tuple[nn.Module, Method]:
    """An encoder of two convolutions and the method's heads, the same in every process."""
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
    method = build_method(shrunk(METHODS[name]), features=WIDTH, classes=CLASSES, seed=0)
    for model in (encoder.double(), method.double()):
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.uniform_(-0.1, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                hold(module)
    return encoder, method


def hold(module: nn.Module) -> None:
    """It stays as in evaluation, whatever it is told."""
    module.eval()
    module.train = lambda mode=True: module  # type: ignore[method-assign]


def store() -> ImageStore:
    random = np.random.default_rng(0)
    return ImageStore(
        images=random.integers(0, 256, (40, 3, 16, 16), dtype=np.uint8),
        sizes=random.integers(16, 40, (40, 2), dtype=np.int32),
        ids=tuple(f"{number}.png" for number in range(40)),
        path=Path("nowhere"),
    )


def train(
    name: str,
    processes: Processes,
    checkpoint: Path,
    in_step: Callable[[int, nn.Module], None] = lambda step, encoder: None,
    **changes: Any,
) -> tuple[list[Line], dict[str, Tensor]]:
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
        store=store(),
        rows=ROWS,
        views=[VIEWS] * 2,
        training=TRAINING,
        compute=FP32,
        place="host",
        checkpoint=checkpoint,
        name=name,
        on_epoch=lambda _: None,
        labels=np.arange(40) % CLASSES if method.sees_labels else None,
        processes=processes,
        **changes,
    )
    return trained.history, {**encoder.state_dict(), **method.state_dict()}
