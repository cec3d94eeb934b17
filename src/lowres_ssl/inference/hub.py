"""A folder ready for a model hub: weights, config, preprocessing, model card. It names no patient and no path."""

from pathlib import Path
from typing import Any

from lowres_ssl.encoders.weights_file import save_tensors
from lowres_ssl.inference.export import (
    WEIGHTS_FILE,
    build_file_metadata,
    export_timm,
    export_torchvision,
    has_small_stem,
    model_name,
    write_preprocessing,
)
from lowres_ssl.inference.load import PortableEncoder
from lowres_ssl.inference.model_card import read_stored_scores, write_model_card
from lowres_ssl.io.atomic import write_json, write_text


def export_hub(encoder: PortableEncoder, folder: Path) -> list[Path]:
    """`model.safetensors`, `config.json` (as timm reads it: `timm.create_model("local-dir:FOLDER", pretrained=True)`),
    `preprocessing.json`, and `README.md` last. An encoder with the small stem has no config of timm's."""
    if has_small_stem(encoder):
        save_tensors(folder / WEIGHTS_FILE, encoder.module.state_dict(), build_file_metadata(encoder))
    else:
        library, _ = model_name(encoder)
        (export_torchvision if library == "torchvision" else export_timm)(encoder, folder)
    write_json(folder / "config.json", build_hub_config(encoder))
    preprocessing = write_preprocessing(encoder, folder)
    card = write_model_card(encoder, read_stored_scores(encoder.run, encoder.file.name))
    write_text(folder / "README.md", card)
    return [folder / WEIGHTS_FILE, folder / "config.json", preprocessing, folder / "README.md"]


def build_hub_config(encoder: PortableEncoder) -> dict[str, Any]:
    how = encoder.preprocessing
    # What timm's transformers are told so that they take images of another size than their weights' own.
    any_size = getattr(encoder.module, "dynamic_img_size", False)
    return {
        "architecture": None if has_small_stem(encoder) else model_name(encoder)[1],
        "num_classes": 0,
        "num_features": encoder.width,
        "pretrained_cfg": {
            "input_size": [3, how.image_size, how.image_size],
            "fixed_input_size": False,
            "interpolation": "bilinear",
            "crop_pct": 1.0,
            "crop_mode": "squash",
            "mean": list(how.mean),
            "std": list(how.std),
            "num_classes": 0,
        },
        **({"model_args": {"dynamic_img_size": True}} if any_size else {}),
    }
