"""Each view's numbers in one array: what is read is what was packed, and what is not drawn changes nothing."""

import numpy as np
import pytest
import torch
from by_torchvision import select
from test_augmentation import ALWAYS, COUNT, KEYS, sizes

from lowres_ssl.augment.augmentation import Augmentation
from lowres_ssl.augment.operations import LUMA_WEIGHTS
from lowres_ssl.augment.pipeline import StepTensors, ViewSteps
from lowres_ssl.augment.sampling import AugmentationParameters, JitterOperation


def packed(settings: dict[str, object], channels: int = 3) -> tuple[AugmentationParameters, ViewSteps, StepTensors]:
    make = Augmentation(**settings)
    drawn, steps = make.sample(sizes(), KEYS, epoch=0, views=[0]), make.steps(channels)
    return drawn, steps, steps.read(torch.from_numpy(steps.pack(drawn)))


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
