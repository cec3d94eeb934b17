"""From the ledger to what the template and the script of the page need."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from lowres_ssl.config.command_schemas import TableConfig
from lowres_ssl.config.overrides import format_command
from lowres_ssl.data.pseudonyms import find_pseudonyms
from lowres_ssl.errors import DataError, UserError
from lowres_ssl.reporting.figures import Picture, Stored
from lowres_ssl.reporting.html import Chapter
from lowres_ssl.reporting.html.dataset_facts import (
    ThumbnailAlbum,
    collect_dataset_facts,
    count_test_groups,
    count_test_images,
)
from lowres_ssl.reporting.html.inline_svg import draw_inline_svg
from lowres_ssl.reporting.html.page_data import build_feature_maps, build_page_data, choose_shown_images
from lowres_ssl.reporting.html.runs_table import list_report_runs
from lowres_ssl.reporting.html.sections import HardExamples, build_sections, find_hard_examples
from lowres_ssl.reporting.tables import Table
from lowres_ssl.reporting.tables.fill_commands import build_neighbour_dataset
from lowres_ssl.runs.query import ResultFilters, select_ordinary

TableBuilder = Callable[[str, TableConfig], Table]


@dataclass(frozen=True)
class ReportOptions:
    """What the report may hold. gallery: how many images at most; names: whether files, folders, groups are told."""

    thumbnails: bool
    names: bool
    thumbnail_size: int
    gallery: int


def build_report(
    stored: Stored,
    tables: dict[str, TableConfig],
    make: TableBuilder,
    pictures: dict[str, Picture],
    wanted: ReportOptions,
) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """The parts for the template, the data for the script, and a line for each part that cannot be shown.

    Raises `DataError` if there is nothing to show.
    """
    chapters, problems = build_sections(stored.results, stored.filters)
    if not chapters:
        hint = problems[0] if problems else "no finished results; make some: " + stored.command("method=simclr")
        raise DataError(f"nothing to report: {hint}")
    made, said = build_tables(stored.results, stored.filters, tables, make)
    problems += said
    album = ThumbnailAlbum(stored.store_dir, wanted.thumbnail_size)
    shown, data = [], []
    for chapter in chapters:
        parts, plain, said = build_section_parts(chapter, stored, pictures, album, wanted)
        shown.append(parts)
        data.append(plain)
        problems += said
    listed = list_report_runs(stored.filters.apply(stored.results), stored.output_dir, paths=wanted.names)
    parts = {"tables": made, "chapters": shown, "runs": listed, "wanted": wanted}
    return parts, {"pictures": album.pictures, "chapters": data}, list(dict.fromkeys(problems))


def build_tables(
    frame: pd.DataFrame, filters: ResultFilters, tables: dict[str, TableConfig], make: TableBuilder
) -> tuple[list[Table], list[str]]:
    """One a table and data set that has results for it; rows without one only where the paper has a number. And a line
    for each that cannot be shown."""
    made, problems = [], []
    rows = filters.apply(select_ordinary(frame))
    for name, table in tables.items():
        there = set(rows.loc[rows["probe"].isin(table.probe), "dataset"])
        named = [each for each in table.datasets if each in there]
        others = sorted(there - set(named)) if "*" in table.datasets else []
        for dataset in [*named, *others]:
            try:
                found = make(name, select_dataset(table, dataset))
            except UserError as error:
                problems.append(f"table {name}: {error}")
                continue
            made += [found] if found.blocks else []
    return made, problems


def select_dataset(table: TableConfig, dataset: str) -> TableConfig:
    """The table of one data set. Its notes are about the paper's numbers, so they go where there are none."""
    published = any(dataset in row.paper for row in table.rows.values())
    rows = {key: replace(row, optional=row.optional or dataset not in row.paper) for key, row in table.rows.items()}
    return replace(table, datasets=[dataset], rows=rows, notes=table.notes if published else [])


