"""Write a benchmark's plan, its answer and the next commands as text."""

from collections.abc import Iterator, Sequence

from hydra.core.hydra_config import HydraConfig

from lowres_ssl.benchmark.plan import LABELS_EXTRA, LINEAR_EXTRA, BenchmarkPlan
from lowres_ssl.benchmark.recommendation import write_recommendation
from lowres_ssl.benchmark.request import Request
from lowres_ssl.benchmark.schedule import (
    COST_MARGIN,
    MAX_SEEDS,
    MIN_SEEDS,
    RESERVED_SHARE,
    SCHEDULE_RULE,
    TypedChoices,
    compute_min_budget,
)
from lowres_ssl.config.overrides import format_budget, format_command
from lowres_ssl.console import format_duration, format_table, log_warning, pluralise
from lowres_ssl.data.catalogue import Catalogue
from lowres_ssl.data.splits import Split, compute_leakage
from lowres_ssl.errors import TrainingError
from lowres_ssl.io.atomic import write_text
from lowres_ssl.runs.filters import ResultFilters
from lowres_ssl.runs.index import read_index
from lowres_ssl.runs.query import select_columns

LONGER_BUDGETS = 4  # budgets that are offered for more epochs
EXTRA_TITLES = {LABELS_EXTRA: "fewer labels", LINEAR_EXTRA: "linear (MLP) probe"}


def format_plan(plan: BenchmarkPlan, request: Request, title: str, catalogue: Catalogue, split: Split) -> str:
    """Write what will run and how long it will take."""
    own, costs, settings, budget = plan.schedule, plan.own_costs, plan.settings, plan.asked.budget
    neighbours = "" if settings.k is None else f", KNN k = {settings.k}"
    speeds = dict.fromkeys(f"{each(costs.views.values()):,.0f}" for each in (min, max)) if costs.views else ()
    measured = f"; {' to '.join(speeds)} views a second, measured" if speeds else ""
    seeds, runs = pluralise(own.seeds, "seed"), pluralise(len(plan.methods) * own.seeds, "run")
    further = own.random_seeds - own.seeds
    rows = [
        ("read, measure, decode the images", "", format_duration(costs.prepare)),
        (f"{seeds} of {', '.join(plan.methods)}", runs, f"{own.seeds} x {format_duration(costs.round(own.epochs))}"),
    ]
    if further > 0:
        title_of_seeds = f"{pluralise(further, 'more seed')} of the random encoders"
        rows.append((title_of_seeds, "", format_duration(costs.compute_random_seconds(further))))
    for name in own.extras:
        rows.append((f"scores: {format_extra(name, plan)}", "", format_duration(own.seeds * costs.extras[name])))
    reserved = RESERVED_SHARE * budget
    rows += [
        ("tables, comparison, report", "", format_duration(costs.report)),
        (f"kept back, {RESERVED_SHARE:.0%} of the budget", "", format_duration(reserved)),
        ("in all", "", f"{format_duration(own.seconds + reserved)} of {format_duration(budget)}"),
    ]
    rule = f"Every method: {pluralise(own.epochs, 'epoch')} of the same views in the same steps (rule {SCHEDULE_RULE})."
    if missing := [format_extra(name, plan) for name in costs.extras if name not in own.extras]:
        rule += f" No time for: {'; '.join(missing)}."
    notes = []
    if own.left_out:
        notes.append(f"Left out for want of time: {', '.join(own.left_out)}. {suggest_full_budget(plan)}")
    if own.seeds < MIN_SEEDS:
        notes.append(f"With {seeds} nothing is tested: leave seeds out, or type seeds={MIN_SEEDS}.")
    return "\n".join(
        [
            f"{title}: {len(catalogue.records):,} images in {len(catalogue.classes)} classes; {len(split.train):,} "
            f"train, {len(split.validation):,} validate, {len(split.test):,} test (split {split.kind})",
            f"{settings.backbone} at {settings.image_size} px, recipe {request.config.recipe}, batch size "
            f"{settings.batch_size}{neighbours}; {costs.device}{measured}",
            "",
            format_table(["what", "runs", "about"], rows, right=(1, 2)),
            "",
            rule,
            *notes,
            *format_leakage_warnings(catalogue, split),
        ]
    )


def format_extra(name: str, plan: BenchmarkPlan) -> str:
    fractions = ", ".join(f"{100 * each:g}%" for each in plan.asked.fewer_labels)
    return f"{EXTRA_TITLES[name]} ({fractions})" if name == LABELS_EXTRA else EXTRA_TITLES[name]


