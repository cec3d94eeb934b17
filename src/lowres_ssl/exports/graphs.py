"""The encoder with its architecture in one file: TorchScript, and ONNX checked with onnxruntime. Any batch size."""

import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from lowres_ssl.errors import ConfigError
from lowres_ssl.exports import TRACED, bare, check_same, images_for
from lowres_ssl.files.atomic import replacing
from lowres_ssl.portable.encoder import PortableEncoder


def export_torchscript(encoder: PortableEncoder, folder: Path) -> list[Path]:
    """`torch.jit.load("model.pt")`: float32 [B, 3, S, S] -> [B, D]."""
    path = folder / "model.pt"
    with replacing(path) as file:
        with quiet():  # PyTorch 2.14 calls TorchScript deprecated; what reads it is out there
            script = torch.jit.trace(bare(encoder.module), images_for(encoder, TRACED))
            torch.jit.save(script, file)
        check_same(encoder, script, "the TorchScript")
    return [path]


def export_onnx(encoder: PortableEncoder, folder: Path) -> list[Path]:
    """Input "images", float32 [batch, 3, S, S]; output "features", [batch, D]; all in one file.

    Raises `ConfigError` where a library is missing, `CheckpointError` if onnxruntime gives other features.
    """
    runtime = onnx_libraries()
    path = folder / "model.onnx"
    with tempfile.TemporaryDirectory() as place, quiet():
        file = Path(place) / "model.onnx"
        program = torch.onnx.export(
            bare(encoder.module),
            (images_for(encoder, TRACED),),
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
    with replacing(path) as whole:
        whole.write(content)
    return [path]


def onnx_libraries() -> ModuleType:
    """onnxruntime, with what PyTorch needs beside it."""
    try:
        for beside in ("onnx", "onnxscript"):
            import_module(beside)
        return import_module("onnxruntime")
    except ImportError as error:
        raise ConfigError(
            f"format=onnx needs {error.name}; type pip install 'lowres-ssl[export]', or format=torchscript"
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Without what exporters warn of and log: what came out of them is checked."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
