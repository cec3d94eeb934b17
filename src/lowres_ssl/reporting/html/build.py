"""Build the report: one HTML file by Jinja with autoescape, everything inlined, and a policy that forbids connections.

Text from file names and configs reaches the page as text only: escaped by Jinja in the markup, as JSON without angle
brackets for the script, which writes it with `textContent`.
"""

import base64
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from importlib.util import find_spec
from typing import Any

import numpy as np
from matplotlib import rc_context

from lowres_ssl.config.command_schemas import ReportConfig, TableConfig
from lowres_ssl.config.overrides import format_command
from lowres_ssl.data.pseudonyms import find_pseudonyms
from lowres_ssl.errors import ConfigError, DataError, UserError
from lowres_ssl.reporting.cells import get_legend_name, replace_others
from lowres_ssl.reporting.figures import Picture
from lowres_ssl.reporting.figures._style import use_figure_style
from lowres_ssl.reporting.html.page_data import build_feature_maps, build_page_data, choose_shown_images
from lowres_ssl.reporting.html.sections import (
    Chapter,
    HardExamples,
    ThumbnailAlbum,
    build_sections,
    collect_dataset_facts,
    find_hard_examples,
    list_report_runs,
)
from lowres_ssl.reporting.stored import Stored, build_output_override, get_image_words
from lowres_ssl.reporting.tables.build import TABLE_BUILDERS
from lowres_ssl.reporting.tables.formats import Table
from lowres_ssl.reporting.tables.score_table import list_table_probes
from lowres_ssl.runs.predictions import ResultCell
from lowres_ssl.runs.query import select_ordinary
from lowres_ssl.runs.run import find_run

SCRIPT_FILES = ("plots.js", "card.js", "map.js", "page.js")  # in this order


def build_report(
    config: ReportConfig, stored: Stored, pictures: dict[str, Picture]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Build the parts for the template and the data for the script; a line for each part that cannot be shown is added
    to the notes of `stored`.

    Raises `DataError` if there is nothing to show.
    """
    chapters, problems = build_sections(stored.results, stored.filters)
    if not chapters:
        hint = problems[0] if problems else "no finished results; make some: " + stored.command("method=simclr")
        raise DataError(f"nothing to report: {hint}")
    stored.notes.extend(problems)
    tables = build_tables(stored, config.table)
    album = ThumbnailAlbum(stored.store_dir, config.thumbnail_size)
    sections = [build_section_parts(chapter, stored, pictures, album, config) for chapter in chapters]
    listed = list_report_runs(stored.filters.apply(stored.results), stored.output_dir, paths=config.file_names)
    parts = {"tables": tables, "chapters": [own for own, _ in sections], "runs": listed, "config": config}
    return parts, {"pictures": album.pictures, "chapters": [data for _, data in sections]}


def build_tables(stored: Stored, tables: dict[str, TableConfig]) -> list[Table]:
    """Build one for each table and data set with results for it.

    Rows without a result are shown only where the paper has a number.
    """
    shown = []
    frame, filters = stored.results, stored.filters
    rows = filters.apply(select_ordinary(frame))
    for name, table in tables.items():
        there = set(rows.loc[rows["probe"].isin(list_table_probes(table, frame, filters)), "dataset"])
        for dataset in [each for each in replace_others(table.datasets, there) if each in there]:
            own, build = select_dataset(table, dataset), TABLE_BUILDERS[table.kind.name]
            try:
                shown.append(build(name, own, stored))
            except UserError as error:
                stored.notes.append(f"table {name}: {error}")
    return [table for table in shown if table.blocks]


def select_dataset(table: TableConfig, dataset: str) -> TableConfig:
    """Narrow a table to one data set. Its notes are about the paper's numbers, so they go where there are none."""
    published = any(dataset in row.paper for row in table.rows.values())
    rows = {key: replace(row, optional=row.optional or dataset not in row.paper) for key, row in table.rows.items()}
    return replace(table, datasets=[dataset], rows=rows, notes=table.notes if published else [])


def build_section_parts(
    chapter: Chapter, stored: Stored, pictures: dict[str, Picture], album: ThumbnailAlbum, config: ReportConfig
) -> tuple[dict[str, Any], dict[str, Any]]:
    hard = [find_hard_examples(probed) for probed in chapter.probes]
    maps, problems = build_feature_maps(chapter)
    stored.notes.extend(problems)
    about = collect_dataset_facts(chapter, stored.store_dir)
    images = choose_shown_images(chapter, hard, config.gallery)
    tested, row = chapter.tested, chapter.first.rows.iloc[0]
    ids = [str(tested.ids[place]) for place in images]
    hidden = find_pseudonyms(about.root, stored.store_dir) if tested.hashed else None
    thumbnails = [-1] * len(ids)
    if config.thumbnails:
        thumbnails = album.add(about.store, ids, str if hidden is None else hidden.image)
    if config.thumbnails and -1 in thumbnails:
        words = get_image_words(find_run(stored.output_dir, str(row["run"])))
        words += [f"image_size={row['image_size']}", "prepare=true", *build_output_override(stored.output_dir)]
        stored.notes.append(
            f"{chapter.title}: decoded images are not in {stored.store_dir}, so they have no thumbnails; type "
            + format_command("data", *words)
        )
    plain = build_page_data(chapter, maps, images, thumbnails, names=config.file_names)
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
        "confusions": [(probed.label, [build_confusion(cell) for cell in probed.cells]) for probed in chapter.probes],
        "galleries": [build_gallery(each, images, config.gallery) for each in hard],
        "drawn": draw_figures(chapter, stored, pictures),
        "has_maps": bool(maps),
        "has_curves": bool(plain["curves"]),
    }
    return parts, plain


