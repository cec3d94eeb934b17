"""`lowres-ssl tables`: stored results as tables, printed and written to `folder`."""

from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig

from lowres_ssl.command_line.mistyped import heard_of
from lowres_ssl.config import read_config, require
from lowres_ssl.errors import ConfigError
from lowres_ssl.files.atomic import write_text
from lowres_ssl.results.ledger import ledger
from lowres_ssl.results.selection import Filters
from lowres_ssl.runs import check_writable
from lowres_ssl.schemas.table import TableConfig, TablesConfig
from lowres_ssl.statistics.confusion import METRICS
from lowres_ssl.tables import Table
from lowres_ssl.tables.formats import comma_separated, latex, markdown
from lowres_ssl.tables.recipes import recipes_table
from lowres_ssl.tables.scores import scores_table
from lowres_ssl.tables.tuned import tuned_table
from lowres_ssl.terminal import count, warn

KINDS = {"scores": scores_table, "recipes": recipes_table, "tuned": tuned_table}
FORMATS = {"md": markdown, "csv": comma_separated, "tex": latex}


def main(cfg: DictConfig) -> None:
    config = read_config(cfg, TablesConfig)
    check(config)
    output_dir = Path(config.output_dir)
    frame, problems = ledger(output_dir)
    for problem in problems:
        warn(problem)
    filters = Filters.of(config.filters)
    for note in heard_of(filters, frame):
        warn(note)
    tables = []
    for name, asked in config.table.items():
        chosen = asked if config.batch_size is None else replace(asked, batch_size=config.batch_size)
        tables.append(KINDS[chosen.kind.name](name, chosen, frame, filters, output_dir))
    if config.strict:
        refuse_missing(tables)
    folder = Path(config.folder)
    check_writable(folder)
    written = []
    for table in tables:
        print(markdown(table))
        path = folder / f"{table.name}.md"
        if path.exists() and not table.has_results:
            warn(f"{table.name}: no result of ours, so {path} is left as it is; see what there is with lowres-ssl runs")
            continue
        for ending, made in FORMATS.items():
            write_text(folder / f"{table.name}.{ending}", made(table))
        written.append(table.name)
    if written:
        print(f"Written to {folder}: {', '.join(written)}, each as {', '.join(FORMATS)}", flush=True)


def refuse_missing(tables: list[Table]) -> None:
    """Raises `ConfigError` if a table has a cell without a result, or none at all."""
    empty = [table.name for table in tables if not table.blocks]
    if empty:
        raise ConfigError(
            f"strict=true: no results at all for {', '.join(empty)}; see what there is with lowres-ssl runs"
        )
    missing = [f"{table.name}: {cell}" for table in tables for cell in table.missing]
    commands = [command for table in tables for command in table.commands]
    if missing:
        raise ConfigError(
            f"strict=true: no result for {count(len(missing), 'cell')}, the first is {missing[0]}; type {commands[0]}"
        )


def check(config: TablesConfig) -> None:
    """Raises `ConfigError` for a value that is out of its range."""
    require(len(config.table) > 0, "table", "[]", "at least one; type table=[paper2,paper3]")
    if config.batch_size is not None:
        check_batch_size("batch_size", config.batch_size)
    for name, table in config.table.items():
        check_table(f"table.{name}", table)


def check_table(key: str, table: TableConfig) -> None:
    check_batch_size(f"{key}.batch_size", table.batch_size)
    for metric in table.metrics:
        require(metric in METRICS, f"{key}.metrics", metric, f"some of {', '.join(METRICS)}")
    require(len(table.rows) > 0, f"{key}.rows", "{}", "at least one row")
    for name, row in table.rows.items():
        require(len(row.entries) > 0, f"{key}.rows.{name}.entries", row.entries, "at least one entry, such as [dcl]")
        wanted = "a method to begin with, or optional: true"
        require(row.optional or "*" not in row.entries[0], f"{key}.rows.{name}.entries", row.entries, wanted)
    if table.kind.name == "recipes":
        require(len(table.recipes) > 0, f"{key}.recipes", table.recipes, "at least one recipe")
        require(len(table.splits) > 0, f"{key}.splits", table.splits, "at least one split")


def check_batch_size(key: str, value: object) -> None:
    ok = value == "best" or (isinstance(value, int) and not isinstance(value, bool) and value >= 2)
    require(ok, key, value, "best, or a number of at least 2")
