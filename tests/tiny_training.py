"""A training of seconds: images of noise, views of 12 pixels, SimCLR with small heads."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from lowres_ssl.augment.augmentation import Augmentation
from lowres_ssl.data.image_store import ImageStore
from lowres_ssl.seeding import seed_torch
from lowres_ssl.train.optimizers import SGD
from lowres_ssl.train.state import TrainingOptions

CPU = torch.device("cpu")
SIMCLR = {"name": "simclr", "projector_hidden": 16, "projector_output": 16, "temperature": 0.5}
TRAINING = TrainingOptions(
    epochs=3,
    batch_size=8,
    keep_last_batch=False,
    joint=False,
    learning_rate=0.05,
    optimizer=SGD(momentum=0.9, weight_decay=0.01, decay_norm_and_bias=False),
    schedule="cosine",
    warmup_epochs=0.5,
    checkpoint_seconds=60.0,
    seed=0,
)
VIEW_SETTINGS = {
    "image_size": 12,
    "mean": (0.5,) * 3,
    "std": (0.25,) * 3,
    "seed": 0,
    "crop_scale": (0.2, 1.0),
    "crop_ratio": (0.75, 1.33),
    "horizontal_flip": 0.5,
    "vertical_flip": 0.5,
    "right_angles": False,
    "rotation_degrees": 0.0,
    "rotation_padding": "zeros",
    "jitter": 0.8,
    "brightness": 0.4,
    "contrast": 0.4,
    "saturation": 0.0,
    "hue": 0.0,
    "grey": 0.0,
    "blur": 0.0,
    "blur_kernel_fraction": 0.2,
    "blur_sigma_fraction": (0.01, 0.1),
    "solarise": 0.0,
    "solarise_threshold": 128,
    "elastic": 0.0,
    "elastic_strength": 0.05,
    "stain": 0.0,
    "stain_strength": 0.05,
    "gamma": 0.0,
    "gamma_strength": 0.5,
}
VIEWS = Augmentation(**VIEW_SETTINGS)


def build_tiny_encoder(seed: int) -> nn.Module:
    """An encoder of three convolutions and 8 features, initialised from a seed."""
    with seed_torch(seed, "tiny"):
        encoder = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 1, bias=False),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
    return encoder.to(memory_format=torch.channels_last)


def noise_store() -> ImageStore:
    """40 images of 16 x 16 pixels of noise, on no disk."""
    random = np.random.default_rng(0)
    return ImageStore(
        images=random.integers(0, 256, (40, 3, 16, 16), dtype=np.uint8),
        sizes=random.integers(16, 40, (40, 2), dtype=np.int32),
        ids=tuple(f"{number}.png" for number in range(40)),
        path=Path("nowhere"),
    )
