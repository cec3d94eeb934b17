"""Guess whether the folders of a set are its classes, or patients, days and the like, whose images have no labels."""

import re
from collections.abc import Collection, Sequence

from lowres_ssl.data.datasets import Listing
from lowres_ssl.init.guesses import is_patient_folder

DATE = re.compile(r"(?:19|20)\d\d(?:[-_. ]?\d\d?){0,2}|\d\d?[-_.]\d\d?[-_.](?:19|20)?\d\d")
NUMBERED = re.compile(
    r"(?:day|week|month|year|date|visit|session|batch|scan|study|series|exam|examination|acquisition|run|part|roll|"
    r"folder|dir|upload|device|camera|scanner|site|centre|center|hospital)[ _-]?\d+",
    re.IGNORECASE,
)
MANY_NUMBERS = 20  # grades and digits are fewer


def should_ignore_labels(listings: Sequence[Listing], typed: bool | None) -> bool:
    """Whether the images are taken for unlabelled: as it was typed, or for folders that are no two classes."""
    labels = {each.label for each in listings}
    return not typed if typed is not None else len(labels) < 2 or are_no_classes(labels)


def are_no_classes(names: Collection[str]) -> bool:
    """Whether most of these folders are named after patients, days, visits or the like, or by many mere numbers."""
    others = sum(bool(is_patient_folder(name) or DATE.fullmatch(name) or NUMBERED.fullmatch(name)) for name in names)
    numbers = sum(name.isdecimal() for name in names)
    return others * 2 > len(names) or (numbers > MANY_NUMBERS and numbers * 2 > len(names))
