"""Figures of `figures/` as they are, as SVG inside the page: letters as letters, black as the page's own ink."""

import io
import re
from dataclasses import replace
from xml.etree import ElementTree

from matplotlib import rc_context
from matplotlib.figure import Figure

from lowres_ssl.errors import DataError
from lowres_ssl.reporting.figures import Picture, Stored
from lowres_ssl.reporting.figures._style import use_figure_style
from lowres_ssl.reporting.html import Chapter

SVG_NAMESPACE = "http://www.w3.org/2000/svg"
XLINK_NAMESPACE = "http://www.w3.org/1999/xlink"


def draw_inline_svg(name: str, picture: Picture, stored: Stored, chapter: Chapter) -> str | None:
    """The picture of this chapter as an `svg` element; None if there are no results for it.

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
    """The same figure gives the same text. `prefix`: of the ids, which are shared by the whole page."""
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
    root.set("aria-hidden", "true")  # the table says the same
    ElementTree.register_namespace("", SVG_NAMESPACE)
    ElementTree.register_namespace("xlink", XLINK_NAMESPACE)
    return ElementTree.tostring(root, encoding="unicode")


def adapt_svg_style(style: str) -> str:
    """Black as the page's ink, letters as the page's letters."""
    inked = style.replace("#000000", "currentColor")
    return re.sub(r"font-family:[^;]*", "font-family: system-ui, sans-serif", inked)