def format_leakage_warnings(catalogue: Catalogue, split: Split) -> list[str]:
    """A line where test images are not new to what was trained."""
    return [f"Careful, {doubt}." for doubt in compute_leakage(catalogue, split).list_warnings()]


def print_recommendation(plan: BenchmarkPlan, request: Request, doubts: Sequence[str]) -> None:
    """Print the answer and store it beside the report. Raises `TrainingError` at the end if something failed."""
    lines = [*list_recommendation_lines(plan, request, doubts), *list_next_commands(plan, request)]
    print("\n" + "\n".join(lines), flush=True)
    write_text(request.call.file(plan.asked, "answer.txt"), "\n".join(lines) + "\n")
    if plan.failed:
        log = request.call.file(plan.asked, "log.txt")
        raise TrainingError(f"{pluralise(len(plan.failed), 'failure')}, see above and {log}: {plan.failed[0]}")


def list_recommendation_lines(plan: BenchmarkPlan, request: Request, doubts: Sequence[str]) -> Iterator[str]:
    frame, problems = read_index(request.call.folder(plan.asked))
    for problem in problems:
        log_warning(problem)
    filters = ResultFilters(
        epochs=plan.schedule.epochs,
        seed=plan.seeds_done,
        untrained_seed=plan.random_seeds_done,
        backbone=plan.settings.backbone,
        image_size=plan.settings.image_size,
    )
    probes = {*request.config.probe, LINEAR_EXTRA}
    columns = {column.probe: column for column in select_columns(frame, filters) if column.probe in probes}
    found = write_recommendation(columns, plan.methods, plan.asked.chosen_by, plan.seeds_done)
    yield f"Which method for {next(iter(columns.values())).rows['title'].iloc[0]}?"
    yield ""
    yield from found
    yield from doubts
    if left_out := plan.schedule.left_out:
        yield f"Left out of the plan for want of time: {', '.join(left_out)}. {suggest_full_budget(plan)}"
    for name in plan.dropped:
        yield f"Left out for want of time, for all methods alike: {name}."
    for failure in plan.failed:
        yield f"Failed: {failure}."


def list_next_commands(plan: BenchmarkPlan, request: Request) -> Iterator[str]:
    """The report, and what to type to know more."""
    report = request.call.file(plan.asked, "report.html")
    yield ""
    if report.exists():
        yield f"Report: {report}"
    yield f"More certain: {suggest_more_seeds(plan, request.call.flags)}"
    if plan.asked.epochs is None and plan.schedule.epochs < request.config.epochs:
        budget = f"budget={format_budget(LONGER_BUDGETS * plan.asked.budget)}"
        yield f"Longer training: {format_repeat_command(request.call.flags, budget)}"


def suggest_more_seeds(plan: BenchmarkPlan, flags: Sequence[str]) -> str:
    """The same epochs with the most seeds that are planned, or twice those that are there, of which none is run
    again."""
    own, costs, seeds = plan.schedule, plan.own_costs, len(plan.seeds_done)
    wanted = MAX_SEEDS if seeds < MAX_SEEDS else 2 * seeds
    whole = costs.whole(wanted, own.epochs, own.extras, own.random_seeds) / (1 - RESERVED_SHARE)
    rest = (wanted - seeds) * costs.round(own.epochs) + costs.report
    others = [f"methods=[{','.join(plan.methods)}]"] if own.left_out else []
    others += [f"epochs={own.epochs}", f"seeds={wanted}", f"budget={format_budget(1.05 * whole)}"]
    about = f"about {format_duration(rest)}: the {pluralise(seeds, 'seed')} that are there are kept"
    return f"{format_repeat_command(flags, *others)}   # {about}"


def suggest_full_budget(plan: BenchmarkPlan) -> str:
    """The budget that has room for every method."""
    typed = TypedChoices(plan.schedule.epochs, epochs=plan.asked.epochs, seeds=plan.asked.seeds)
    return f"All methods: budget={format_budget(COST_MARGIN * compute_min_budget(plan.costs, typed))}."


def format_repeat_command(flags: Sequence[str], *others: str) -> str:
    """The command as it was typed, with another budget, epochs and seeds."""
    task = HydraConfig.get().overrides.task
    kept = [each for each in task if each.partition("=")[0] not in ("budget", "epochs", "seeds", "force")]
    return format_command("benchmark", *flags, *kept, *others)
