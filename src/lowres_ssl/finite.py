"""Whether a tensor holds nothing but numbers, from its extremes: less time than asking each element takes."""

import torch
from torch import Tensor


def is_finite(tensor: Tensor) -> Tensor:
    """bool [], on the tensor's device: true if no element is NaN or infinite. Any shape; dense, float16 to
    float64, bfloat16 or whole numbers."""
    if not tensor.numel():
        return torch.ones((), dtype=torch.bool, device=tensor.device)
    smallest, largest = tensor.aminmax()  # NaN if any element is
    return smallest.isfinite() & largest.isfinite()
