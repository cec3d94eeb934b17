"""The whole pipeline: the same view whatever the batch, torchvision's result with the same parameters, refusals."""

import numpy as np
import pytest
import torch
from by_torchvision import by_torchvision, select
from tiny_training import VIEW_SETTINGS
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from lowres_ssl.augment import augmentation, crop
from lowres_ssl.augment.augmentation import Augmentation, make_evaluation_view
from lowres_ssl.augment.sampling import hash_image_ids
from lowres_ssl.errors import ConfigError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PAPER = VIEW_SETTINGS | {
    "image_size": 32,
    "mean": MEAN,
    "std": STD,
    "crop_scale": (0.08, 1.0),
    "crop_ratio": (3 / 4, 4 / 3),
}
PAPER |= {"vertical_flip": 0.0, "jitter": 1.0, "saturation": 0.2, "hue": 0.1, "grey": 0.2, "solarise": 0.1}
PAPER |= {"blur": 0.5, "blur_kernel_fraction": 0.1, "blur_sigma_fraction": (0.1 / 32, 2 / 32)}
EVERYTHING = PAPER | {"vertical_flip": 0.5, "right_angles": True, "rotation_degrees": 20.0, "rotation_padding": "zeros"}
EVERYTHING |= {"elastic": 0.5, "stain": 0.5, "gamma": 0.5}
NOTHING = PAPER | dict.fromkeys(augmentation.PROBABILITIES, 0.0) | {"crop_scale": (1.0, 1.0)}
# Steps that take all images, before steps that take some.
ALL_THEN_SOME = EVERYTHING | {"horizontal_flip": 1.0, "grey": 1.0, "blur": 0.5, "solarise": 0.2}
ALWAYS = EVERYTHING | dict.fromkeys(augmentation.PROBABILITIES, 1.0)
COUNT = 24
KEYS = hash_image_ids([f"{number}.png" for number in range(COUNT)])


def pictures(channels: int = 3, stored: int = 64) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(COUNT, channels, 9, 9, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(stored, stored), mode="bicubic")
    return smooth.mul(300).sub(20).clamp(0, 255).to(torch.uint8)


def sizes() -> np.ndarray:
    return np.random.default_rng(0).integers(40, 300, (COUNT, 2))


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize(
    "settings",
    [PAPER, EVERYTHING, NOTHING, ALL_THEN_SOME, ALWAYS],
    ids=["paper", "everything", "nothing", "all_then_some", "always"],
)
def test_the_whole_pipeline_is_torchvisions(channels, settings):
    images, size = pictures(channels), sizes()
    make = Augmentation(**settings)
    (views,) = make(images, size, KEYS, epoch=1, views=[0])
    assert views.shape == (COUNT, 3, 32, 32)
    assert views.dtype == torch.float32
    parameters = make.sample(size, KEYS, epoch=1, views=[0])
    boxes = crop.scale_boxes_to_store(parameters.boxes, size, 64).tolist()
    for row, image in enumerate(images):
        one = select(parameters, slice(row, row + 1))
        expected = by_torchvision(image, boxes[row], one, settings)
        levels = (views[row] - expected).abs() * 255 * min(STD)
        # A value within rounding of the solarisation's threshold may land on its other side; it is mirrored there.
        if one.solarise[0]:
            assert (levels > 2).float().mean() < 0.01
        else:
            assert levels.max() <= 2


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("rows", [np.arange(COUNT)[::-1].copy(), np.array([5]), np.array([20, 3, 3, 11])])
def test_a_view_does_not_depend_on_the_batch_around_it(channels, rows, monkeypatch):
    monkeypatch.setattr(augmentation, "CPU_CHUNK_VALUES", 7 * channels * 32 * 32)  # nor on where a chunk begins
    images, size, make = pictures(channels), sizes(), Augmentation(**EVERYTHING)
    (whole,) = make(images, size, KEYS, epoch=2, views=[1])
    (part,) = make(images[torch.from_numpy(rows)], size[rows], KEYS[rows], epoch=2, views=[1])
    torch.testing.assert_close(part, whole[torch.from_numpy(rows)], rtol=0, atol=1e-5)


def test_the_same_call_gives_the_same_bits_whatever_torchs_generator_does():
    torch.manual_seed(1)
    first, second = Augmentation(**PAPER)(pictures(), sizes(), KEYS, epoch=0, views=[0, 1])
    torch.manual_seed(2)
    state, again = torch.get_rng_state(), Augmentation(**PAPER)
    assert torch.equal(again(pictures(), sizes(), KEYS, epoch=0, views=[0])[0], first)
    assert torch.equal(torch.get_rng_state(), state)
    (other,) = again(pictures(), sizes(), KEYS, epoch=1, views=[0])
    assert not torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("image_size", [32, 64, 80])
def test_evaluation_view_is_the_whole_image_resized(channels, image_size):
    images = pictures(channels)
    views = make_evaluation_view(images, image_size=image_size, mean=(0.5,), std=(0.25,))
    resized = tv.resize(images, [image_size, image_size], antialias=True).float() / 255
    assert views.shape == (COUNT, 3, image_size, image_size)
    torch.testing.assert_close(views, ((resized - 0.5) / 0.25).expand(-1, 3, -1, -1), rtol=0, atol=1.001 / 255 / 0.25)


REFUSED = [
    ("image_size", 1),
    ("mean", (0.5, 0.5)),
    ("std", (0.2, 0.0, 0.2)),
    ("seed", -1),
    ("crop_scale", (0.0, 1.0)),
    ("crop_scale", (0.5, 1.2)),
    ("crop_ratio", (1.0, float("inf"))),
    ("horizontal_flip", 1.1),
    ("rotation_degrees", 181.0),
    ("rotation_padding", "edge"),
    ("jitter", float("nan")),
    ("brightness", -0.1),
    ("hue", 0.6),
    ("blur_kernel_fraction", 0.0),
    ("blur_sigma_fraction", (0.1, 2.0)),
    ("solarise_threshold", 256),
    ("elastic", -0.1),
    ("elastic_strength", 0.3),
    ("stain", 1.5),
    ("stain_strength", 1.1),
    ("gamma", float("nan")),
    ("gamma_strength", float("inf")),
]


@pytest.mark.parametrize(("key", "value"), REFUSED)
def test_a_setting_out_of_range_is_refused_in_one_line(key, value):
    with pytest.raises(ConfigError) as caught:
        Augmentation(**PAPER | {key: value})
    message = str(caught.value)
    got = list(value) if isinstance(value, tuple) else value
    assert f"{key}={got}: wanted " in message
    assert "\n" not in message


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("channels", [3, 1])
def test_views_on_a_gpu_are_those_on_the_cpu(channels):
    make = Augmentation(**EVERYTHING)
    (expected,) = make(pictures(channels), sizes(), KEYS, epoch=0, views=[0])
    (views,) = make(pictures(channels).cuda(), sizes(), KEYS, epoch=0, views=[0])
    assert views.device.type == "cuda"
    drawn = make.sample(sizes(), KEYS, epoch=0, views=[0])
    kept = ~drawn.solarise & ~drawn.gamma  # near black, a power makes several levels of the rounding of a crop
    assert ((views.cpu() - expected).abs()[kept] * 255 * min(STD)).max() <= 2.4
