"""Tables of `conf/table/` as they are composed, built from made-up runs."""

from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf

from lowres_ssl.config.command_schemas import TableConfig
from lowres_ssl.reporting.stored import Stored
from lowres_ssl.reporting.tables.build import TABLE_BUILDERS
from lowres_ssl.reporting.tables.formats import Block, Table
from lowres_ssl.runs.filters import ResultFilters
from lowres_ssl.runs.index import read_index

CONF = Path(__file__).resolve().parents[3] / "conf"


def config_of(name: str, **changed: Any) -> TableConfig:
    said = OmegaConf.merge(OmegaConf.structured(TableConfig), OmegaConf.load(CONF / "table" / f"{name}.yaml"), changed)
    return cast(TableConfig, OmegaConf.to_object(said))


def table_of(name: str, output_dir: Path, *, config: TableConfig | None = None, **filters: Any) -> Table:
    config = config or config_of(name)
    frame, problems = read_index(output_dir)
    assert problems == []
    return TABLE_BUILDERS[config.kind.name](
        name, config, Stored(frame, ResultFilters(**filters), output_dir, output_dir / "stores")
    )


def line_of(block: Block, label: str) -> list[str]:
    """What stands in the line of a block that begins so."""
    (line,) = [line for line in block.lines if line[0].text == label]
    return [cell.text for cell in line]


def bold_in(block: Block, place: int) -> list[str]:
    return [line[0].text for line in block.lines if line[place].bold]
