"""`lowres-ssl benchmark`: which method for my images? Planned by the budget, run, and answered."""

import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from lowres_ssl.benchmark.allotment import (
    KEPT_BACK,
    LEAST_SEEDS,
    MARGIN,
    MOST_SEEDS,
    RULE,
    Typed,
    allot,
    least_budget,
)
from lowres_ssl.benchmark.answer import answer
from lowres_ssl.benchmark.asking import Question, asked_of, composed, fitting_words, linear_settings, question_of
from lowres_ssl.benchmark.budget import typed_time
from lowres_ssl.benchmark.costs import Asked, measure
from lowres_ssl.benchmark.rounds import ABOUT, LABELS, word
from lowres_ssl.benchmark.running import Clock, Probed, keep, run_study
from lowres_ssl.benchmark.study import Study, read_study, study_path
from lowres_ssl.command_line.overrides import command_line
from lowres_ssl.config import PretrainConfig, read_config
from lowres_ssl.data.leakage import leakage
from lowres_ssl.data.records import Catalogue
from lowres_ssl.data.splits import Split
from lowres_ssl.errors import ConfigError, TrainingError
from lowres_ssl.files.atomic import write_text
from lowres_ssl.files.leases import held
from lowres_ssl.interruption import heed
from lowres_ssl.planning.preparation import catalogue_of, split_of
from lowres_ssl.report.pages import require_libraries
from lowres_ssl.results.ledger import ledger
from lowres_ssl.results.selection import Filters, columns_of
from lowres_ssl.runs import check_writable
from lowres_ssl.schemas.benchmark import BenchmarkConfig
from lowres_ssl.terminal import columns, count, duration, say, warn

LONGER = 4  # budgets that are offered for more epochs


def main(cfg: DictConfig) -> None:
    started = time.monotonic()
    config = read_config(cfg, BenchmarkConfig)
    question = question_of(config)
    output_dir, store_dir = Path(config.output_dir), Path(config.store_dir)
    require_libraries()  # of the report, before the time is spent
    first = composed(question.words, config.methods[0])
    if "dataset" not in question.typed:
        warn(f"no dataset was typed, so this is {first.dataset.title}; type dataset=NAME for your own images")
    check_writable(output_dir / "benchmark")
    heed(signal.SIGHUP)  # the terminal was closed: what runs in other processes must end, too
    catalogue = catalogue_of(first.dataset, store_dir)
    split = split_of(first, catalogue)
    asked = asked_of(question, first, catalogue)
    with held(study_path(output_dir, asked), "the same benchmark"):
        study = None if config.force else read_study(output_dir, store_dir, question.flags, question.words, asked)
        clock = Clock(0.0 if study is None else study.spent, started)
        if study is None:
            say("Measuring what a step, features and scores cost here")
            study = planned(question, study_path(output_dir, asked), store_dir, asked, catalogue, split, clock)
        print(plan_text(study, question, first, catalogue, split), flush=True)
        if config.dry_run:
            return
        study = keep(study, clock)
        probed = Probed(tuple(config.probe), tuple(config.fewer_labels))
        doubts = careful(catalogue, split)

        def answered(study: Study) -> None:
            write_text(study.file("answer.txt"), "\n".join(answer_lines(study, question, doubts)) + "\n")

        study = run_study(study, clock, probed, answered)
        finish(study, question, doubts)


