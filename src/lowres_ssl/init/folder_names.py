"""Know folders by their names: parts of a set, views, patients, dates and visits, which are no classes."""

import re
from collections.abc import Collection

from lowres_ssl.data.split_words import SUBSET_WORDS, list_words

PATIENT_WORDS = "patient|person|subject|donor|slide|case|subj|pat|sub|pid|p"
# Folders that divide a set without being classes, by the words of their names.
PART_WORDS = frozenset(
    [
        *("fold", "folds", "cv", "site", "hospital", "center", "centre", "clinic", "source", "cohort", "scanner"),
        *("part", "parts", "batch", "split", "set", "subset", "chunk", "dataset", *SUBSET_WORDS),
        *("images", "image", "imgs", "img", "pictures", "data"),
    ]
)
# Folders that a class may have in it, such as views, magnifications and file formats.
VIEW = re.compile(
    r"\d+x|x?\d+(px|um|mm)|(.*[_ -])?(images?|imgs?|masks?|labels?|png|jpe?g|tiff?|bmp|dcm|dicom|raw|original|resized|"
    r"left|right|frontal|lateral|ap|pa|axial|coronal|sagittal|t[12]w?|flair|oct|fundus|he|ihc)s?",
    re.IGNORECASE,
)
CLASS_WORDS = frozenset(["grade", "stage", "class", "level", "score", "birads", "cat", "category", "type", "group"])
TRUTH_WORDS = frozenset(
    [
        *("positive", "negative", "pos", "neg", "normal", "abnormal", "benign", "malignant", "healthy", "sick"),
        *("ill", "diseased", "disease", "tumor", "tumour", "cancer", "control", "case", "lesion", "infected"),
        *("uninfected",),
    ]
)
DATE = re.compile(r"(?:19|20)\d\d(?:[-_. ]?\d\d?){0,2}|\d\d?[-_.]\d\d?[-_.](?:19|20)?\d\d")
NUMBERED = re.compile(
    r"(?:day|week|month|year|date|visit|session|batch|scan|study|series|exam|examination|acquisition|run|part|roll|"
    r"folder|dir|upload|device|camera|scanner|site|centre|center|hospital)[ _-]?\d+",
    re.IGNORECASE,
)
MANY_NUMBERS = 20  # grades and digits are fewer


def is_part_name(name: str) -> bool:
    """Whether a folder is named as a part of a set, such as fold_1, site A, HAM10000_images_part_1, images_001."""
    return bool(PART_WORDS & set(list_words(name)))


def is_view_name(name: str) -> bool:
    return VIEW.fullmatch(name) is not None or is_part_name(name)


def looks_like_patient(name: str) -> bool:
    """Whether a folder's name is a number or has one, as those of patients, studies and series have."""
    return is_patient_folder(name) or (any(map(str.isdecimal, name)) and not CLASS_WORDS & set(list_words(name)))


def is_patient_folder(name: str) -> bool:
    """Whether a folder's name looks like one patient's, such as `patient_12`."""
    return re.fullmatch(rf"(?i)(?:{PATIENT_WORDS})[_ -]?\d+", name) is not None


def are_no_classes(names: Collection[str]) -> bool:
    """Whether most of these folders are named after patients, days, visits or the like, or by many mere numbers, or all
    of them are parts of a set that differ in no other word, such as train and test, or images_part_1 and 2."""
    others = sum(bool(is_patient_folder(name) or DATE.fullmatch(name) or NUMBERED.fullmatch(name)) for name in names)
    numbers = sum(name.isdecimal() for name in names)
    words = [set(list_words(name)) for name in names]
    own = set[str]().union(*words).difference(PART_WORDS)
    if all(map(is_part_name, names)) and all(len(word) == 1 or all(word in each for each in words) for word in own):
        return True
    return others * 2 > len(names) or (numbers > MANY_NUMBERS and numbers * 2 > len(names))
