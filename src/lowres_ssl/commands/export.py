"""Run `lowres-ssl export`: write a finished run's encoder for other programs."""

from pathlib import Path
from typing import cast

from omegaconf import DictConfig

from lowres_ssl.config.check import read_config
from lowres_ssl.config.command_schemas import ExportConfig
from lowres_ssl.console import format_path_size, format_table, log_info
from lowres_ssl.errors import ConfigError
from lowres_ssl.inference.export import EXPORTERS, write_preprocessing
from lowres_ssl.inference.load import load_portable_encoder
from lowres_ssl.inference.model_card import CARD_MARK
from lowres_ssl.runs.run import EncoderChoice, find_run

EXPORTED_FILES = ("model.safetensors", "model.pt", "model.onnx", "config.json", "preprocessing.json")


def main(cfg: DictConfig) -> None:
    config = read_config(cfg, ExportConfig)
    if not config.run:
        raise ConfigError("run: got none, wanted one: type run=FOLDER (see lowres-ssl runs)")
    run, name = find_run(Path(config.output_dir), config.run), config.format.name
    # As other programs will run it; the run's own precision is of its features.
    encoder = load_portable_encoder(run, cast(EncoderChoice, config.which.name), "cpu", "fp32")
    folder = Path(config.folder) if config.folder else Path(config.output_dir) / "export" / run.name / name
    check_export_folder(folder)
    log_info(f"{run.name}: {name}, written and checked")
    files = dict.fromkeys([*EXPORTERS[name](encoder, folder), write_preprocessing(encoder, folder)])
    print(format_table(None, [[str(path), format_path_size(path)] for path in files]), flush=True)


def check_export_folder(folder: Path) -> None:
    """Raises `ConfigError` for a folder with something in it that no export wrote: a README.md may be precious."""
    others = [path for path in folder.iterdir() if not is_exported_file(path)] if folder.is_dir() else []
    if others:
        raise ConfigError(f"folder={folder}: holds {others[0].name}, which no export wrote; type another folder=FOLDER")


def is_exported_file(path: Path) -> bool:
    if path.name == "README.md":
        return CARD_MARK in path.read_text(encoding="utf-8", errors="replace")
    return path.name.startswith(".") or path.name in EXPORTED_FILES
