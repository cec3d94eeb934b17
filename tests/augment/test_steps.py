"""Each view's numbers in one array: what is read is what was packed, and what is not drawn changes nothing."""

import numpy as np
import pytest
import torch
from by_torchvision import select
from test_maker import ALWAYS, COUNT, EVERYTHING, KEYS, NOTHING, sizes

from lowres_ssl.augment.augmentation import Augmentation
from lowres_ssl.augment.colour import LUMA_WEIGHTS
from lowres_ssl.augment.pipeline import StepTensors, ViewSteps
from lowres_ssl.augment.sampling import AugmentationParameters, JitterOperation


def packed(settings: dict[str, object], channels: int = 3) -> tuple[AugmentationParameters, ViewSteps, StepTensors]:
    make = Augmentation(**settings)
    drawn, steps = make.parameters(sizes(), KEYS, epoch=0, view=0), make.steps(channels)
    return drawn, steps, steps.read(torch.from_numpy(steps.pack(drawn)))


def test_what_is_read_is_what_was_drawn() -> None:
    drawn, _, numbers = packed(EVERYTHING)
    np.testing.assert_array_equal(numbers.transposed, drawn.quarter_turns % 2 == 1)
    np.testing.assert_array_equal(numbers.rotated, drawn.angle != 0)
    np.testing.assert_array_equal(numbers.hue_turned, drawn.jitter)
    np.testing.assert_array_equal(numbers.solarised, drawn.solarise)
    cosine, sine = numbers.direction.unbind(1)
    np.testing.assert_allclose(torch.atan2(sine, cosine), np.deg2rad(drawn.angle))
    np.testing.assert_allclose(numbers.offsets[:, 0] - 2.5, drawn.hue, atol=1e-12)
    np.testing.assert_array_equal(numbers.weights[:, 0] == 1, ~drawn.blur)
    np.testing.assert_allclose(numbers.weights[:, 0] + 2 * numbers.weights[:, 1:].sum(dim=1), 1)
    np.testing.assert_allclose(numbers.grey[drawn.grey], np.tile(LUMA_WEIGHTS, (int(drawn.grey.sum()), 3, 1)))


@pytest.mark.parametrize("channels", [3, 1])
def test_every_view_has_its_blends_in_its_own_order_on_its_side_of_the_hue(channels: int) -> None:
    drawn, steps, numbers = packed(ALWAYS, channels)
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
        for side, operations in ((numbers.before, order[:hue]), (numbers.after, order[hue + 1 :])):
            for place, blend in enumerate(side):
                nothing = (np.eye(channels), 0 * luma)
                matrix, means = matrices[operations[place]] if place < len(operations) else nothing
                np.testing.assert_allclose(blend[row, :-1], matrix, atol=1e-12)
                np.testing.assert_allclose(blend[row, -1], means, atol=1e-12)


@pytest.mark.parametrize("settings", [NOTHING, EVERYTHING | {"jitter": 0.0, "grey": 0.0, "blur": 0.0, "solarise": 0.0}])
def test_what_is_never_drawn_is_no_step(settings: dict[str, object]) -> None:
    _, steps, numbers = packed(settings)
    assert (steps.operations, steps.grey, steps.blur_kernel, steps.solarise_threshold) == ((), False, 0, None)
    assert numbers.before == numbers.after == ()


def test_a_view_that_is_not_drawn_for_has_numbers_that_change_nothing() -> None:
    drawn, _, numbers = packed(EVERYTHING | {"jitter": 0.5})
    still = ~drawn.jitter
    assert still.any()
    assert not still.all()
    identity = torch.cat([torch.eye(3), torch.zeros(1, 3)]).double()
    for blend in (*numbers.before, *numbers.after):
        assert (blend[still] == identity).all()
    assert (numbers.grey[~drawn.grey] == torch.eye(3)).all()
    assert not numbers.hue_turned[still].any()


@pytest.mark.parametrize(("channels", "operations"), [(3, tuple(JitterOperation)), (1, tuple(JitterOperation)[:2])])
def test_a_grey_image_has_neither_hue_nor_saturation(channels: int, operations: tuple[JitterOperation, ...]) -> None:
    assert packed(EVERYTHING, channels)[1].operations == operations


def test_how_many_numbers_there_are_depends_on_no_draw() -> None:
    make = Augmentation(**EVERYTHING)
    shapes = {make.steps(3).pack(make.parameters(sizes(), KEYS, epoch=epoch, view=0)).shape for epoch in range(20)}
    assert len(shapes) == 1
