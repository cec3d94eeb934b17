"""Build the report: one HTML file by Jinja with autoescape, everything inlined, and a policy that forbids connections.

Text from file names and configs reaches the page as text only: escaped by Jinja in the markup, as JSON without angle
brackets for the script, which writes it with `textContent`.
"""

import base64
import hashlib
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from importlib.util import find_spec
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from lowres_ssl.config.command_schemas import TableConfig
from lowres_ssl.config.overrides import format_command
from lowres_ssl.data.pseudonyms import find_pseudonyms
from lowres_ssl.errors import ConfigError, DataError, UserError
from lowres_ssl.reporting.cells import replace_others
from lowres_ssl.reporting.figures import Picture, Stored
from lowres_ssl.reporting.figures._style import use_figure_style
from lowres_ssl.reporting.html.page_data import build_feature_maps, build_page_data, choose_shown_images
from lowres_ssl.reporting.html.provenance import ThumbnailAlbum, collect_dataset_facts, list_report_runs
from lowres_ssl.reporting.html.sections import Chapter, HardExamples, build_sections, find_hard_examples
from lowres_ssl.reporting.tables import Table
from lowres_ssl.reporting.tables.fill_commands import build_neighbour_dataset
from lowres_ssl.reporting.tables.score_table import list_table_probes
from lowres_ssl.runs.query import ResultFilters, select_ordinary

SCRIPT_FILES = ("plots.js", "card.js", "map.js", "page.js")  # in this order
SVG_NAMESPACE = "http://www.w3.org/2000/svg"
XLINK_NAMESPACE = "http://www.w3.org/1999/xlink"

TableBuilder = Callable[[str, TableConfig], Table]


@dataclass(frozen=True)
class ReportOptions:
    """Choose what the report may hold. gallery: how many images at most; names: whether of files, folders, groups."""

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
    """Build the parts for the template, the data for the script, and a line for each part that cannot be shown.

    Raises `DataError` if there is nothing to show.
    """
    chapters, problems = build_sections(stored.results, stored.filters)
    if not chapters:
        hint = problems[0] if problems else "no finished results; make some: " + stored.command("method=simclr")
        raise DataError(f"nothing to report: {hint}")
    shown_tables, more = build_tables(stored.results, stored.filters, tables, make)
    problems += more
    album = ThumbnailAlbum(stored.store_dir, wanted.thumbnail_size)
    shown, data = [], []
    for chapter in chapters:
        parts, plain, more = build_section_parts(chapter, stored, pictures, album, wanted)
        shown.append(parts)
        data.append(plain)
        problems += more
    listed = list_report_runs(stored.filters.apply(stored.results), stored.output_dir, paths=wanted.names)
    parts = {"tables": shown_tables, "chapters": shown, "runs": listed, "wanted": wanted}
    return parts, {"pictures": album.pictures, "chapters": data}, list(dict.fromkeys(problems))


def build_tables(
    frame: pd.DataFrame, filters: ResultFilters, tables: dict[str, TableConfig], make: TableBuilder
) -> tuple[list[Table], list[str]]:
    """Build one for each table and data set with results for it, and a line for each that cannot be shown.

    Rows without a result are shown only where the paper has a number.
    """
    shown, problems = [], []
    rows = filters.apply(select_ordinary(frame))
    for name, table in tables.items():
        there = set(rows.loc[rows["probe"].isin(list_table_probes(table, frame, filters)), "dataset"])
        for dataset in [each for each in replace_others(table.datasets, there) if each in there]:
            try:
                found = make(name, select_dataset(table, dataset))
            except UserError as error:
                problems.append(f"table {name}: {error}")
                continue
            shown += [found] if found.blocks else []
    return shown, problems


def select_dataset(table: TableConfig, dataset: str) -> TableConfig:
    """Narrow a table to one data set. Its notes are about the paper's numbers, so they go where there are none."""
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
    drawn, more = build_drawings(chapter, stored, pictures)
    plain = build_page_data(chapter, maps, images, thumbnails, names=wanted.names)
    row = chapter.first.cell.rows.iloc[0]
    tested = chapter.tested
    counts = np.bincount(tested.labels, minlength=len(tested.classes)).tolist()
    parts = {
        "chapter": chapter,
        "about": about,
        "counts": list(zip(tested.classes, counts, strict=True)),
        "groups": len(set(tested.groups.tolist()) - {-1}),  # patients, slides or source images; 0: not known
        "split": {"kind": row["split"], "seed": chapter.split_seed, "digest": chapter.split_digest[:8]},
        "image_size": row["image_size"],
        "images": len(tested.labels),
        "dots": len(plain["dots"]),
        "confusions": [
            (probed.label, [(cell, build_confusion_rows(cell.confusion().tolist())) for cell in probed.cells])
            for probed in chapter.probes
        ],
        "galleries": [build_gallery(each, images, wanted.gallery) for each in hard],
        "drawn": drawn,
        "has_maps": bool(maps),
        "has_curves": bool(plain["curves"]),
    }
    return parts, plain, problems + more


