"""Check a table's config and build each kind of table."""

from lowres_ssl.config.check import require
from lowres_ssl.config.command_schemas import TableConfig, TablesConfig
from lowres_ssl.console import pluralise
from lowres_ssl.errors import ConfigError
from lowres_ssl.reporting.tables.formats import Table, format_csv, format_latex, format_markdown
from lowres_ssl.reporting.tables.recipes import build_recipes_table
from lowres_ssl.reporting.tables.score_table import build_scores_table
from lowres_ssl.reporting.tables.tuning_table import build_tuned_table
from lowres_ssl.stats.intervals import CONFUSION_METRICS

TABLE_BUILDERS = {"scores": build_scores_table, "recipes": build_recipes_table, "tuned": build_tuned_table}
TABLE_WRITERS = {"md": format_markdown, "csv": format_csv, "tex": format_latex}


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
