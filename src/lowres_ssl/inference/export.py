"""Export a run's encoder for other programs: weights, graphs, a folder for a model hub.

Each is checked before it is written: the other program's features of some images against the encoder's own.
"""

import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models

from lowres_ssl.encoders.timm_models import create_timm_model, import_timm
from lowres_ssl.encoders.weights_file import save_tensors
from lowres_ssl.errors import CheckpointError, ConfigError
from lowres_ssl.inference.load import PortableEncoder
from lowres_ssl.inference.model_card import read_stored_scores, write_model_card
from lowres_ssl.io.atomic import atomic_write, write_json, write_text
from lowres_ssl.registry import import_extra

TOLERANCE = 1e-4  # of a feature, absolute, and of its size where that is above 1
BATCHES = (1, 3)  # sizes to try, neither the one that a graph is traced with
TRACED = 2
WEIGHTS_FILE = "model.safetensors"


def refuse_small_stem(encoder: PortableEncoder, library: str) -> None:
    """Raises `ConfigError` for an architecture that the library does not have."""
    if encoder.has_small_stem:
        raise ConfigError(
            f"format={library}: {encoder.run.name} has the small stem (3 x 3 convolution, no max-pooling), which "
            f"{library}'s {encoder.architecture} has not; type format=hub, onnx or torchscript"
        )


def make_inputs(encoder: PortableEncoder, count: int) -> Tensor:
    """Make input, float32 [count, 3, S, S], the same each time."""
    size = encoder.preprocessing.image_size
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(count))


@torch.no_grad()
def check_same(encoder: PortableEncoder, other: Any, what: str) -> float:
    """Measure the largest difference between the features of the encoder and of `other`, a function of images.

    Raises `CheckpointError` above `TOLERANCE`.
    """
    found = []
    for count in BATCHES:
        images = make_inputs(encoder, count)
        wanted, got = encoder.module(images), other(images)
        if got.shape != wanted.shape:
            raise CheckpointError(f"{what}: gives {list(got.shape)}, wanted {list(wanted.shape)}; nothing was written")
        found.append(((got - wanted).abs() / wanted.abs().clamp(min=1)).max())
    worst = float(torch.stack(found).max())  # NaN if any is
    if not worst <= TOLERANCE:
        raise CheckpointError(
            f"{what}: its features are up to {worst:.2g} off, wanted {TOLERANCE:g} at most; nothing was written"
        )
    return worst


def write_preprocessing(encoder: PortableEncoder, folder: Path) -> Path:
    """Describe how an image file becomes the input, for programs in any language."""
    path, how = folder / "preprocessing.json", encoder.preprocessing
    deep = "0 to 65535" if how.grey_range is None else " to ".join(f"{each:g}" for each in how.grey_range)
    window = "the file's own window, or all of its bits where it has none" if how.grey_range is None else deep
    steps = [
        f"turn upright by the EXIF tag; put transparent parts on white; scale 16 bits ({deep}) to 8",
        f"grey DICOM files: rescale by slope and intercept or their table, show {window}; turn MONOCHROME1 round",
        "convert to three channels" if how.colour else "convert to grey (Pillow's L)",
        f"squeeze to {how.stored_size} x {how.stored_size} pixels: antialiased triangle filter (Pillow's BILINEAR)",
        f"resample to {how.image_size} x {how.image_size} pixels by the same filter, divide by 255",
        "subtract mean, divide by std" if how.colour else "repeat as three channels, subtract mean, divide by std",
    ]
    shape = ["batch", 3, how.image_size, how.image_size]
    write_json(path, asdict(how) | {"input": {"type": "float32", "shape": shape}, "steps": steps})
    return path


def export_torchvision(encoder: PortableEncoder, folder: Path) -> list[Path]:
    """Raises `ConfigError` for an architecture that torchvision does not have."""
    if encoder.library != "torchvision":
        raise ConfigError(f"format=torchvision: {encoder.run.name} is timm's {encoder.architecture}; type format=timm")
    refuse_small_stem(encoder, "torchvision")
    model = models.get_model(encoder.architecture, weights=None)
    model.fc = nn.Identity()
    return [save_checked_weights(encoder, model, folder, "torchvision")]


def export_timm(encoder: PortableEncoder, folder: Path) -> list[Path]:
    """Raises `ConfigError` for an architecture that timm does not have."""
    refuse_small_stem(encoder, "timm")
    library, name = import_timm("format=timm"), encoder.architecture
    if not library.is_model(name.split(".")[0]) and not name.startswith("hf-hub:"):
        raise ConfigError(f"format=timm: timm {library.__version__} has no {name}; type format=torchvision")
    return [save_checked_weights(encoder, create_timm_model(name), folder, "timm")]


