"""A tensor is finite if each of its elements is, whatever its shape, type and layout."""

import math

import pytest
import torch

from lowres_ssl.encoders.weights_file import all_finite

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(), (1,), (37,), (5, 3, 7, 9), (300, 301)])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_element_that_is_no_number_is_noticed_wherever_it_is(
    dtype: torch.dtype, shape: tuple[int, ...], bad: float
) -> None:
    tensor = torch.linspace(-60_000, 60_000, math.prod(shape)).reshape(shape).to(dtype)
    assert all_finite(tensor)
    for place in {0, tensor.numel() // 2, tensor.numel() - 1}:
        spoilt = tensor.clone()
        spoilt.view(-1)[place] = bad
        assert not all_finite(spoilt)
        assert not all_finite(spoilt.expand(2, *shape).transpose(0, -1))


def test_no_elements_and_whole_numbers_are_finite() -> None:
    assert all_finite(torch.empty(0, 8))
    assert all_finite(torch.arange(-4, 4))