def draw_figures(chapter: Chapter, stored: Stored, pictures: dict[str, Picture]) -> dict[str, str | None]:
    """Draw each figure of the chapter by its name, as SVG in base64; None where there is nothing to draw."""
    filters = replace(
        stored.filters, dataset=chapter.dataset, split_seed=chapter.split_seed, split_digest=chapter.split_digest
    )
    rows = select_ordinary(filters.apply(stored.results))
    has_curves = (rows.groupby("entry")["batch_size"].nunique() > 1).any()  # one batch size gives none
    drawn: dict[str, str | None] = {}
    for name, picture in pictures.items():
        try:
            shows = name != "batch_size" or has_curves
            drawn[name] = draw_svg(picture, replace(stored, filters=filters)) if shows else None
        except DataError:
            drawn[name] = None
        except UserError as error:
            stored.notes.append(str(error))
    return drawn


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


def build_confusion(cell: ResultCell) -> dict[str, Any]:
    """Give the counts over all seeds, a row for each true class, each with its share of its row; 0 in an empty one."""
    matrix = cell.tested.counts.sum(axis=(0, 1)).tolist()
    rows = [[(count, count / max(1, sum(row))) for count in row] for row in matrix]
    return {"name": get_legend_name(cell.entry), "cell": cell, "rows": rows}


def draw_svg(picture: Picture, stored: Stored) -> str:
    """Draw the one figure that there is as SVG in base64: an image of the page, so nothing in it can run or reach the
    page. Raises as `Picture.draw`."""
    file = io.BytesIO()
    with use_figure_style(), rc_context({"svg.hashsalt": "report"}):  # the same figure gives the same bytes
        (figure,) = picture.draw(stored).values()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return base64.b64encode(file.getvalue()).decode()


def read_template(name: str) -> str:
    return files("lowres_ssl.reporting.html").joinpath("templates", name).read_text(encoding="utf-8")


def check_report_libraries() -> None:
    """Raises `ConfigError` if what the report is made with is not there."""
    missing = [name for name in ("jinja2", "plotly") if find_spec(name) is None]
    if missing:
        raise ConfigError(f"report: needs {' and '.join(missing)}; type pip install 'lowres-ssl[report]'")


def build_security_policy(scripts: list[str]) -> str:
    """Forbid to fetch and to send; only these scripts run. Images are those in the file."""
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{each}'" for each in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "connect-src 'none'; form-action 'none'; base-uri 'none'"
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
