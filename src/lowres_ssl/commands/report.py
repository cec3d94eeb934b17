"""`lowres-ssl report`: one HTML file from stored runs."""

from pathlib import Path

from omegaconf import DictConfig

from lowres_ssl.command_line.mistyped import heard_of
from lowres_ssl.commands.tables import KINDS, check_table
from lowres_ssl.config import read_config, require
from lowres_ssl.errors import DataError
from lowres_ssl.figures import Stored, build_picture
from lowres_ssl.files.atomic import write_text
from lowres_ssl.report.assembly import Wanted, assemble
from lowres_ssl.report.pages import page, require_libraries
from lowres_ssl.results.ledger import ledger
from lowres_ssl.results.selection import Filters
from lowres_ssl.schemas.report import ReportConfig
from lowres_ssl.schemas.table import TableConfig
from lowres_ssl.tables import Table
from lowres_ssl.terminal import count, say, size_of, warn


def main(cfg: DictConfig) -> None:
    """What cannot be shown is told, here and in the report; it is an error only if that is all there is."""
    config = read_config(cfg, ReportConfig)
    check(config)
    require_libraries()
    preface = [] if config.preface is None else lines_of(Path(config.preface))
    pictures = {name: build_picture(name, arguments) for name, arguments in config.figure.items()}
    results, notes = ledger(Path(config.output_dir))
    filters = Filters.of(config.filters)
    notes += heard_of(filters, results)
    stored = Stored(results, filters, Path(config.output_dir), Path(config.store_dir))

    def make(name: str, table: TableConfig) -> Table:
        return KINDS[table.kind.name](name, table, results, filters, stored.output_dir)

    wanted = Wanted(config.thumbnails, config.file_names, config.thumbnail_size, config.gallery)
    runs = count(results["run"].nunique(), "run")
    say(f"report of {runs}: {', '.join([*config.table, *pictures])}, maps of the features, into {config.file}")
    parts, data, problems = assemble(stored, config.table, make, pictures, wanted)
    for note in [*notes, *problems]:
        warn(note)
    told = [*notes, *problems] if wanted.names else []
    path = Path(config.file)
    try:
        untold = len(notes) + len(problems) - len(told)
        write_text(path, page(parts | {"preface": preface, "notes": told, "untold": untold}, data))
    except OSError as error:
        raise DataError(f"file={path}: cannot be written ({error.strerror}); name another with file=FILE") from error
    print(f"{path} ({size_of(path)}): open it in a browser", flush=True)


def lines_of(path: Path) -> list[str]:
    """Its lines that say something."""
    try:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8"
        raise DataError(
            f"preface={path}: cannot be read ({why}); wanted a file of text, or leave preface out"
        ) from error


def check(config: ReportConfig) -> None:
    """Raises `ConfigError` for a value that is out of its range."""
    require(config.file != "", "file", "", "a file, got nothing (an empty variable?)")
    require(16 <= config.thumbnail_size <= 512, "thumbnail_size", config.thumbnail_size, "from 16 to 512 pixels")
    require(config.gallery >= 1, "gallery", config.gallery, "at least 1 image")
    for name, table in config.table.items():
        check_table(f"table.{name}", table)
