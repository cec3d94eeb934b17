"""The cost of a step that docs/methods.md has for each method is the arithmetic that PyTorch counts."""

import re
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from method_files import METHODS
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lowres_ssl.encoders.base import list_fixed_encoders
from lowres_ssl.encoders.from_config import build_backbone
from lowres_ssl.methods.base import build_method

SIZE, BATCH = 224, 64
TRAINED = [name for name in METHODS if name not in list_fixed_encoders()]
PAGE = Path(__file__).parents[2] / "docs" / "methods.md"


@pytest.fixture(scope="module")
def flops() -> dict[str, int]:
    """Of a step of each method, with tensors that have a shape and no content, for which there is no autocast."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(torch, "autocast", lambda *_arguments, **_options: nullcontext())
        return {name: count_flops(name) for name in TRAINED}


def count_flops(name: str) -> int:
    encoder, width = build_backbone("resnet50", small_stem=False, zero_init_residual=False, seed=0)
    method = build_method(METHODS[name], features=width, classes=4, images=448, seed=0)
    method.prepare(encoder)
    nn.ModuleList((encoder, method)).to("meta").train()
    sizes = [round(kind.size * SIZE) for kind in method.view_kinds()]
    views = [torch.empty(BATCH, 3, size, size, device="meta") for size in sizes]
    labels = torch.empty(BATCH, dtype=torch.int64, device="meta") if method.takes_labels else None
    with FlopCounterMode(display=False) as counter:
        method.loss(method.encode(encoder, views, joint=True), labels)["loss"].backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("name", TRAINED)
def test_cost_in_the_table_is_the_count(flops: dict[str, int], name: str) -> None:
    pattern = rf"^\| `{name}` \| [^|]+ \| [^|]* \| (\d\.\d\d) \|[^|]*\|$"  # of the table with five columns
    rows = re.findall(pattern, PAGE.read_text(), re.MULTILINE)
    assert len(rows) == 1, f"{PAGE.name}: wanted one row for {name} in the table of costs"
    assert float(rows[0]) == round(flops[name] / flops["simclr"], 2)
