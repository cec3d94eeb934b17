"""How large a config has images stored, and what the views lose by it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module
from PIL import Image

from lowres_ssl.augment.crop import crop_one_by_one, scale_boxes_to_store
from lowres_ssl.config.check import PretrainConfig, read_config, register_schemas
from lowres_ssl.data.catalogue import Catalogue, ImageRecord
from lowres_ssl.data.decode import decode_image
from lowres_ssl.data.prepare import get_storage_size

register_schemas()
HEIGHT, WIDTH = 460, 700  # as the images of BreaKHis


def stored_at(*words: str) -> int:
    records = [ImageRecord(f"{n}.png", "a", None, None, HEIGHT, WIDTH, f"{n}") for n in range(3)]
    catalogue = Catalogue("made-up", Path("nowhere"), tuple(records), ())
    with initialize_config_module("lowres_ssl.conf", version_base="1.3"):
        overrides = ["dataset=breast", "backbone=resnet18", "epochs=1", *words]
        config = read_config(compose("pretrain", overrides=overrides), PretrainConfig)
    return get_storage_size(config.dataset, catalogue, config.image_size)


@pytest.mark.parametrize(
    ("words", "side"),
    [
        (("recipe=paper",), 448),
        (("recipe=tuned",), 448),
        (("recipe=tuned", "image_size=64"), 128),
        (("recipe=released_code",), WIDTH),
        (("recipe=released_code", "image_size=64"), 512),
        (("recipe=released_code", "dataset.storage_size=null"), 448),
        (("recipe=released_code", "dataset.storage_size=100"), 100),
        (("dataset.storage_size=original",), WIDTH),
        (("dataset.storage_size=100",), 100),
    ],
)
def test_images_are_stored_at_twice_the_views_side_or_at_what_is_asked_for(words: tuple[str, ...], side: int) -> None:
    assert stored_at(*words) == side


def test_views_of_the_released_code_are_those_of_the_originals(tmp_path: Path) -> None:
    """Its crops of 8 to 10% of an image, cut from what is stored and from the original."""
    texture = np.random.default_rng(0).integers(0, 256, (HEIGHT // 4, WIDTH // 4), dtype=np.uint8)
    image = Image.fromarray(texture).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    image.save(tmp_path / "image.png")
    boxes = np.array([[5 * place, 9 * place, 140, 200] for place in range(50)])  # 8.7% of the area
    unflipped = np.zeros((len(boxes), 2), dtype=bool)
    whole = torch.from_numpy(np.array(image))[None, None].expand(len(boxes), -1, -1, -1)
    wanted = crop_one_by_one(whole, boxes, unflipped, 224)

    def error(side: int) -> float:
        stored, height, width = decode_image(tmp_path / "image.png", colour=False, size=side)
        places = scale_boxes_to_store(boxes, np.tile([[height, width]], (len(boxes), 1)), side)
        got = crop_one_by_one(
            torch.from_numpy(stored.copy())[None].expand(len(boxes), -1, -1, -1), places, unflipped, 224
        )
        return float((255 * (got - wanted)).pow(2).mean().sqrt())

    closer, further = error(stored_at("recipe=released_code")), error(stored_at("recipe=paper"))
    assert closer < 5  # of 255: a texture of 4 pixels, resampled twice
    assert further > 2 * closer
