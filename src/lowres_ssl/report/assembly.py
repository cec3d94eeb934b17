"""From the ledger to what the template and the script of the page need."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from lowres_ssl.errors import DataError, UserError
from lowres_ssl.figures import Picture, Stored
from lowres_ssl.report import Chapter
from lowres_ssl.report.chapters import chapters_of
from lowres_ssl.report.drawings import drawing
from lowres_ssl.report.feature_map import maps_of
from lowres_ssl.report.hard import hard_images
from lowres_ssl.report.images import about_images, class_counts, group_count
from lowres_ssl.report.payload import payload, wanted_images
from lowres_ssl.report.runs_table import listed_runs
from lowres_ssl.report.thumbnails import Album
from lowres_ssl.selection import Filters, ordinary
from lowres_ssl.table_schema import TableConfig
from lowres_ssl.tables import Table
from lowres_ssl.tables.missing import dataset_words, typed

KindOfTable = Callable[[str, TableConfig], Table]


@dataclass(frozen=True)
class Wanted:
    """What the report may hold. gallery: how many images at most; names: whether files, folders, groups are told."""

    thumbnails: bool
    names: bool
    thumbnail_size: int
    gallery: int


def assemble(
    stored: Stored, tables: dict[str, TableConfig], make: KindOfTable, pictures: dict[str, Picture], wanted: Wanted
) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """The parts for the template, the data for the script, and a line for each part that cannot be shown.

    Raises `DataError` if there is nothing to show.
    """
    chapters, problems = chapters_of(stored.results, stored.filters)
    if not chapters:
        hint = problems[0] if problems else "no finished results; make some: " + stored.command("method=simclr")
        raise DataError(f"nothing to report: {hint}")
    made, said = tables_of(stored.results, stored.filters, tables, make)
    problems += said
    album = Album(stored.store_dir, wanted.thumbnail_size)
    shown, data = [], []
    for chapter in chapters:
        parts, plain, said = chapter_parts(chapter, stored, pictures, album, wanted)
        shown.append(parts)
        data.append(plain)
        problems += said
    listed = listed_runs(stored.filters.applied(stored.results), stored.output_dir, paths=wanted.names)
    parts = {"tables": made, "chapters": shown, "runs": listed, "wanted": wanted}
    return parts, {"pictures": album.pictures, "chapters": data}, list(dict.fromkeys(problems))


def tables_of(
    frame: pd.DataFrame, filters: Filters, tables: dict[str, TableConfig], make: KindOfTable
) -> tuple[list[Table], list[str]]:
    """Of data sets that have results for a table; rows without one only where the paper has a number."""
    made, problems = [], []
    rows = filters.applied(ordinary(frame))
    for name, table in tables.items():
        there = set(rows.loc[rows["probe"].isin(table.probe), "dataset"])
        wanted = [each for each in table.datasets if each == "*" or each in there]
        if not there or not wanted:
            continue
        published = any(there & set(row.paper) for row in table.rows.values())
        own = {
            key: replace(row, optional=row.optional or not (there & set(row.paper))) for key, row in table.rows.items()
        }
        try:
            found = make(name, replace(table, datasets=wanted, rows=own, notes=table.notes if published else []))
        except UserError as error:
            problems.append(f"table {name}: {error}")
            continue
        made += [found] if found.blocks else []
    return made, problems


def chapter_parts(
    chapter: Chapter, stored: Stored, pictures: dict[str, Picture], album: Album, wanted: Wanted
) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    hard = [hard_images(probed) for probed in chapter.probes]
    maps, problems = maps_of(chapter)
    about = about_images(chapter, stored.store_dir)
    images = wanted_images(chapter, hard, wanted.gallery)
    ids = [str(chapter.tested.ids[row]) for row in images]
    thumbnails = album.add(about.store, ids) if wanted.thumbnails else [-1] * len(ids)
    rows = chapter.first.rows
    if wanted.thumbnails and -1 in thumbnails:
        size = f"image_size={rows['image_size'].iloc[0]}"
        problems.append(
            f"{chapter.title}: decoded images are not in {stored.store_dir}, so they have no thumbnails; type "
            + typed("data", *dataset_words(chapter.dataset, rows, stored.output_dir), size, "prepare=true")
        )
    drawn: dict[str, str | None] = {}
    for name, picture in pictures.items():
        try:
            shows = name != "batch_size" or has_batch_sizes(stored, chapter)
            drawn[name] = drawing(name, picture, stored, chapter) if shows else None
        except UserError as error:
            problems.append(str(error))
    place = {image: number for number, image in enumerate(images)}
    row = rows.iloc[0]
    galleries = [
        {
            "label": each.label,
            "probe": number,
            "methods": each.methods,
            "wrong": shown_places(each.all_wrong, place, wanted.gallery),
            "wrong_count": len(each.all_wrong),
            "disputed": shown_places(each.disputed, place, wanted.gallery),
            "disputed_count": len(each.disputed),
        }
        for number, each in enumerate(hard)
    ]
    parts = {
        "chapter": chapter,
        "about": about,
        "counts": class_counts(chapter),
        "groups": group_count(chapter),
        "split": {key: row[key] for key in ("split", "split_seed", "image_size")}
        | {"digest": chapter.split_digest[:8]},
        "confusions": [
            (probed.label, [(method, confusion_rows(method.confusion().tolist())) for method in probed.methods])
            for probed in chapter.probes
        ],
        "drawn": drawn,
        "galleries": galleries,
        "images": len(chapter.tested.labels),
        "dots": len(maps[0].dots) if maps else 0,
    }
    plain = payload(chapter, maps, images, thumbnails, names=wanted.names)
    return parts | {"has_maps": bool(maps), "has_curves": bool(plain["curves"])}, plain, problems


def has_batch_sizes(stored: Stored, chapter: Chapter) -> bool:
    """Whether an entry was trained with several: of one there is no curve."""
    rows = ordinary(stored.filters.applied(stored.results))
    rows = rows[(rows["dataset"] == chapter.dataset) & (rows["split_digest"] == chapter.split_digest)]
    return bool((rows.groupby("entry")["batch_size"].nunique() > 1).any())


def shown_places(images: Any, place: dict[int, int], most: int) -> list[int]:
    return [place[int(image)] for image in images[:most]]


def confusion_rows(matrix: Sequence[Sequence[int]]) -> list[list[tuple[int, float]]]:
    """Each count with its share of its row, of which 0 is that of an empty one."""
    return [[(count, count / max(1, sum(row))) for count in row] for row in matrix]
