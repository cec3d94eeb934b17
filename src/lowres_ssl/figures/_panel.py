"""What panels of stored results share: what they stand under, which entry is called what, the counts of a cell."""

import textwrap
from collections.abc import Iterable

import pandas as pd

from lowres_ssl.statistics.confusion import METRICS
from lowres_ssl.statistics.uncertainty import Interval
from lowres_ssl.terminal import count

NAMES = {
    "simclr": "SimCLR",
    "dcl": "DCL",
    "dclw": "DCLW",
    "simsiam": "SimSiam",
    "vicreg": "VICReg",
    "imagenet": "ImgNet+TL",
    "random": "random initialisation",
    "random_calibrated": "random, BatchNorm calibrated",
}
METRIC_NAMES = {metric: metric.replace("_", " ").replace("f1", "F1") for metric in METRICS}
WIDTH = 50  # letters of 8 points in half a page


def name_of(entry: str) -> str:
    """What a legend calls an entry: its own name if it has none here."""
    return NAMES.get(entry, entry)


def heading(rows: pd.DataFrame, *more: str, width: int = WIDTH) -> str:
    """What the results in a panel are of: the data set, then how their encoders were trained, the split, and `more`."""
    trained = rows[rows["batch_size"].notna()]
    own = trained if len(trained) else rows
    facts = [f"recipe {several(trained['recipe'])}"] if len(trained) else []
    facts += [several(own["backbone"]), f"{several(own['image_size'])} px"]
    facts += [epochs_of(trained["epochs"])] if len(trained) else []
    facts += [f"split {several(rows['split'])} (seed {several(rows['split_seed'])})"]
    facts += [count(int(rows["n"].iloc[0]), "test image"), *more]
    unbroken = [fact.replace(" ", "\N{NO-BREAK SPACE}") for fact in facts]
    return f"{rows['title'].iloc[0]}\n" + textwrap.fill(", ".join(unbroken), width)


def several(values: Iterable[object]) -> str:
    """ "paper", or "paper / tuned"."""
    return " / ".join(dict.fromkeys(str(value) for value in values))


def epochs_of(numbers: Iterable[int]) -> str:
    """ "1 epoch", "12 epochs", "5 / 12 epochs"."""
    found = sorted({int(number) for number in numbers})
    return count(found[0], "epoch") if len(found) == 1 else f"{several(found)} epochs"


def number_of(counts: Iterable[int], what: str) -> str:
    """ "1 seed", "3 seeds", "1 to 3 seeds"."""
    found = sorted(set(counts))
    return count(found[0], what) if len(found) == 1 else f"{found[0]} to {count(found[-1], what)}"


def grouped(found: Iterable[Interval], images: int) -> list[str]:
    """What to say of the test groups: how many, where they are not the images themselves or are too few, or too
    unequal, for intervals."""
    every = list(found)
    groups = count(every[0].groups, "group")
    if not all(each.reliable for each in every):
        return [f"{groups} (no reliable intervals)"]
    return [] if every[0].groups == images else [groups]