def planned(
    question: Question,
    path: Path,
    store_dir: Path,
    asked: dict[str, object],
    catalogue: Catalogue,
    split: Split,
    clock: Clock,
) -> Study:
    """A plan made on this machine. On a GPU the paper's encoder and size where they fit into memory and budget; else
    the small ones."""
    config = question.config
    sizes = [True, False] if asked["device"] == "cuda" else [False]
    for large in sizes:
        fitted = fitting_words(question, catalogue, split, large=large)
        words = (*question.words, *fitted)
        places = (f"store_dir={word(store_dir)}", f"output_dir={word(config.output_dir)}")
        configs = {method: composed([*words, *places], method) for method in config.methods}
        trained = list(configs)[-1]
        own, linear = configs[trained], linear_settings(words, config.probe, trained)
        try:
            measured = measure(Asked(configs, linear, tuple(config.fewer_labels)))
            costs = replace(measured.costs, prepare=measured.costs.prepare + clock.spent())
            # All methods with the small encoder before some of them with the large one.
            may_be_left_out = () if large or "methods" in question.typed else tuple(costs.epoch)
            typed = Typed(config.epochs, may_be_left_out, epochs=question.epochs, seeds=config.seeds)
            allotment = allot(costs, question.budget, typed)
        except ConfigError:
            if large:
                continue
            raise
        return Study(
            path=path,
            store_dir=store_dir,
            flags=question.flags,
            asked=asked,
            methods=tuple(method for method in config.methods if method not in allotment.left_out),
            typed=question.words,
            fitted=fitted,
            shown=(f"backbone={own.backbone.name}", f"image_size={own.image_size}"),
            costs=costs,
            views=measured.views,
            device=measured.device,
            allotment=allotment,
        )
    raise AssertionError("the last size either fits or raises")


def plan_text(study: Study, question: Question, first: PretrainConfig, catalogue: Catalogue, split: Split) -> str:
    """What will run and how long it will take."""
    own, costs = study.allotment, study.own_costs
    final = composed(study.words, study.methods[0])
    neighbours = f", KNN k = {final.probe['knn']['k']}" if "knn" in final.probe else ""
    speeds = list(dict.fromkeys(f"{each(study.views.values()):,.0f}" for each in (min, max))) if study.views else []
    measured = f"; {' to '.join(speeds)} views a second, measured" if speeds else ""
    rows = [["read, measure, decode the images", "", duration(costs.prepare)]]
    runs = len(study.methods) * own.seeds
    each = f"{own.seeds} x {duration(costs.round(own.epochs))}"
    rows.append([f"{count(own.seeds, 'seed')} of {', '.join(study.methods)}", count(runs, "run"), each])
    if (further := own.random_seeds - own.seeds) > 0:
        rows.append(
            [f"{count(further, 'more seed')} of the random encoders", "", duration(costs.further_random(further))]
        )
    for name in own.extras:
        rows.append([f"scores: {about(name, question)}", "", duration(own.seeds * costs.extras[name])])
    rows.append(["tables, comparison, report", "", duration(costs.report)])
    rows.append([f"kept back, {KEPT_BACK:.0%} of the budget", "", duration(KEPT_BACK * study.budget)])
    rows.append(["in all", "", f"{duration(own.seconds + KEPT_BACK * study.budget)} of {duration(study.budget)}"])
    left_out = [about(name, question) for name in costs.extras if name not in own.extras]
    told = f" No time for: {'; '.join(left_out)}." if left_out else ""
    notes = [f"Left out for want of time: {', '.join(own.left_out)}. {all_methods(study)}"] if own.left_out else []
    if own.seeds < LEAST_SEEDS:
        notes.append(
            f"With {count(own.seeds, 'seed')} no difference but a huge one is significant: leave seeds out, or type "
            f"seeds={LEAST_SEEDS}."
        )
    return "\n".join(
        [
            f"{first.dataset.title}: {len(catalogue.records):,} images in {len(catalogue.classes)} classes; "
            f"{len(split.train):,} train, {len(split.validation):,} validate, {len(split.test):,} test "
            f"(split {split.kind})",
            f"{final.backbone.name} at {final.image_size} px, recipe {final.recipe}, batch size "
            f"{final.batch_size}{neighbours}; {study.device}{measured}",
            "",
            columns(["what", "runs", "about"], rows, right=(1, 2)),
            "",
            f"Every method: {count(own.epochs, 'epoch')} of the same views in the same steps (rule {RULE}).{told}",
            *notes,
            *careful(catalogue, split),
        ]
    )


def about(name: str, question: Question) -> str:
    fractions = ", ".join(f"{100 * each:g}%" for each in question.config.fewer_labels)
    return f"{ABOUT[name]} ({fractions})" if name == LABELS else ABOUT[name]


