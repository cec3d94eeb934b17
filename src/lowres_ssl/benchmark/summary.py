"""Make a benchmark's plan and write the plan, the answer and the next commands as text."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from hydra.core.hydra_config import HydraConfig

from lowres_ssl.benchmark.cost_estimate import CostRequest, measure_in_subprocess
from lowres_ssl.benchmark.plan import BenchmarkPlan
from lowres_ssl.benchmark.recommendation import write_recommendation
from lowres_ssl.benchmark.request import (
    Request,
    choose_settings,
    compose_training_config,
    get_linear_settings,
)
from lowres_ssl.benchmark.runner import BudgetClock
from lowres_ssl.benchmark.schedule import (
    COST_MARGIN,
    MAX_SEEDS,
    MIN_SEEDS,
    RESERVED_SHARE,
    SCHEDULE_RULE,
    TypedChoices,
    compute_min_budget,
    compute_schedule,
)
from lowres_ssl.benchmark.steps import EXTRA_TITLES, LABELS_EXTRA, quote_path
from lowres_ssl.config.check import PretrainConfig
from lowres_ssl.config.duration import format_budget
from lowres_ssl.config.overrides import format_command
from lowres_ssl.console import format_duration, format_table, log_warning, pluralise
from lowres_ssl.data.catalogue import Catalogue
from lowres_ssl.data.splits import Split, compute_leakage
from lowres_ssl.errors import ConfigError, TrainingError
from lowres_ssl.io.atomic import write_text
from lowres_ssl.runs.index import read_index
from lowres_ssl.runs.query import ResultFilters, select_columns

LONGER_BUDGETS = 4  # budgets that are offered for more epochs


def make_plan(
    question: Request,
    path: Path,
    store_dir: Path,
    asked: dict[str, object],
    catalogue: Catalogue,
    split: Split,
    clock: BudgetClock,
) -> BenchmarkPlan:
    """A plan made on this machine. On a GPU the paper's encoder and size where they fit into memory and budget; else
    the small ones."""
    config = question.config
    sizes = [True, False] if asked["device"] == "cuda" else [False]
    for large in sizes:
        fitted = choose_settings(question, catalogue, split, large=large)
        words = (*question.words, *fitted)
        places = (f"store_dir={quote_path(store_dir)}", f"output_dir={quote_path(config.output_dir)}")
        configs = {method: compose_training_config([*words, *places], method) for method in config.methods}
        trained = list(configs)[-1]
        own, linear = configs[trained], get_linear_settings(words, config.probe, trained)
        try:
            measured = measure_in_subprocess(CostRequest(configs, linear, tuple(config.fewer_labels)))
            costs = replace(measured.costs, prepare=measured.costs.prepare + clock.spent())
            # All methods with the small encoder before some of them with the large one.
            may_be_left_out = () if large or "methods" in question.typed else tuple(costs.epoch)
            typed = TypedChoices(config.epochs, may_be_left_out, epochs=question.epochs, seeds=config.seeds)
            allotment = compute_schedule(costs, question.budget, typed)
        except ConfigError:
            if large:
                continue
            raise
        return BenchmarkPlan(
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


def format_plan(
    study: BenchmarkPlan, question: Request, first: PretrainConfig, catalogue: Catalogue, split: Split
) -> str:
    """What will run and how long it will take."""
    own, costs = study.allotment, study.own_costs
    final = compose_training_config(study.words, study.methods[0])
    neighbours = f", KNN k = {final.probe['knn']['k']}" if "knn" in final.probe else ""
    speeds = list(dict.fromkeys(f"{each(study.views.values()):,.0f}" for each in (min, max))) if study.views else []
    measured = f"; {' to '.join(speeds)} views a second, measured" if speeds else ""
    rows = [["read, measure, decode the images", "", format_duration(costs.prepare)]]
    runs = len(study.methods) * own.seeds
    each = f"{own.seeds} x {format_duration(costs.round(own.epochs))}"
    rows.append([f"{pluralise(own.seeds, 'seed')} of {', '.join(study.methods)}", pluralise(runs, "run"), each])
    if (further := own.random_seeds - own.seeds) > 0:
        rows.append(
            [
                f"{pluralise(further, 'more seed')} of the random encoders",
                "",
                format_duration(costs.compute_random_seconds(further)),
            ]
        )
    for name in own.extras:
        rows.append([f"scores: {format_extra(name, question)}", "", format_duration(own.seeds * costs.extras[name])])
    rows.append(["tables, comparison, report", "", format_duration(costs.report)])
    rows.append([f"kept back, {RESERVED_SHARE:.0%} of the budget", "", format_duration(RESERVED_SHARE * study.budget)])
    rows.append(
        [
            "in all",
            "",
            f"{format_duration(own.seconds + RESERVED_SHARE * study.budget)} of {format_duration(study.budget)}",
        ]
    )
    left_out = [format_extra(name, question) for name in costs.extras if name not in own.extras]
    told = f" No time for: {'; '.join(left_out)}." if left_out else ""
    notes = (
        [f"Left out for want of time: {', '.join(own.left_out)}. {suggest_full_budget(study)}"] if own.left_out else []
    )
    if own.seeds < MIN_SEEDS:
        notes.append(
            f"With {pluralise(own.seeds, 'seed')} no difference but "
            "a huge one is significant: leave seeds out, or type "
            f"seeds={MIN_SEEDS}."
        )
    return "\n".join(
        [
            f"{first.dataset.title}: {len(catalogue.records):,} images in {len(catalogue.classes)} classes; "
            f"{len(split.train):,} train, {len(split.validation):,} validate, {len(split.test):,} test "
            f"(split {split.kind})",
            f"{final.backbone.name} at {final.image_size} px, recipe {final.recipe}, batch size "
            f"{final.batch_size}{neighbours}; {study.device}{measured}",
            "",
            format_table(["what", "runs", "about"], rows, right=(1, 2)),
            "",
            f"Every method: {pluralise(own.epochs, 'epoch')} of the same "
            f"views in the same steps (rule {SCHEDULE_RULE}).{told}",
            *notes,
            *format_leakage_warnings(catalogue, split),
        ]
    )


def format_extra(name: str, question: Request) -> str:
    fractions = ", ".join(f"{100 * each:g}%" for each in question.config.fewer_labels)
    return f"{EXTRA_TITLES[name]} ({fractions})" if name == LABELS_EXTRA else EXTRA_TITLES[name]


def format_leakage_warnings(catalogue: Catalogue, split: Split) -> list[str]:
    """A line where test images are not new to what was trained."""
    return [f"Careful, {doubt}." for doubt in compute_leakage(catalogue, split).list_warnings()]


def print_recommendation(study: BenchmarkPlan, question: Request, doubts: Sequence[str]) -> None:
    """The answer on the terminal and beside the report. Raises `TrainingError` if something failed, all being said."""
    lines = [*list_recommendation_lines(study, question, doubts), *list_next_commands(study, question)]
    print("\n" + "\n".join(lines), flush=True)
    write_text(study.file("answer.txt"), "\n".join(lines) + "\n")
    if study.failed:
        raise TrainingError(
            f"{pluralise(len(study.failed), 'failure')}, told above and in {study.log}: {study.failed[0]}"
        )


def list_recommendation_lines(study: BenchmarkPlan, question: Request, doubts: Sequence[str]) -> Iterator[str]:
    seeds = study.seeds_done()
    frame, problems = read_index(study.folder)
    for problem in problems:
        log_warning(problem)
    shown = dict(each.partition("=")[::2] for each in study.shown)
    size = int(shown["image_size"])
    filters = ResultFilters(
        epochs=study.allotment.epochs,
        seed=seeds,
        untrained_seed=study.random_seeds_done(),
        backbone=shown["backbone"],
        image_size=size,
    )
    by_probe = {
        column.probe: column
        for column in select_columns(frame, filters)
        if column.probe in question.config.probe or column.probe == "linear"
    }
    found = write_recommendation(by_probe, study.methods, question.config.chosen_by, seeds)
    yield f"Which method for {next(iter(by_probe.values())).rows['title'].iloc[0]}?"
    yield ""
    yield from found.lines
    yield from doubts
    if study.allotment.left_out:
        yield (
            "Left out of the plan for want of time: "
            f"{', '.join(study.allotment.left_out)}. {suggest_full_budget(study)}"
        )
    for name in study.dropped:
        yield f"Left out for want of time, for all methods alike: {name}."
    for failure in study.failed:
        yield f"Failed: {failure}."


def list_next_commands(study: BenchmarkPlan, question: Request) -> Iterator[str]:
    """The report, and what to type to know more."""
    yield ""
    if study.report.exists():
        yield f"Report: {study.report}"
    yield f"More certain: {suggest_more_seeds(study, study.seeds_done())}"
    if question.epochs is None and study.allotment.epochs < question.config.epochs:
        yield (
            "Longer training: "
            f"{format_command(*build_repeat_command(study, f'budget={format_budget(LONGER_BUDGETS * study.budget)}'))}"
        )


def suggest_more_seeds(study: BenchmarkPlan, seeds: Sequence[int]) -> str:
    """What to type for it: the same epochs with the most seeds that are planned, or twice those that are there, of
    which none is run again."""
    own = study.allotment
    costs = study.own_costs
    wanted = MAX_SEEDS if len(seeds) < MAX_SEEDS else 2 * len(seeds)
    whole = costs.whole(wanted, own.epochs, own.extras, own.random_seeds) / (1 - RESERVED_SHARE)
    rest = (wanted - len(seeds)) * costs.round(own.epochs) + costs.report
    methods = [f"methods=[{','.join(study.methods)}]"] if own.left_out else []
    others = [f"epochs={own.epochs}", f"seeds={wanted}", f"budget={format_budget(1.05 * whole)}"]
    words = build_repeat_command(study, *methods, *others)
    return (
        f"{format_command(*words)}   # about {format_duration(rest)}: "
        f"the {pluralise(len(seeds), 'seed')} that are there are kept"
    )


def suggest_full_budget(study: BenchmarkPlan) -> str:
    """Say which budget has room for every method."""
    typed = TypedChoices(study.allotment.epochs, epochs=study.asked["epochs"], seeds=study.asked["seeds"])
    return f"All methods: budget={format_budget(COST_MARGIN * compute_min_budget(study.costs, typed))}."


def build_repeat_command(study: BenchmarkPlan, *others: str) -> list[str]:
    """The command as it was typed, with another budget, epochs and seeds."""
    task = HydraConfig.get().overrides.task
    kept = [each for each in task if each.partition("=")[0] not in ("budget", "epochs", "seeds", "force")]
    return ["benchmark", *study.flags, *kept, *others]
