"""Run `lowres-ssl compare`: test each method against the better random encoder, and check the paper's claims."""

import json

import pandas as pd
from omegaconf import DictConfig

from lowres_ssl.config.check import read_config, require
from lowres_ssl.config.command_schemas import CompareConfig
from lowres_ssl.console import log_info, log_warning
from lowres_ssl.errors import ConfigError
from lowres_ssl.reporting.comparison import format_findings, list_comparison_records, parse_reference
from lowres_ssl.reporting.stored import Stored
from lowres_ssl.reporting.tables.build import check_batch_size
from lowres_ssl.reporting.tables.formats import format_frame_as_csv
from lowres_ssl.runs.pairwise import compare_methods
from lowres_ssl.runs.query import select_columns


def main(cfg: DictConfig) -> None:
    config = read_config(cfg, CompareConfig)
    check_batch_size("batch_size", config.batch_size)
    require(100 <= config.draws <= 100_000, "draws", config.draws, "from 100 to 100000")
    reference = parse_reference(config.reference)
    stored = Stored.read(config)
    stored.log_notes()
    chosen = select_columns(stored.results, stored.filters)
    if not chosen:
        raise ConfigError(
            f"{config.output_dir}: no stored results of that kind; see what there is with lowres-ssl runs, or make "
            "some: lowres-ssl pretrain dataset=phantom"
        )
    sets = "one set" if len(chosen) == 1 else f"{len(chosen)} sets"
    log_info(f"comparing {config.metric.name} in {sets} of results, {config.draws:,} draws or more for each p")
    found = [
        compare_methods(
            column,
            config.metric.name,
            config.batch_size,
            imagenet=config.imagenet,
            draws=config.draws,
            reference=reference,
            filters=stored.filters,
        )
        for column in chosen
    ]
    for note in dict.fromkeys(note for each in found for note in each.notes):
        log_warning(note)
    if config.format.name == "table":
        print("\n\n".join(format_findings(each) for each in found))
        return
    records = [record for each in found for record in list_comparison_records(each)]
    if config.format.name == "json":
        print(json.dumps(records, indent=2, ensure_ascii=False))
    else:  # whole numbers stay whole beside empty cells
        print(format_frame_as_csv(pd.DataFrame(records).convert_dtypes()), end="")
