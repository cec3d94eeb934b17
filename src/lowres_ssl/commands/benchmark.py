"""Run `lowres-ssl benchmark`: find the best encoder for a set in a given time; interrupted, answer by what is there."""

import signal
import time
from pathlib import Path

from omegaconf import DictConfig

from lowres_ssl.benchmark.plan import read_benchmark_plan
from lowres_ssl.benchmark.printing import format_plan, write_answer
from lowres_ssl.benchmark.request import build_question, compose_training_config, make_plan, parse_request
from lowres_ssl.benchmark.runner import BenchmarkRunner
from lowres_ssl.config.check import read_config
from lowres_ssl.config.experiment_schema import BenchmarkConfig
from lowres_ssl.console import log_warning, pluralise
from lowres_ssl.data.prepare import load_catalogue, make_configured_split
from lowres_ssl.data.split_strategies import MIN_CHOOSING_IMAGES, format_choice_noise
from lowres_ssl.data.splits import compute_leakage
from lowres_ssl.device import resolve_device
from lowres_ssl.io.atomic import check_writable
from lowres_ssl.io.locks import lock
from lowres_ssl.reporting.html.build import check_report_libraries
from lowres_ssl.train.signals import install_handler


def main(cfg: DictConfig) -> None:
    started = time.monotonic()
    config = read_config(cfg, BenchmarkConfig)
    request = parse_request(config)
    check_report_libraries()  # of the report, before the time is spent
    first = compose_training_config(request.words, config.methods[0])
    if "dataset" not in request.typed:
        log_warning(f"no dataset was typed, so this is {first.dataset.title}; type dataset=NAME for your own images")
    check_writable(Path(config.output_dir) / "benchmark")
    install_handler(signal.SIGHUP)  # the terminal was closed: what runs in other processes must end, too
    catalogue = load_catalogue(first.dataset, Path(config.store_dir))
    catalogue.check_labelled("a benchmark")
    split = make_configured_split(first, catalogue)
    compute = resolve_device(first.device.name, first.precision.name)
    asked = build_question(request, first, catalogue, compute)
    doubts = [f"Careful, {doubt}." for doubt in compute_leakage(catalogue, split).list_warnings()]
    if (validation := len(split.validation)) < MIN_CHOOSING_IMAGES:
        few = f"Careful, only {pluralise(validation, 'image')} to choose with"
        doubts.append(f"{few}: the encoder is chosen{format_choice_noise(validation)}." if validation else f"{few}.")
    with lock(request.plan_path(asked), "the same benchmark"):
        plan = make_plan(request, asked, catalogue, split)
        stored = None if config.force else read_benchmark_plan(request, asked)
        if stored is not None and stored.has_same_encoders(plan):
            plan = stored
        print(format_plan(plan, request, catalogue, split, compute.describe(), doubts), flush=True)
        if config.dry_run:
            return
        runner = BenchmarkRunner(plan, request, started, doubts)
        try:
            runner.run()
        except KeyboardInterrupt:  # `Interrupted`, which SIGTERM raises, is one
            print("\n" + write_answer(runner.plan, request, doubts, ended=True), flush=True)
            raise
        print("\n" + write_answer(runner.plan, request, doubts, ended=True), flush=True)
        runner.check_no_failures()
