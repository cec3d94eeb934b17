"""Run `lowres-ssl runs`: list the runs with their scores, or remove what they no longer need."""

from pathlib import Path

from omegaconf import DictConfig

from lowres_ssl.config.check import read_config
from lowres_ssl.config.command_schemas import RunsConfig
from lowres_ssl.console import log_warning
from lowres_ssl.reporting.tables.formats import format_frame_as_csv
from lowres_ssl.runs.index import format_run_table, read_index, remove_leftovers


def main(cfg: DictConfig) -> None:
    config = read_config(cfg, RunsConfig)
    output_dir, store_dir = Path(config.output_dir), Path(config.store_dir)
    if config.prune:
        remove_leftovers(output_dir, store_dir)
        return
    frame, problems = read_index(output_dir)
    for problem in problems:
        log_warning(problem)
    match config.format.name:
        case "csv":
            print(format_frame_as_csv(frame), end="")
        case "json":
            print(frame.to_json(orient="records", indent=2, force_ascii=False))
        case _ if frame.empty:
            missing = "" if output_dir.exists() else " (no such folder)"
            print(f"no runs below {output_dir}{missing}; make one: lowres-ssl pretrain dataset=phantom")
        case _:
            print(format_run_table(frame))
