"""How every picture looks: colours, markers and lines that colour-blind readers can tell apart, sizes, file formats."""

import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from lowres_ssl.files.atomic import replacing
from lowres_ssl.statistics.uncertainty import Interval

# Okabe and Ito's colours, which most colour-blind readers can tell apart.
STEP_ASIDE = 0.07  # of a doubling: where lines have bars they stand side by side, so that none hides another's
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
MARKERS = ("o", "s", "^", "D")
# A line is told apart by all three: its colour, its marker, its dashes.
LINE_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES = ("-", "--", "-.", ":")
BASELINE = "#666666"  # random initialisation: there to be compared with
PAGE_WIDTH = 7.0  # inches between the margins of a page
FORMATS = ("png", "pdf")


@dataclass(frozen=True)
class Look:
    """Of a line: colour, marker, dashes."""

    colour: str
    marker: str
    dashes: str


LONGEST_LINE = 200  # letters


def look(place: int) -> Look:
    """That of the line at a place, the same in every panel."""
    colours = [colour for colour in COLOURS if colour != "#F0E442"]  # yellow dots do, a thin yellow line does not
    return Look(colours[place % len(colours)], LINE_MARKERS[place % len(LINE_MARKERS)], DASHES[place % len(DASHES)])


def aside(place: int, lines: int) -> float:
    """By what the line at a place of so many moves along a logarithmic axis."""
    return float(2 ** (STEP_ASIDE * (place - (lines - 1) / 2)))


def dot(place: int) -> tuple[str, str]:
    """Colour and marker of the dots of a class: 32 that differ, those of one marker in colours far apart."""
    return COLOURS[place % len(COLOURS)], MARKERS[(place + place // 4 - place // 8) % len(MARKERS)]


def settings() -> AbstractContextManager[None]:
    """Draw and save within it. Sizes are those in print: nothing is smaller than 8 points."""
    return rc_context(
        {
            "font.size": 9,
            "axes.titlesize": 9,
            "axes.labelsize": 9,
            "xtick.labelsize": 8,
            "ytick.labelsize": 8,
            "legend.fontsize": 8,
            "figure.titlesize": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "pdf.fonttype": 42,  # letters as letters: journals refuse Type 3 fonts
            "savefig.dpi": 200,
        }
    )


def panels(count: int, *, height: float) -> tuple[Figure, list[Any]]:
    """A figure of `count` axes, two a row, each `height` inches high; one alone has four fifths of the page."""
    across = min(2, count)
    down = -(-count // 2)
    width = PAGE_WIDTH if across == 2 else 0.8 * PAGE_WIDTH
    figure = Figure(figsize=(width, down * height), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False)
    axes = list(grid.flat)
    for spare in axes[count:]:
        spare.set_axis_off()
    return figure, axes[:count]


def draw_line(axes: Any, x: Sequence[float], y: Sequence[float], style: Look, label: str) -> None:
    axes.plot(
        x,
        y,
        color=style.colour,
        marker=style.marker,
        linestyle=style.dashes,
        markersize=5,
        linewidth=1.3,
        label=literal(label),
    )


def draw_bars(axes: Any, x: Sequence[float], found: Sequence[Interval], style: Look) -> None:
    """The interval of each value as a bar with ends."""
    axes.errorbar(
        x,
        [each.value for each in found],
        yerr=[
            [max(0.0, each.value - each.low) for each in found],
            [max(0.0, each.high - each.value) for each in found],
        ],
        fmt="none",
        ecolor=style.colour,
        elinewidth=1.0,
        capsize=2,
    )


def legend_below(figure: Figure, axes: Sequence[Any]) -> None:
    """One legend for all panels, below them, for which the figure grows: each label once."""
    handles: dict[str, Any] = {}
    for each in axes:
        for handle, label in zip(*each.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    # A letter of 8 points takes about 0.06 inches, a handle with its room 0.75, a line 0.17.
    widest = 0.75 + 0.06 * max(map(len, handles))
    across = max(1, min(4, int(figure.get_figwidth() / widest)))
    figure.set_figheight(figure.get_figheight() + 0.17 * -(-len(handles) // across))
    figure.legend(
        list(handles.values()), list(handles), loc="outside lower center", ncols=across, frameon=False, fontsize=8
    )


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """`folder/name.png` and `.pdf`, each whole or not at all. The same figure gives the same bytes."""
    paths = []
    for suffix in FORMATS:
        path = folder / f"{name}.{suffix}"
        write(figure, path, suffix)
        paths.append(path)
    return paths


def write(figure: Figure, path: Path, suffix: str) -> None:
    """One file. A letter that the font lacks is drawn as a box, which says enough."""
    metadata = {"CreationDate": None} if suffix == "pdf" else {}
    with replacing(path) as file, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(file, format=suffix, metadata=metadata)


def literal(text: str) -> str:
    """Text as it is: matplotlib reads what stands between dollars as mathematics. A line of it that no figure could
    hold is cut."""
    lines = (line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}..." for line in text.split("\n"))
    return "\n".join(lines).replace("$", r"\$")
