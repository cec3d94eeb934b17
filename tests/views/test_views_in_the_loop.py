"""Speed changes no result: the loop's loss curve is that of a plain loop over views made one by one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from by_torchvision import by_torchvision
from test_views_maker import EVERYTHING
from tiny_training import TRAINING
from torch import nn

from lowres_ssl.data.phantom import TISSUES, draw
from lowres_ssl.data.store import ImageStore
from lowres_ssl.device import Compute
from lowres_ssl.methods import Method, build_method
from lowres_ssl.pretrain import pretrain
from lowres_ssl.randomness import derive, seeded
from lowres_ssl.views.crop import boxes_in_store
from lowres_ssl.views.maker import ViewMaker, image_keys

SIMCLR = {"name": "simclr", "projector_hidden": 32, "projector_output": 16, "temperature": 0.5}
# Views differ by up to 2 of 255, and each step starts from where the last one went; relative, of an epoch's mean loss.
TOLERANCE = 0.005
SHORT = replace(
    TRAINING, joint=True, weight_decay=1e-4, decay_norm_and_bias=True, schedule="constant", warmup_epochs=0.0
)


@pytest.fixture(scope="module")
def phantom() -> ImageStore:
    images = [draw(label, patient, 0) for label in TISSUES for patient in range(8)]
    pixels = np.stack(images).transpose(0, 3, 1, 2).copy()
    return ImageStore(pixels, np.full((32, 2), 96, dtype=np.int32), tuple(map(str, range(32))), Path())


def start() -> tuple[nn.Module, Method]:
    """No BatchNorm in the encoder: a ResNet on 16 views makes 5% of a loss, in 3 steps, of 1e-4 of noise in them."""
    with seeded(0, "encoder"):
        layers = [nn.Conv2d(3, 16, 5, stride=2), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU()]
        encoder = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return encoder, build_method(SIMCLR, features=32, seed=0)


def plain_loop(store: ImageStore, views: ViewMaker) -> list[float]:
    """Image by image, contiguous NCHW, SGD without fusion: the mean loss of each epoch."""
    encoder, method = start()
    model = nn.ModuleDict({"encoder": encoder, "method": method}).train()
    optimiser = torch.optim.SGD(
        model.parameters(), lr=SHORT.learning_rate, momentum=SHORT.momentum, weight_decay=SHORT.weight_decay
    )
    keys, means = image_keys(store.ids), []
    for epoch in range(SHORT.epochs):
        generator = torch.Generator().manual_seed(derive(SHORT.seed, "order", epoch))
        losses = []
        for batch in torch.randperm(len(store.ids), generator=generator).split(SHORT.batch_size):
            halves = []
            for number in (0, 1):
                made = []
                for row in batch.tolist():
                    size, key = store.sizes[[row]].astype(np.int64), keys[[row]]
                    parameters = views.parameters(size, key, epoch=epoch, view=number)
                    (box,) = boxes_in_store(parameters.boxes, size, store.images.shape[2]).tolist()
                    made.append(by_torchvision(torch.from_numpy(store.images[row]), box, parameters, EVERYTHING))
                halves.append(torch.stack(made))
            embeddings = method.embed(encoder(torch.cat(halves)))[0].chunk(2)
            loss = method.loss((embeddings[0],), (embeddings[1],))["loss"]
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        means.append(float(np.mean(losses)))
    return means


def test_loss_curve_is_that_of_a_plain_loop(phantom: ImageStore, tmp_path: Path) -> None:
    views = ViewMaker(**EVERYTHING)
    encoder, method = start()
    trained = pretrain(
        encoder=encoder,
        method=method,
        store=phantom,
        rows=range(32),
        views=[views] * SHORT.epochs,
        training=SHORT,
        compute=Compute(torch.device("cpu"), "fp32"),
        place="host",
        checkpoint=tmp_path / "checkpoint.pt",
        name="simclr",
        on_epoch=lambda history: None,
    )
    ours, plain = [line["loss"] for line in trained.history], plain_loop(phantom, views)
    assert max(plain) - min(plain) > 10 * TOLERANCE, "it has to learn, or any curve would do"
    assert ours == pytest.approx(plain, rel=TOLERANCE)
