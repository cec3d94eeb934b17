"""One finished run for all tests of encoders that leave, made once by the commands as they are typed."""

import numpy as np
import pytest
from in_process import type_command
from made_runs import Made
from PIL import Image

from lowres_ssl import load_encoder
from lowres_ssl.inference.load import PortableEncoder

# Two runs: the one asked for and random initialisation beside it.
TYPED = (
    "pretrain",
    "method=dcl",
    "dataset=folder",
    "backbone=resnet18",
    "image_size=20",
    "epochs=1",
    "batch_size=8",
    "precision=fp32",
    "probe=[knn,linear,logistic]",
    "probe.knn.k=5",
    "probe.linear.epochs=3",
)


@pytest.fixture(scope="package")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Two classes of 45 noisy images each, 24 px, hard enough that a probe is wrong at times."""
    root = tmp_path_factory.mktemp("portable")
    random = np.random.default_rng(0)
    for place, label in enumerate(("dark ones", "größe")):
        (root / "data" / label).mkdir(parents=True)
        for number in range(45):
            shade = 100 + 12 * place + random.normal(0, 12, (1, 1, 3)) + random.normal(0, 30, (24, 24, 3))
            pixels = np.clip(shade, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / "data" / label / f"{number}.png")
    outputs = root / "outputs"
    assert type_command(*TYPED, f"dataset.root={root / 'data'}", f"output_dir={outputs}") == 0
    (run,) = (outputs / "pretrain").glob("folder-dcl-*")
    return Made(root / "data", outputs, run)


@pytest.fixture(scope="package")
def encoder(made: Made) -> PortableEncoder:
    return load_encoder(made.run)
