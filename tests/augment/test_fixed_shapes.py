"""Views as one function of two tensors: the numbers are those of the other way, no shape and no launch depends on a
draw, and a compiler takes it whole. What a GPU would be given to do is counted on fake tensors, without one."""

from typing import Any

import numpy as np
import pytest
import torch
from by_torchvision import select
from fake_cuda import fake_cuda
from in_process import compose_config
from test_augmentation import ALL_THEN_SOME, ALWAYS, COUNT, EVERYTHING, KEYS, NOTHING, PAPER, STD, pictures, sizes
from torch import Tensor

from lowres_ssl.augment import augmentation
from lowres_ssl.augment.augmentation import Augmentation
from lowres_ssl.augment.crop import crop_by_matrices, pack_crop_axes
from lowres_ssl.augment.from_config import build_views
from lowres_ssl.augment.operations import LUMA_WEIGHTS
from lowres_ssl.augment.sampling import JitterOperation
from lowres_ssl.device import copy_array_to_device

SETTINGS = {
    "paper": PAPER,
    "everything": EVERYTHING,
    "mirrored": EVERYTHING | {"rotation_padding": "reflection"},
    "nothing": NOTHING,
    "all_then_some": ALL_THEN_SOME,
    "always": ALWAYS,
    "hue_alone": EVERYTHING | {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0},
    "xray": NOTHING | {"horizontal_flip": 0.5, "rotation_degrees": 10.0, "jitter": 0.8, "saturation": 0.0, "hue": 0.0},
}
LEVEL = 255 * min(STD)  # of a difference between normalised values


def fixed_shapes(make: Augmentation, images: Tensor, *, epoch: int, views: tuple[int, ...] = (0, 1)) -> Tensor:
    packed = torch.from_numpy(make.pack(sizes(), KEYS, images.shape, epoch=epoch, views=views))
    return make.fixed_shapes(images.shape[1], images.device)(images, packed)


@pytest.fixture
def crops_by_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU's crops are rounded to whole levels; without that, views made in the two ways can be compared closely."""

    def crop(images: Tensor, boxes: np.ndarray, flips: np.ndarray, size: int) -> Tensor:
        numbers = torch.from_numpy(pack_crop_axes(boxes, flips, size).astype(np.float32))
        return crop_by_matrices(images, numbers, size).contiguous()

    monkeypatch.setattr(augmentation, "crop_one_by_one", crop)


@pytest.mark.usefixtures("crops_by_matrices")
@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_views_are_those_made_image_by_image(channels: int, settings: dict[str, Any]) -> None:
    make = Augmentation(**settings)
    for epoch in range(4):
        views = fixed_shapes(make, pictures(channels), epoch=epoch)
        others = make(pictures(channels), sizes(), KEYS, epoch=epoch, views=(0, 1))
        assert views.shape == (2, COUNT, 3, 32, 32)
        for number, (ours, other) in enumerate(zip(views, others, strict=True)):
            assert ours.is_contiguous(memory_format=torch.channels_last)
            levels = (ours - other).abs() * LEVEL
            solarised = make.sample(sizes(), KEYS, epoch=epoch, views=[number]).solarise
            # A value at the solarisation's threshold may land on its other side.
            assert (levels > 0.001).float().mean() < 1e-3
            assert solarised.all() or levels[~solarised].max() <= 0.001


def test_the_same_call_gives_the_same_bits_and_autocast_changes_none() -> None:
    one = fixed_shapes(Augmentation(**EVERYTHING), pictures(), epoch=0)
    assert torch.equal(fixed_shapes(Augmentation(**EVERYTHING), pictures(), epoch=0), one)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(fixed_shapes(Augmentation(**EVERYTHING), pictures(), epoch=0), one)


