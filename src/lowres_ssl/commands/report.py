"""Run `lowres-ssl report`: write one HTML file from stored runs."""

from pathlib import Path

from omegaconf import DictConfig

from lowres_ssl.config.check import read_config, require
from lowres_ssl.config.command_schemas import ReportConfig
from lowres_ssl.console import format_path_size, log_info, pluralise
from lowres_ssl.errors import DataError
from lowres_ssl.io.atomic import write_text
from lowres_ssl.reporting.figures import build_picture
from lowres_ssl.reporting.html.build import build_report, check_report_libraries, render_page
from lowres_ssl.reporting.stored import Stored
from lowres_ssl.reporting.tables.build import check_table


def main(cfg: DictConfig) -> None:
    """Write the report. What cannot be shown is a note, here and there; an error only if nothing can be shown."""
    config = read_config(cfg, ReportConfig)
    require(config.file != "", "file", "", "a file, got nothing (an empty variable?)")
    require(16 <= config.thumbnail_size <= 512, "thumbnail_size", config.thumbnail_size, "from 16 to 512 pixels")
    require(config.gallery >= 1, "gallery", config.gallery, "at least 1 image")
    for name, table in config.table.items():
        check_table(f"table.{name}", table)
    check_report_libraries()
    preface = [] if config.preface is None else read_text_lines(Path(config.preface))
    pictures = {name: build_picture(name, arguments) for name, arguments in config.figure.items()}
    stored = Stored.read(config, config.store_dir)
    runs = pluralise(stored.results["run"].nunique(), "run")
    log_info(f"report of {runs}: {', '.join([*config.table, *pictures])}, maps of the features, into {config.file}")
    parts, data = build_report(config, stored, pictures)
    notes = list(dict.fromkeys(stored.notes))
    stored.log_notes()
    shown = notes if config.file_names else []
    path = Path(config.file)
    try:
        hidden = len(notes) - len(shown)
        write_text(path, render_page(parts | {"preface": preface, "notes": shown, "hidden": hidden}, data))
    except OSError as error:
        raise DataError(f"file={path}: cannot be written ({error.strerror}); name another with file=FILE") from error
    print(f"{path} ({format_path_size(path)}): open it in a browser", flush=True)


def read_text_lines(path: Path) -> list[str]:
    """Read the lines that are not blank. Raises `DataError`."""
    try:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8"
        raise DataError(
            f"preface={path}: cannot be read ({why}); wanted a file of text, or leave preface out"
        ) from error