def format_no_thumbnails(chapter: Chapter, stored: Stored) -> str:
    rows = chapter.first.cell.rows
    words = build_neighbour_dataset(chapter.dataset, rows, stored.output_dir)
    command = format_command("data", *words, f"image_size={rows['image_size'].iloc[0]}", "prepare=true")
    return f"{chapter.title}: decoded images are not in {stored.store_dir}, so they have no thumbnails; type {command}"


def build_drawings(
    chapter: Chapter, stored: Stored, pictures: dict[str, Picture]
) -> tuple[dict[str, str | None], list[str]]:
    """Draw each figure by its name, None where there is nothing to draw; and a line for each that cannot be drawn."""
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
    """Show at most so many of each kind, as places in `images`, which has them; and how many there are."""
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
    """Whether an entry was trained with several: one gives no curve."""
    rows = select_ordinary(stored.filters.apply(stored.results))
    rows = rows[(rows["dataset"] == chapter.dataset) & (rows["split_digest"] == chapter.split_digest)]
    return bool((rows.groupby("entry")["batch_size"].nunique() > 1).any())


def build_confusion_rows(matrix: Sequence[Sequence[int]]) -> list[list[tuple[int, float]]]:
    """Give each count with its share of its row; 0 in an empty one."""
    return [[(count, count / max(1, sum(row))) for count in row] for row in matrix]


def draw_inline_svg(name: str, picture: Picture, stored: Stored, chapter: Chapter) -> str | None:
    """Draw the figure of this chapter as an `svg` element; None if there are no results for it.

    Raises `ConfigError` if results disagree.
    """
    only = replace(
        stored.filters, dataset=chapter.dataset, split_seed=chapter.split_seed, split_digest=chapter.split_digest
    )
    with use_figure_style():
        try:
            (figure,) = picture.draw(replace(stored, filters=only)).values()
        except DataError:
            return None
        prefix = re.sub(r"[^A-Za-z0-9]+", "-", f"{name}-{chapter.dataset}-{chapter.split_digest[:8]}")
        return convert_to_svg(figure, prefix)


def convert_to_svg(figure: Figure, prefix: str) -> str:
    """Convert a figure to SVG inside the page: the same figure gives the same text. `prefix`: of its ids."""
    file = io.BytesIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": prefix}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    root = ElementTree.fromstring(file.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            # A style sheet in the page would be one of the whole page.
            if child.tag in (f"{{{SVG_NAMESPACE}}}style", f"{{{SVG_NAMESPACE}}}metadata"):
                parent.remove(child)
    for element in root.iter():
        for key, value in element.attrib.items():
            if key == "id":
                element.set(key, f"{prefix}-{value}")
            elif key == f"{{{XLINK_NAMESPACE}}}href":
                element.set(key, value.replace("#", f"#{prefix}-", 1))
            else:
                value = value.replace("url(#", f"url(#{prefix}-")
                element.set(key, adapt_svg_style(value) if key == "style" else value)
    for size in ("width", "height"):
        root.attrib.pop(size, None)
    root.set("aria-hidden", "true")  # the table has the same
    ElementTree.register_namespace("", SVG_NAMESPACE)
    ElementTree.register_namespace("xlink", XLINK_NAMESPACE)
    return ElementTree.tostring(root, encoding="unicode")


def adapt_svg_style(style: str) -> str:
    """Replace black by the page's ink, letters by the page's letters."""
    inked = style.replace("#000000", "currentColor")
    return re.sub(r"font-family:[^;]*", "font-family: system-ui, sans-serif", inked)


def read_template(name: str) -> str:
    return files("lowres_ssl.reporting.html").joinpath("templates", name).read_text(encoding="utf-8")


def check_report_libraries() -> None:
    """Raises `ConfigError` if what the report is made with is not there."""
    missing = [name for name in ("jinja2", "plotly") if find_spec(name) is None]
    if missing:
        raise ConfigError(f"report: needs {' and '.join(missing)}; type pip install 'lowres-ssl[report]'")


def hash_script(script: str) -> str:
    """Name an inline script that may run as a Content-Security-Policy does."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def build_security_policy(scripts: list[str]) -> str:
    """Forbid to fetch and to send; only these scripts run. Images are those in the file."""
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {' '.join(map(hash_script, scripts))}",
            "style-src 'unsafe-inline'",
            "img-src data:",
            "connect-src 'none'",
            "form-action 'none'",
            "base-uri 'none'",
        ]
    )


def render_page(parts: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """Render the page. `parts`: what the template shows. `data`: what the script reads, plain data."""
    import jinja2
    from jinja2.utils import htmlsafe_json_dumps
    from plotly.offline import get_plotlyjs

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(read_template),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    scripts = [str(get_plotlyjs()), "\n".join(read_template(name) for name in SCRIPT_FILES)]
    return environment.get_template("page.html.jinja").render(
        **parts,
        policy=build_security_policy(scripts),
        style=read_template("page.css"),
        scripts=scripts,
        data=htmlsafe_json_dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False),
    )