def careful(catalogue: Catalogue, split: Split) -> list[str]:
    """A line where test images are not new to what was trained."""
    return [f"Careful, {doubt}." for doubt in leakage(catalogue, split).doubts()]


def finish(study: Study, question: Question, doubts: Sequence[str]) -> None:
    """The answer on the terminal and beside the report. Raises `TrainingError` if something failed, all being said."""
    lines = [*answer_lines(study, question, doubts), *next_lines(study, question)]
    print("\n" + "\n".join(lines), flush=True)
    write_text(study.file("answer.txt"), "\n".join(lines) + "\n")
    if study.failed:
        raise TrainingError(f"{count(len(study.failed), 'failure')}, told above and in {study.log}: {study.failed[0]}")


def answer_lines(study: Study, question: Question, doubts: Sequence[str]) -> Iterator[str]:
    seeds = study.seeds_done()
    frame, problems = ledger(study.folder)
    for problem in problems:
        warn(problem)
    shown = dict(each.partition("=")[::2] for each in study.shown)
    size = int(shown["image_size"])
    filters = Filters(
        epochs=study.allotment.epochs,
        seed=seeds,
        untrained_seed=study.random_seeds_done(),
        backbone=shown["backbone"],
        image_size=size,
    )
    by_probe = {
        column.probe: column
        for column in columns_of(frame, filters)
        if column.probe in question.config.probe or column.probe == "linear"
    }
    found = answer(by_probe, study.methods, question.config.chosen_by, seeds)
    yield f"Which method for {next(iter(by_probe.values())).rows['title'].iloc[0]}?"
    yield ""
    yield from found.lines
    yield from doubts
    if study.allotment.left_out:
        yield f"Left out of the plan for want of time: {', '.join(study.allotment.left_out)}. {all_methods(study)}"
    for name in study.dropped:
        yield f"Left out for want of time, for all methods alike: {name}."
    for failure in study.failed:
        yield f"Failed: {failure}."


def next_lines(study: Study, question: Question) -> Iterator[str]:
    """The report, and what to type to know more."""
    yield ""
    if study.report.exists():
        yield f"Report: {study.report}"
    yield f"More certain: {more_certain(study, study.seeds_done())}"
    if question.epochs is None and study.allotment.epochs < question.config.epochs:
        yield f"Longer training: {command_line(*typed_with(study, f'budget={typed_time(LONGER * study.budget)}'))}"


def more_certain(study: Study, seeds: Sequence[int]) -> str:
    """What to type for it: the same epochs with the most seeds that are planned, or twice those that are there, of
    which none is run again."""
    own = study.allotment
    costs = study.own_costs
    wanted = MOST_SEEDS if len(seeds) < MOST_SEEDS else 2 * len(seeds)
    whole = costs.whole(wanted, own.epochs, own.extras, own.random_seeds) / (1 - KEPT_BACK)
    rest = (wanted - len(seeds)) * costs.round(own.epochs) + costs.report
    methods = [f"methods=[{','.join(study.methods)}]"] if own.left_out else []
    others = [f"epochs={own.epochs}", f"seeds={wanted}", f"budget={typed_time(1.05 * whole)}"]
    words = typed_with(study, *methods, *others)
    return f"{command_line(*words)}   # about {duration(rest)}: the {count(len(seeds), 'seed')} that are there are kept"


def all_methods(study: Study) -> str:
    """Say which budget has room for every method."""
    typed = Typed(study.allotment.epochs, epochs=study.asked["epochs"], seeds=study.asked["seeds"])
    return f"All methods: budget={typed_time(MARGIN * least_budget(study.costs, typed))}."


def typed_with(study: Study, *others: str) -> list[str]:
    """The command as it was typed, with another budget, epochs and seeds."""
    task = HydraConfig.get().overrides.task
    kept = [each for each in task if each.partition("=")[0] not in ("budget", "epochs", "seeds", "force")]
    return ["benchmark", *study.flags, *kept, *others]
