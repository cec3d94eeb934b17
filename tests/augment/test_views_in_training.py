"""Speed changes no result: the loop's loss curve is that of a plain loop over views made one by one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from by_torchvision import by_torchvision
from test_augmentation import EVERYTHING
from tiny_training import TRAINING
from torch import nn

from lowres_ssl.augment.augmentation import Augmentation
from lowres_ssl.augment.crop import scale_boxes_to_store
from lowres_ssl.augment.sampling import hash_image_ids
from lowres_ssl.data.datasets.phantom import TISSUES, draw_image
from lowres_ssl.data.image_store import ImageStore
from lowres_ssl.device import DevicePrecision
from lowres_ssl.methods.base import Method, build_method
from lowres_ssl.seeding import derive_seed, seed_torch
from lowres_ssl.train.loop import pretrain
from lowres_ssl.train.optimizers import SGD
from lowres_ssl.train.state import Execution, TrainingData, TrainingOptions

FP32 = DevicePrecision(torch.device("cpu"), "fp32")
SIMCLR = {"name": "simclr", "projector_hidden": 32, "projector_output": 16, "temperature": 0.5}
# Views differ by up to 2 of 255, and each step starts from where the last one went; relative, of an epoch's mean loss.
TOLERANCE = 0.005
SHORT = replace(
    TRAINING,
    joint=True,
    optimizer=SGD(momentum=0.9, weight_decay=1e-4, decay_norm_and_bias=True),
    schedule="constant",
    warmup_epochs=0.0,
)
# All images in each batch: where crops differ by a part of a level, from the second step on batches of 8 or 16 make of
# it up to 2% of a loss, whether it is noise or another way to crop; three steps of 32 make 0.1%.
WHOLE = replace(SHORT, batch_size=32)


@pytest.fixture(scope="module")
def phantom() -> ImageStore:
    images = [draw_image(label, patient, 0) for label in TISSUES for patient in range(8)]
    pixels = np.stack(images).transpose(0, 3, 1, 2).copy()
    return ImageStore(pixels, np.full((32, 2), 96, dtype=np.int32), tuple(map(str, range(32))), Path())


def start() -> tuple[nn.Module, Method]:
    """No BatchNorm in the encoder: a ResNet on 16 views makes 5% of a loss, in 3 steps, of 1e-4 of noise in them."""
    with seed_torch(0, "encoder"):
        layers = [nn.Conv2d(3, 16, 5, stride=2), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU()]
        encoder = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return encoder, build_method(SIMCLR, features=32, seed=0)


def plain_loop(store: ImageStore, views: Augmentation, training: TrainingOptions) -> list[float]:
    """Image by image, contiguous NCHW, SGD without fusion: the mean loss of each epoch."""
    encoder, method = start()
    model = nn.ModuleDict({"encoder": encoder, "method": method}).train()
    optimiser = torch.optim.SGD(
        model.parameters(), training.learning_rate, training.optimizer.momentum, weight_decay=1e-4
    )
    keys, means = hash_image_ids(store.ids), []
    for epoch in range(training.epochs):
        generator = torch.Generator().manual_seed(derive_seed(training.seed, "order", epoch))
        losses = []
        for batch in torch.randperm(len(store.ids), generator=generator).split(training.batch_size):
            halves = []
            for number in (0, 1):
                made = []
                for row in batch.tolist():
                    size, key = store.sizes[[row]].astype(np.int64), keys[[row]]
                    parameters = views.sample(size, key, epoch=epoch, views=[number])
                    (box,) = scale_boxes_to_store(parameters.boxes, size, store.images.shape[2]).tolist()
                    made.append(by_torchvision(torch.from_numpy(store.images[row]), box, parameters, EVERYTHING))
                halves.append(torch.stack(made))
            embeddings = method.embed(encoder(torch.cat(halves)))[0].chunk(2)
            loss = method.loss([(embeddings[0],), (embeddings[1],)], None)["loss"]
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        means.append(float(np.mean(losses)))
    return means


def plain_curve(store: ImageStore, training: TrainingOptions) -> list[float]:
    means = plain_loop(store, Augmentation(**EVERYTHING), training)
    assert max(means) - min(means) > 10 * TOLERANCE, "it has to learn, or any curve would do"
    return means


@pytest.fixture(scope="module")
def plain(phantom: ImageStore) -> list[float]:
    return plain_curve(phantom, SHORT)


@pytest.fixture(scope="module")
def plain_of_whole_batches(phantom: ImageStore) -> list[float]:
    return plain_curve(phantom, WHOLE)


def curve(
    store: ImageStore, training: TrainingOptions, checkpoint: Path, compute: DevicePrecision = FP32, place: str = "host"
) -> list[float]:
    """The mean loss of each epoch of the loop."""
    encoder, method = start()
    trained = pretrain(
        encoder=encoder,
        method=method,
        data=TrainingData(store, np.arange(32), [Augmentation(**EVERYTHING)] * training.epochs, place),
        options=training,
        execution=Execution(compute),
        checkpoint=checkpoint,
        name="simclr",
    )
    return [line["loss"] for line in trained.history]


def test_loss_curve_is_that_of_a_plain_loop(phantom: ImageStore, plain: list[float], tmp_path: Path) -> None:
    assert curve(phantom, SHORT, tmp_path / "checkpoint.pt") == pytest.approx(plain, rel=TOLERANCE)


@pytest.mark.gpu
@pytest.mark.filterwarnings("default")  # what torch's compiler warns of is not ours
@pytest.mark.parametrize("place", ["host", "device"])
@pytest.mark.parametrize("compiled", [False, True])
def test_loss_curve_on_a_gpu_is_that_of_a_plain_loop_on_a_cpu(
    phantom: ImageStore,
    plain_of_whole_batches: list[float],
    place: str,
    compiled: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    compute = DevicePrecision(torch.device("cuda"), "fp32", compiled=compiled)
    ours = curve(phantom, WHOLE, tmp_path / "checkpoint.pt", compute, place)
    assert "cannot be compiled" not in capsys.readouterr().err
    assert ours == pytest.approx(plain_of_whole_batches, rel=TOLERANCE)
