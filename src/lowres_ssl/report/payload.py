"""What the page's script shows: a chapter as plain data for JSON. Images are places in one list for the whole page."""

from collections.abc import Sequence
from typing import Any

from lowres_ssl.figures._style import dot, look
from lowres_ssl.figures.tsne import shown_of
from lowres_ssl.report import BASELINES, Chapter, Probed
from lowres_ssl.report.curves import curves_of
from lowres_ssl.report.feature_map import FeatureMap
from lowres_ssl.report.hard import Hard

SYMBOLS = {"o": "circle", "s": "square", "^": "triangle-up", "D": "diamond"}  # as Plotly calls matplotlib's
DASHES = {"-": "solid", "--": "dash", "-.": "dashdot", ":": "dot"}


def wanted_images(chapter: Chapter, hard: Sequence[Hard], gallery: int) -> list[int]:
    """Places of the test images that are shown as a dot or in a gallery."""
    dots = set(shown_of(len(chapter.tested.labels)).tolist())
    galleries = [own[:gallery].tolist() for each in hard for own in (each.all_wrong, each.disputed)]
    return sorted(dots.union(*galleries))


def payload(
    chapter: Chapter, maps: Sequence[FeatureMap], images: Sequence[int], thumbnails: Sequence[int], *, names: bool
) -> dict[str, Any]:
    """`images`: places of the test images that are shown; `thumbnails`: of each of them its place in the page's list.

    `names`: whether files are told. Groups are numbers anyway.
    """
    tested = chapter.tested
    place = {image: number for number, image in enumerate(images)}
    shown = [place[int(image)] for image in shown_of(len(tested.labels))]
    rows = list(images)
    return {
        "classes": list(tested.classes),
        "looks": [look_of_class(number) for number in range(len(tested.classes))],
        "labels": tested.labels[rows].tolist(),
        "names": [str(tested.ids[row]) if names else f"test image {row + 1}" for row in rows],
        "groups": tested.groups[rows].tolist(),
        "thumbnails": list(thumbnails),
        "probes": [probe_payload(probed, rows) for probed in chapter.probes],
        "dots": shown,
        "maps": [map_payload(each) for each in maps],
        "curves": curves_of(chapter),
        "lines": lines_of(chapter),
    }


def look_of_class(number: int) -> dict[str, str]:
    colour, marker = dot(number)
    return {"colour": colour, "symbol": SYMBOLS[marker]}


def lines_of(chapter: Chapter) -> dict[str, dict[str, str]]:
    """How the line of each entry looks."""
    trained = [entry for entry in chapter.entries() if entry not in BASELINES]
    looks = {entry: look(number) for number, entry in enumerate(trained)}
    return {entry: {"colour": each.colour, "dash": DASHES[each.dashes]} for entry, each in looks.items()}


def probe_payload(probed: Probed, rows: list[int]) -> dict[str, Any]:
    methods = []
    judged = {method.entry for method in probed.judged()}
    for method in probed.methods:
        chosen, agreeing = method.vote()
        methods.append(
            {
                "entry": method.entry,
                "name": method.name,
                "judged": method.entry in judged,
                "seeds": len(method.cell.seeds),
                "predicted": chosen[rows].tolist(),
                "agreeing": agreeing[rows].tolist(),
            }
        )
    return {"probe": probed.probe, "label": probed.label, "methods": methods}


def map_payload(feature_map: FeatureMap) -> dict[str, Any]:
    x, y = ([float(f"{value:.4g}") for value in column] for column in feature_map.dots.T)
    return {
        "entry": feature_map.entry,
        "name": feature_map.name,
        "seed": feature_map.seed,
        "silhouette": None if feature_map.silhouette is None else round(feature_map.silhouette, 2),
        "x": x,
        "y": y,
        "neighbours": feature_map.neighbours.tolist(),
    }