def save_checked_weights(encoder: PortableEncoder, model: nn.Module, folder: Path, library: str) -> Path:
    """Write the encoder's weights, after the library's own `model` has loaded them and gives the same features."""
    weights = widen_first_layer(encoder.module)
    model.load_state_dict(weights, strict=True)
    check_same(encoder, model.eval(), f"{library}'s {encoder.architecture}")
    save_tensors(folder / WEIGHTS_FILE, weights, build_file_metadata(encoder))
    return folder / WEIGHTS_FILE


def widen_first_layer(module: nn.Module) -> dict[str, Tensor]:
    """Return the weights of `module`, those of a first convolution of one channel with two channels of zeros beside it:
    it sees the first of three channels, and so do the libraries' own models with these."""
    weights = module.state_dict()
    name, first = next((each for each in module.named_modules() if isinstance(each[1], nn.Conv2d)), ("", None))
    if first is not None and first.in_channels == 1:
        weights[f"{name}.weight"] = nn.functional.pad(first.weight.detach(), (0, 0, 0, 0, 0, 2))
    return weights


def build_file_metadata(encoder: PortableEncoder) -> dict[str, str]:
    return {"run": encoder.run.name, "encoder": encoder.file.name, "architecture": encoder.architecture}


def export_torchscript(encoder: PortableEncoder, folder: Path) -> list[Path]:
    """Write what `torch.jit.load("model.pt")` loads: float32 [B, 3, S, S] -> [B, D]."""
    path = folder / "model.pt"
    with atomic_write(path) as file:
        with silence_exporters():  # PyTorch 2.14 calls TorchScript deprecated; what reads it is out there
            module = encoder.module.to(memory_format=torch.contiguous_format)
            script = torch.jit.trace(module, make_inputs(encoder, TRACED))
            torch.jit.save(script, file)
        check_same(encoder, script, "the TorchScript")
    return [path]


def export_onnx(encoder: PortableEncoder, folder: Path) -> list[Path]:
    """Write one file with input "images", float32 [batch, 3, S, S], and output "features", [batch, D].

    Raises `ConfigError` where a library is missing, `CheckpointError` if onnxruntime gives other features.
    """
    libraries = ("onnx", "onnxscript", "onnxruntime")  # PyTorch needs the first two
    *_, runtime = [import_extra(each, "export", "format=onnx", "format=torchscript") for each in libraries]
    path = folder / "model.onnx"
    with tempfile.TemporaryDirectory() as place, silence_exporters():
        file = Path(place) / "model.onnx"
        program = torch.onnx.export(
            encoder.module.to(memory_format=torch.contiguous_format),
            (make_inputs(encoder, TRACED),),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            input_names=["images"],
            output_names=["features"],
            verbose=False,
        )
        assert program is not None
        program.save(str(file), external_data=False)
        content = file.read_bytes()
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors only
    session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def features(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run(["features"], {"images": images.numpy()})[0])

    check_same(encoder, features, "onnxruntime")
    with atomic_write(path) as whole:
        whole.write(content)
    return [path]


@contextmanager
def silence_exporters() -> Iterator[None]:
    """Hide warnings and logs of exporters: what they write is checked."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def export_hub(encoder: PortableEncoder, folder: Path) -> list[Path]:
    """`model.safetensors`, `config.json` (as timm reads it: `timm.create_model("local-dir:FOLDER", pretrained=True)`),
    `preprocessing.json`, and `README.md` last. An encoder with the small stem has no config of timm's."""
    if encoder.has_small_stem:
        save_tensors(folder / WEIGHTS_FILE, widen_first_layer(encoder.module), build_file_metadata(encoder))
    else:
        (export_torchvision if encoder.library == "torchvision" else export_timm)(encoder, folder)
    write_json(folder / "config.json", build_hub_config(encoder))
    preprocessing = write_preprocessing(encoder, folder)
    card = write_model_card(encoder, read_stored_scores(encoder.run, encoder.file.name))
    write_text(folder / "README.md", card)
    return [folder / WEIGHTS_FILE, folder / "config.json", preprocessing, folder / "README.md"]


def build_hub_config(encoder: PortableEncoder) -> dict[str, Any]:
    how = encoder.preprocessing
    # With this timm's transformers take images of another size than their weights' own.
    any_size = getattr(encoder.module, "dynamic_img_size", False)
    return {
        "architecture": None if encoder.has_small_stem else encoder.architecture,
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


# By the value of `format`. Each returns the files that it has written.
EXPORTERS: dict[str, Callable[[PortableEncoder, Path], list[Path]]] = {
    "torchvision": export_torchvision,
    "timm": export_timm,
    "torchscript": export_torchscript,
    "onnx": export_onnx,
    "hub": export_hub,
}
