"""Run `lowres-ssl tune`: choose batch size and learning rate of the linear evaluation on validation images."""

from pathlib import Path

from omegaconf import DictConfig

from lowres_ssl.config.check import read_config
from lowres_ssl.config.experiment_schema import TuneConfig
from lowres_ssl.console import format_table, log_info, pluralise
from lowres_ssl.evaluate.tuned_settings import format_tuned_cell, get_tuned_path
from lowres_ssl.experiment.tune_run import build_grid, find_runs_to_tune, tune_run
from lowres_ssl.io.atomic import check_writable


def main(cfg: DictConfig) -> None:
    config = read_config(cfg, TuneConfig)
    grid = build_grid(config)
    output_dir = Path(config.output_dir)
    check_writable(output_dir)
    runs = find_runs_to_tune(config)
    heads = len(grid.pairs) * len(grid.seeds)
    log_info(
        f"tune: {pluralise(len(runs), 'run')}, each {len(grid.batch_sizes)} "
        f"batch sizes x {len(grid.rates)} learning rates "
        f"x {pluralise(len(grid.seeds), 'seed')} = {pluralise(heads, 'head')}, "
        f"rule {grid.rule}; test features are not read"
    )
    tuned = [tune_run(run, cfg) for run in runs]
    rows = []
    for each in tuned:
        paper = config.table_1.get(each.encoder.entry, {}).get(each.encoder.dataset)
        ours, accuracy = each.chosen.format_cell(), f"{each.chosen.accuracy:.3f}"
        rows.append([each.run, ours, accuracy, format_tuned_cell(paper) if paper else "-"])
    print("Batch size (learning rate) of the linear evaluation, chosen on validation\n")
    print(format_table(["run", "ours", "validation accuracy", "paper"], rows), end="\n\n")
    print(
        f"Chosen: {get_tuned_path(output_dir, '*')}. See them as Table 1: lowres-ssl tables table=paper1. Use them: "
        "lowres-ssl evaluate run=RUN probe.linear.settings_from=tuned"
    )
