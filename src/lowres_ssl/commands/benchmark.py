"""`lowres-ssl benchmark`: which method for my images? Planned by the budget, run, and answered."""

import signal
import time
from pathlib import Path

from omegaconf import DictConfig

from lowres_ssl.benchmark.plan import BenchmarkPlan, get_plan_path, read_benchmark_plan
from lowres_ssl.benchmark.request import (
    compose_training_config,
    describe_request,
    parse_request,
)
from lowres_ssl.benchmark.runner import BudgetClock, ScoringChoice, run_plan, save_progress
from lowres_ssl.benchmark.summary import (
    format_leakage_warnings,
    format_plan,
    list_recommendation_lines,
    make_plan,
    print_recommendation,
)
from lowres_ssl.config.check import read_config
from lowres_ssl.config.experiment_schema import BenchmarkConfig
from lowres_ssl.console import log_info, log_warning
from lowres_ssl.data.prepare import load_catalogue, make_configured_split
from lowres_ssl.io.atomic import check_writable, write_text
from lowres_ssl.io.locks import lock
from lowres_ssl.reporting.html.render import check_report_libraries
from lowres_ssl.train.signals import install_handler


def main(cfg: DictConfig) -> None:
    started = time.monotonic()
    config = read_config(cfg, BenchmarkConfig)
    question = parse_request(config)
    output_dir, store_dir = Path(config.output_dir), Path(config.store_dir)
    check_report_libraries()  # of the report, before the time is spent
    first = compose_training_config(question.words, config.methods[0])
    if "dataset" not in question.typed:
        log_warning(f"no dataset was typed, so this is {first.dataset.title}; type dataset=NAME for your own images")
    check_writable(output_dir / "benchmark")
    install_handler(signal.SIGHUP)  # the terminal was closed: what runs in other processes must end, too
    catalogue = load_catalogue(first.dataset, store_dir)
    split = make_configured_split(first, catalogue)
    asked = describe_request(question, first, catalogue)
    with lock(get_plan_path(output_dir, asked), "the same benchmark"):
        study = (
            None if config.force else read_benchmark_plan(output_dir, store_dir, question.flags, question.words, asked)
        )
        clock = BudgetClock(0.0 if study is None else study.spent, started)
        if study is None:
            log_info("Measuring what a step, features and scores cost here")
            study = make_plan(question, get_plan_path(output_dir, asked), store_dir, asked, catalogue, split, clock)
        print(format_plan(study, question, first, catalogue, split), flush=True)
        if config.dry_run:
            return
        study = save_progress(study, clock)
        probed = ScoringChoice(tuple(config.probe), tuple(config.fewer_labels))
        doubts = format_leakage_warnings(catalogue, split)

        def answered(study: BenchmarkPlan) -> None:
            write_text(study.file("answer.txt"), "\n".join(list_recommendation_lines(study, question, doubts)) + "\n")

        study = run_plan(study, clock, probed, answered)
        print_recommendation(study, question, doubts)