@pytest.mark.filterwarnings("default")  # what torch's compiler warns of is not ours
@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("settings", [PAPER, EVERYTHING, NOTHING], ids=["paper", "everything", "nothing"])
def test_a_compiler_takes_it_as_one_graph_and_compiles_once(channels: int, settings: dict[str, Any]) -> None:
    torch._dynamo.reset()
    make = Augmentation(**settings)
    function = make.fixed_shapes(channels, torch.device("cpu"))
    graphs = 0

    def backend(graph: torch.fx.GraphModule, examples: list[Tensor]) -> Any:
        nonlocal graphs
        graphs += 1
        return torch._dynamo.lookup_backend("aot_eager")(graph, examples)

    compiled = torch.compile(function, fullgraph=True, dynamic=False, backend=backend)
    for epoch in range(3):
        packed = torch.from_numpy(make.pack(sizes(), KEYS, pictures(channels).shape, epoch=epoch, views=(0, 1)))
        ours, expected = compiled(pictures(channels), packed), function(pictures(channels), packed)
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)
        assert ours.stride() == expected.stride()
    assert graphs == 1
    torch._dynamo.reset()


# docs/speed.md has the numbers.
RECIPES = [
    (["recipe=paper"], 3, 80),
    (["recipe=tuned", "images=any"], 3, 76),
    (["recipe=tuned", "images=histology"], 3, 73),
    (["recipe=tuned", "images=xray"], 1, 36),
    (["recipe=tuned", "images=histology", "views.elastic=0.5"], 3, 77),
    (["recipe=tuned", "images=histology", "views.stain=0.5"], 3, 80),
    (["recipe=tuned", "images=histology", "views.gamma=0.5"], 3, 74),
    (["recipe=tuned", "images=xray", "views.elastic=0.5", "views.stain=0.5", "views.gamma=0.5"], 1, 42),
]


@pytest.mark.parametrize(("words", "channels", "kernels"), RECIPES)
def test_both_views_of_a_batch_take_a_few_launches_and_two_copies(
    words: list[str], channels: int, kernels: int
) -> None:
    (make,), batch = build_views(compose_config("dataset=phantom", "epochs=1", *words)), np.arange(COUNT)
    with fake_cuda() as gpu:
        resident = torch.empty(100, channels, 448, 448, dtype=torch.uint8, device="cuda")
        make.fixed_shapes(channels, resident.device)
        for epoch in range(3):
            gpu.operations.clear()
            images = resident.index_select(0, copy_array_to_device(batch, resident.device))
            first, second = make(images, sizes(), KEYS, epoch=epoch, views=(0, 1))
            assert first.shape == second.shape == (COUNT, 3, 224, 224)
            assert first.device.type == "cuda"
            assert first.is_contiguous(memory_format=torch.channels_last)
            assert gpu.count("wait") == 0, gpu
            assert gpu.count("copy") == 2, gpu
            assert gpu.count("launch") <= kernels + 1, gpu  # and one that takes the batch's images


@pytest.mark.parametrize("channels", [3, 1])
def test_every_view_has_its_blends_in_its_own_order_on_its_side_of_the_hue(channels: int) -> None:
    make = Augmentation(**ALWAYS)
    drawn, steps = make.sample(sizes(), KEYS, epoch=0, views=[0]), make.steps(channels)
    blends = steps.read(torch.from_numpy(steps.pack(drawn)))["blends"]
    luma = np.array(LUMA_WEIGHTS if channels == 3 else [1.0])
    for row in range(COUNT):
        one = select(drawn, slice(row, row + 1))
        matrices = {
            JitterOperation.BRIGHTNESS: (one.brightness[0] * np.eye(channels), 0 * luma),
            JitterOperation.CONTRAST: (one.contrast[0] * np.eye(channels), (1 - one.contrast[0]) * luma),
            JitterOperation.SATURATION: (
                one.saturation[0] * np.eye(channels) + (1 - one.saturation[0]) * luma,
                0 * luma,
            ),
        }
        order = [operation for operation in one.order[0] if operation in steps.operations]
        hue = order.index(JitterOperation.HUE) if channels == 3 else len(order)
        for side, operations in zip(blends[row], (order[:hue], order[hue + 1 :]), strict=False):
            for place, blend in enumerate(side):
                nothing = (np.eye(channels), 0 * luma)
                matrix, means = matrices[operations[place]] if place < len(operations) else nothing
                np.testing.assert_allclose(blend[:-1], matrix, atol=1e-12)
                np.testing.assert_allclose(blend[-1], means, atol=1e-12)