def build_section_parts(
    chapter: Chapter, stored: Stored, pictures: dict[str, Picture], album: ThumbnailAlbum, wanted: ReportOptions
) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    hard = [find_hard_examples(probed) for probed in chapter.probes]
    maps, problems = build_feature_maps(chapter)
    about = collect_dataset_facts(chapter, stored.store_dir)
    images = choose_shown_images(chapter, hard, wanted.gallery)
    ids = [str(chapter.tested.ids[row]) for row in images]
    hidden = find_pseudonyms(about.root, stored.store_dir) if chapter.tested.hashed else None
    named = str if hidden is None else hidden.image
    thumbnails = album.add(about.store, ids, named) if wanted.thumbnails else [-1] * len(ids)
    if wanted.thumbnails and -1 in thumbnails:
        problems.append(format_no_thumbnails(chapter, stored))
    drawn, said = build_drawings(chapter, stored, pictures)
    plain = build_page_data(chapter, maps, images, thumbnails, names=wanted.names)
    row = chapter.first.rows.iloc[0]
    parts = {
        "chapter": chapter,
        "about": about,
        "counts": count_test_images(chapter),
        "groups": count_test_groups(chapter),
        "split": {"kind": row["split"], "seed": chapter.split_seed, "digest": chapter.split_digest[:8]},
        "image_size": row["image_size"],
        "images": len(chapter.tested.labels),
        "dots": len(plain["dots"]),
        "confusions": [
            (probed.label, [(method, build_confusion_rows(method.confusion().tolist())) for method in probed.methods])
            for probed in chapter.probes
        ],
        "galleries": [build_gallery(each, images, wanted.gallery) for each in hard],
        "drawn": drawn,
        "has_maps": bool(maps),
        "has_curves": bool(plain["curves"]),
    }
    return parts, plain, problems + said


def format_no_thumbnails(chapter: Chapter, stored: Stored) -> str:
    rows = chapter.first.rows
    words = build_neighbour_dataset(chapter.dataset, rows, stored.output_dir)
    command = format_command("data", *words, f"image_size={rows['image_size'].iloc[0]}", "prepare=true")
    return f"{chapter.title}: decoded images are not in {stored.store_dir}, so they have no thumbnails; type {command}"


def build_drawings(
    chapter: Chapter, stored: Stored, pictures: dict[str, Picture]
) -> tuple[dict[str, str | None], list[str]]:
    """Each picture by its name, None where there is nothing to draw; and a line for each that cannot be drawn."""
    drawn: dict[str, str | None] = {}
    problems = []
    for name, picture in pictures.items():
        try:
            shows = name != "batch_size" or has_several_batch_sizes(stored, chapter)
            drawn[name] = draw_inline_svg(name, picture, stored, chapter) if shows else None
        except UserError as error:
            problems.append(str(error))
    return drawn, problems


def build_gallery(hard: HardExamples, images: Sequence[int], most: int) -> dict[str, Any]:
    """At most so many of each kind, as places in `images`, which has them; and how many there are."""
    place = {image: number for number, image in enumerate(images)}
    return {
        "label": hard.label,
        "methods": hard.methods,
        "wrong": [place[image] for image in hard.all_wrong[:most].tolist()],
        "wrong_count": len(hard.all_wrong),
        "disputed": [place[image] for image in hard.disputed[:most].tolist()],
        "disputed_count": len(hard.disputed),
    }


def has_several_batch_sizes(stored: Stored, chapter: Chapter) -> bool:
    """Whether an entry was trained with several: of one there is no curve."""
    rows = select_ordinary(stored.filters.apply(stored.results))
    rows = rows[(rows["dataset"] == chapter.dataset) & (rows["split_digest"] == chapter.split_digest)]
    return bool((rows.groupby("entry")["batch_size"].nunique() > 1).any())


def build_confusion_rows(matrix: Sequence[Sequence[int]]) -> list[list[tuple[int, float]]]:
    """Each count with its share of its row, of which 0 is that of an empty one."""
    return [[(count, count / max(1, sum(row))) for count in row] for row in matrix]
