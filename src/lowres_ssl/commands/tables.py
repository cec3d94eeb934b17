"""Run `lowres-ssl tables`: print stored results as tables, and write them to `folder`."""

from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig

from lowres_ssl.config.check import read_config
from lowres_ssl.config.command_schemas import TablesConfig
from lowres_ssl.console import log_warning
from lowres_ssl.io.atomic import check_writable, write_text
from lowres_ssl.reporting.cells import OTHERS
from lowres_ssl.reporting.stored import Stored
from lowres_ssl.reporting.tables.build import TABLE_BUILDERS, TABLE_WRITERS, check_no_missing_cells, check_tables_config
from lowres_ssl.reporting.tables.formats import format_markdown


def main(cfg: DictConfig) -> None:
    config = read_config(cfg, TablesConfig)
    check_tables_config(config)
    stored = Stored.read(config)
    stored.log_notes()
    tables = []
    for name, asked in config.table.items():
        chosen = asked if config.batch_size is None else replace(asked, batch_size=config.batch_size)
        tables.append(TABLE_BUILDERS[chosen.kind.name](name, chosen, stored))
    # Without results the table of all other probes is left out beside others.
    tables = [table for table in tables if table.blocks or OTHERS not in config.table[table.name].probe] or tables
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
