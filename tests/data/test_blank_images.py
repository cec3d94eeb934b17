"""Images of one colour are told of before anything trains on them."""

from pathlib import Path

import numpy as np
import pytest

from lowres_ssl.data.image_store import ImageStore
from lowres_ssl.data.prepare import describe_blank_images


@pytest.mark.parametrize(("blank", "note"), [(0, None), (1, None), (4, "4 of 40 images looked at are of one colour")])
@pytest.mark.parametrize("shade", [0, 90, 255])
def test_images_of_one_colour_are_counted(blank: int, note: str | None, shade: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 3, 48, 48), dtype=np.uint8)
    images[:blank] = shade
    images[:blank, :, 0, 0] = 20  # not byte for byte the same
    store = ImageStore(images, np.full((40, 2), 48, dtype=np.int32), tuple(map(str, range(40))), Path())
    notes = describe_blank_images(store)
    assert [each[: len(note or "")] for each in notes] == ([] if note is None else [note])
