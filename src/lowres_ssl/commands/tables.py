"""`lowres-ssl tables`: stored results as tables, printed and written to `folder`."""

from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig

from lowres_ssl.config.check import read_config, require
from lowres_ssl.config.command_schemas import TableConfig, TablesConfig
from lowres_ssl.console import log_warning, pluralise
from lowres_ssl.errors import ConfigError
from lowres_ssl.io.atomic import check_writable, write_text
from lowres_ssl.reporting.tables import Table
from lowres_ssl.reporting.tables.formats import format_csv, format_latex, format_markdown
from lowres_ssl.reporting.tables.recipes import build_recipes_table
from lowres_ssl.reporting.tables.score_table import build_scores_table
from lowres_ssl.reporting.tables.tuning_table import build_tuned_table
from lowres_ssl.runs.index import read_index
from lowres_ssl.runs.query import ResultFilters
from lowres_ssl.runs.stored_command import explain_unknown_names
from lowres_ssl.stats.confusion import CONFUSION_METRICS

TABLE_BUILDERS = {"scores": build_scores_table, "recipes": build_recipes_table, "tuned": build_tuned_table}
TABLE_WRITERS = {"md": format_markdown, "csv": format_csv, "tex": format_latex}


def main(cfg: DictConfig) -> None:
    config = read_config(cfg, TablesConfig)
    check_tables_config(config)
    output_dir = Path(config.output_dir)
    frame, problems = read_index(output_dir)
    for problem in problems:
        log_warning(problem)
    filters = ResultFilters.of(config.filters)
    for note in explain_unknown_names(filters, frame):
        log_warning(note)
    tables = []
    for name, asked in config.table.items():
        chosen = asked if config.batch_size is None else replace(asked, batch_size=config.batch_size)
        tables.append(TABLE_BUILDERS[chosen.kind.name](name, chosen, frame, filters, output_dir))
    if config.strict:
        check_no_missing_cells(tables)
    folder = Path(config.folder)
    check_writable(folder)
    written = []
    for table in tables:
        print(format_markdown(table))
        path = folder / f"{table.name}.md"
        if path.exists() and not table.has_results:
            log_warning(
                f"{table.name}: no result of ours, so {path} is left as it is; see what there is with lowres-ssl runs"
            )
            continue
        for ending, made in TABLE_WRITERS.items():
            write_text(folder / f"{table.name}.{ending}", made(table))
        written.append(table.name)
    if written:
        print(f"Written to {folder}: {', '.join(written)}, each as {', '.join(TABLE_WRITERS)}", flush=True)


def check_no_missing_cells(tables: list[Table]) -> None:
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
            f"strict=true: no result for {pluralise(len(missing), 'cell')}, "
            f"the first is {missing[0]}; type {commands[0]}"
        )


def check_tables_config(config: TablesConfig) -> None:
    """Raises `ConfigError` for a value that is out of its range."""
    require(len(config.table) > 0, "table", "[]", "at least one; type table=[paper2,paper3]")
    if config.batch_size is not None:
        check_batch_size("batch_size", config.batch_size)
    for name, table in config.table.items():
        check_table(f"table.{name}", table)


def check_table(key: str, table: TableConfig) -> None:
    check_batch_size(f"{key}.batch_size", table.batch_size)
    for metric in table.metrics:
        require(metric in CONFUSION_METRICS, f"{key}.metrics", metric, f"some of {', '.join(CONFUSION_METRICS)}")
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
