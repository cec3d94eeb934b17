"""Give every figure one style, which colour-blind readers can read: colours, markers, titles, sizes, files."""

import textwrap
import warnings
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from lowres_ssl.console import pluralise
from lowres_ssl.io.atomic import atomic_write
from lowres_ssl.runs.filters import is_trained
from lowres_ssl.stats.intervals import Interval

OFFSET_STEP = 0.07  # of a doubling
# Okabe and Ito's colours, which most colour-blind readers can distinguish.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
MARKERS = ("o", "s", "^", "D")
# Lines differ in all three: colour, marker, dashes.
LINE_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES = ("-", "--", "-.", ":")
BASELINE_COLOUR = "#666666"  # random initialisation: there to be compared with
PAGE_WIDTH = 7.0  # inches between the margins of a page
FIGURE_FORMATS = ("png", "pdf")
MAX_LINE_LENGTH = 200  # letters
TITLE_WIDTH = 50  # letters of 8 points in half a page


@dataclass(frozen=True)
class LineStyle:
    colour: str
    marker: str
    dashes: str


def get_line_style(place: int) -> LineStyle:
    """Get the style of the line at a place, the same in every panel."""
    colours = [colour for colour in COLOURS if colour != "#F0E442"]  # yellow dots do, a thin yellow line does not
    return LineStyle(*(looks[place % len(looks)] for looks in (colours, LINE_MARKERS, DASHES)))


def get_dot_style(place: int) -> tuple[str, str]:
    """Get colour and marker of the dots of a class: 32 that differ, those of one marker in colours far apart."""
    return COLOURS[place % len(COLOURS)], MARKERS[(place + place // 4 - place // 8) % len(MARKERS)]


def use_figure_style() -> AbstractContextManager[None]:
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


def make_panels(count: int, *, height: float) -> tuple[Figure, list[Any]]:
    """Make a figure of `count` axes, two a row, each `height` inches high; one alone has four fifths of the page."""
    across, down = min(2, count), -(-count // 2)
    width = PAGE_WIDTH if across == 2 else 0.8 * PAGE_WIDTH
    figure = Figure(figsize=(width, down * height), layout="constrained")
    axes = list(figure.subplots(down, across, squeeze=False).flat)
    for spare in axes[count:]:
        spare.set_axis_off()
    return figure, axes[:count]


def draw_curve(
    axes: Any, x: Sequence[float], found: Sequence[Interval], label: str, place: int, lines: int, *, band: bool = False
) -> None:
    """Draw the line at a `place` of so many `lines`: values with their intervals, as a band or as bars with ends.

    Lines with bars move a little aside along the logarithmic axis, so that none hides another's.
    """
    style = get_line_style(place)
    values, low, high = ([getattr(each, key) for each in found] for key in ("value", "low", "high"))
    if band:
        axes.fill_between(x, low, high, color=style.colour, alpha=0.15, linewidth=0)
    else:
        x = [each * 2 ** (OFFSET_STEP * (place - (lines - 1) / 2)) for each in x]
        ends = [[max(0.0, end) for end in np.subtract(*pair)] for pair in ((values, low), (high, values))]
        axes.errorbar(x, values, yerr=ends, fmt="none", ecolor=style.colour, elinewidth=1.0, capsize=2)
    looks = {"color": style.colour, "marker": style.marker, "linestyle": style.dashes}
    axes.plot(x, values, **looks, markersize=5, linewidth=1.3, label=escape_math(label))


def add_legend_below(figure: Figure, axes: Sequence[Any]) -> None:
    """Put one legend for all panels below them, for which the figure grows: each label once."""
    handles: dict[str, Any] = {}
    for each in axes:
        for handle, label in zip(*each.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    # A letter of 8 points takes about 0.06 inches, a handle with its room 0.75, a line 0.17.
    widest = 0.75 + 0.06 * max(map(len, handles))
    across = max(1, min(4, int(figure.get_figwidth() / widest)))
    figure.set_figheight(figure.get_figheight() + 0.17 * -(-len(handles) // across))
    looks: dict[str, Any] = {"loc": "outside lower center", "ncols": across, "frameon": False, "fontsize": 8}
    figure.legend(list(handles.values()), list(handles), **looks)


def save_figure(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write `folder/name.png` and `.pdf`, each whole or not at all. The same figure gives the same bytes."""
    paths = [folder / f"{name}.{suffix}" for suffix in FIGURE_FORMATS]
    for path in paths:
        write_figure_file(figure, path)
    return paths


def write_figure_file(figure: Figure, path: Path) -> None:
    """Write one file in the format of its ending. A letter that the font lacks is drawn as a box."""
    suffix = path.suffix.removeprefix(".")
    metadata = {"CreationDate": None} if suffix == "pdf" else {}
    with atomic_write(path) as file, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(file, format=suffix, metadata=metadata)


def escape_math(text: str) -> str:
    """Show text as it is: between dollars matplotlib reads mathematics. A line too long for any figure is cut."""
    lines = (line if len(line) <= MAX_LINE_LENGTH else f"{line[:MAX_LINE_LENGTH]}..." for line in text.split("\n"))
    return "\n".join(lines).replace("$", r"\$")


def format_panel_title(rows: pd.DataFrame, *more: str, width: int = TITLE_WIDTH) -> str:
    """Describe the results in a panel: the data set, then how their encoders were trained, the split, and `more`.

    rows: of one kind, see `check_same_kind`; only untrained encoders may be of several backbones.
    """
    trained = rows[is_trained(rows)]
    own = rows if trained.empty else trained
    first = own.iloc[0]
    facts = [] if trained.empty else [f"recipe {first['recipe']}"]
    facts += [join_distinct(own["backbone"]), f"{first['image_size']} px"]
    facts += [] if trained.empty else [pluralise(int(first["epochs"]), "epoch")]
    facts += [f"split {first['split']} (seed {first['split_seed']})", pluralise(int(first["n"]), "test image"), *more]
    unbroken = [fact.replace(" ", "\N{NO-BREAK SPACE}") for fact in facts]
    return f"{first['title']}\n" + textwrap.fill(", ".join(unbroken), width)


def join_distinct(values: Iterable[object]) -> str:
    """Format "paper", or "paper / tuned"."""
    return " / ".join(dict.fromkeys(str(value) for value in values))


def format_count_range(counts: Iterable[int], what: str) -> str:
    """Format "1 seed", "3 seeds", "1 to 3 seeds"."""
    found = sorted(set(counts))
    return pluralise(found[0], what) if len(found) == 1 else f"{found[0]} to {pluralise(found[-1], what)}"


def format_group_notes(found: Iterable[Interval], images: int) -> list[str]:
    """Describe the test groups: how many, where they are not the images themselves or do not allow intervals."""
    every = list(found)
    groups = pluralise(every[0].groups, "group")
    if not all(each.reliable for each in every):
        return [f"{groups} (no reliable intervals)"]
    return [] if every[0].groups == images else [groups]
