"""`lowres-ssl export`: a finished run's encoder for other programs."""

from pathlib import Path
from typing import cast

from omegaconf import DictConfig

from lowres_ssl.config import read_config
from lowres_ssl.errors import ConfigError
from lowres_ssl.exports import write_preprocessing
from lowres_ssl.exports.card import MADE_BY
from lowres_ssl.exports.graphs import export_onnx, export_torchscript
from lowres_ssl.exports.hub import export_hub
from lowres_ssl.exports.weights import export_timm, export_torchvision
from lowres_ssl.portable.encoder import open_encoder
from lowres_ssl.runs import Which, find_run
from lowres_ssl.schemas.export import ExportConfig
from lowres_ssl.terminal import columns, say, size_of

FORMATS = {
    "torchvision": export_torchvision,
    "timm": export_timm,
    "torchscript": export_torchscript,
    "onnx": export_onnx,
    "hub": export_hub,
}


OURS = ("model.safetensors", "model.pt", "model.onnx", "config.json", "preprocessing.json")


def main(cfg: DictConfig) -> None:
    config = read_config(cfg, ExportConfig)
    if not config.run:
        raise ConfigError("run: got none, wanted one: type run=FOLDER (see lowres-ssl runs)")
    run, name = find_run(Path(config.output_dir), config.run), config.format.name
    # As other programs will run it; the run's own precision is of its features.
    encoder = open_encoder(run, cast(Which, config.which.name), "cpu", "fp32")
    folder = Path(config.folder) if config.folder else Path(config.output_dir) / "export" / run.name / name
    refuse_others_files(folder)
    say(f"{run.name}: {name}, written and checked")
    files = dict.fromkeys([*FORMATS[name](encoder, folder), write_preprocessing(encoder, folder)])
    print(columns(None, [[str(path), size_of(path)] for path in files]), flush=True)


def refuse_others_files(folder: Path) -> None:
    """Raises `ConfigError` for a folder with something in it that no export wrote: a README.md may be precious."""
    others = [path for path in folder.iterdir() if not is_ours(path)] if folder.is_dir() else []
    if others:
        raise ConfigError(f"folder={folder}: holds {others[0].name}, which no export wrote; type another folder=FOLDER")


def is_ours(path: Path) -> bool:
    if path.name == "README.md":
        return MADE_BY in path.read_text(encoding="utf-8", errors="replace")
    return path.name.startswith(".") or path.name in OURS
