"""What panels of stored results share: what they stand under, which entry is called what, the counts of a cell."""

import textwrap
from collections.abc import Iterable

import pandas as pd

from lowres_ssl.console import pluralise
from lowres_ssl.stats.bootstrap import Interval
from lowres_ssl.stats.confusion import CONFUSION_METRICS

LEGEND_NAMES = {
    "simclr": "SimCLR",
    "dcl": "DCL",
    "dclw": "DCLW",
    "simsiam": "SimSiam",
    "vicreg": "VICReg",
    "imagenet": "ImgNet+TL",
    "random": "random initialisation",
    "random_calibrated": "random, BatchNorm calibrated",
}
METRIC_LABELS = {metric: metric.replace("_", " ").replace("f1", "F1") for metric in CONFUSION_METRICS}
TITLE_WIDTH = 50  # letters of 8 points in half a page


def get_legend_name(entry: str) -> str:
    """What a legend calls an entry: its own name if it has none here."""
    return LEGEND_NAMES.get(entry, entry)


def format_panel_title(rows: pd.DataFrame, *more: str, width: int = TITLE_WIDTH) -> str:
    """What the results in a panel are of: the data set, then how their encoders were trained, the split, and `more`."""
    trained = rows[rows["batch_size"].notna()]
    own = trained if len(trained) else rows
    facts = [f"recipe {join_distinct(trained['recipe'])}"] if len(trained) else []
    facts += [join_distinct(own["backbone"]), f"{join_distinct(own['image_size'])} px"]
    facts += [format_epochs(trained["epochs"])] if len(trained) else []
    facts += [f"split {join_distinct(rows['split'])} (seed {join_distinct(rows['split_seed'])})"]
    facts += [pluralise(int(rows["n"].iloc[0]), "test image"), *more]
    unbroken = [fact.replace(" ", "\N{NO-BREAK SPACE}") for fact in facts]
    return f"{rows['title'].iloc[0]}\n" + textwrap.fill(", ".join(unbroken), width)


def join_distinct(values: Iterable[object]) -> str:
    """ "paper", or "paper / tuned"."""
    return " / ".join(dict.fromkeys(str(value) for value in values))


def format_epochs(numbers: Iterable[int]) -> str:
    """ "1 epoch", "12 epochs", "5 / 12 epochs"."""
    found = sorted({int(number) for number in numbers})
    return pluralise(found[0], "epoch") if len(found) == 1 else f"{join_distinct(found)} epochs"


def format_count_range(counts: Iterable[int], what: str) -> str:
    """ "1 seed", "3 seeds", "1 to 3 seeds"."""
    found = sorted(set(counts))
    return pluralise(found[0], what) if len(found) == 1 else f"{found[0]} to {pluralise(found[-1], what)}"


def format_group_notes(found: Iterable[Interval], images: int) -> list[str]:
    """What to say of the test groups: how many, where they are not the images themselves or are too few, or too
    unequal, for intervals."""
    every = list(found)
    groups = pluralise(every[0].groups, "group")
    if not all(each.reliable for each in every):
        return [f"{groups} (no reliable intervals)"]
    return [] if every[0].groups == images else [groups]
