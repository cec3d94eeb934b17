"""Decide which level of folders holds the classes, or whether the names of the files do."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowres_ssl.console import shorten_list
from lowres_ssl.data.datasets import SUBSET_WORDS, SplitWords, guess_subset, list_words
from lowres_ssl.data.datasets.folder import find_copies, has_subset_folders
from lowres_ssl.data.image_folder import ImageFolder
from lowres_ssl.errors import ConfigError, DataError
from lowres_ssl.init.typed_input import TypedInput

PATIENT_WORDS = "patient|person|subject|donor|slide|case|subj|pat|sub|pid|p"
# Folders that divide a set without being classes, by the words of their names.
PART_WORDS = {
    *("fold", "folds", "cv", "site", "hospital", "center", "centre", "clinic", "source", "cohort", "scanner"),
    *("part", "parts", "batch", "split", "set", "subset", "chunk", "dataset", *SUBSET_WORDS),
    *("images", "image", "imgs", "img", "pictures", "data"),
}
# Folders that a class may have in it, such as views, magnifications and file formats.
VIEW = re.compile(
    r"\d+x|x?\d+(px|um|mm)|(.*[_ -])?(images?|imgs?|masks?|labels?|png|jpe?g|tiff?|bmp|dcm|dicom|raw|original|resized|"
    r"left|right|frontal|lateral|ap|pa|axial|coronal|sagittal|t[12]w?|flair|oct|fundus|he|ihc)s?",
    re.IGNORECASE,
)
CLASS_WORDS = {"grade", "stage", "class", "level", "score", "birads", "cat", "category", "type", "group"}
TRUTH_WORDS = {
    *("positive", "negative", "pos", "neg", "normal", "abnormal", "benign", "malignant", "healthy", "sick"),
    *("ill", "diseased", "disease", "tumor", "tumour", "cancer", "control", "case", "lesion", "infected", "uninfected"),
}
DATE = re.compile(r"(?:19|20)\d\d(?:[-_. ]?\d\d?){0,2}|\d\d?[-_.]\d\d?[-_.](?:19|20)?\d\d")
NUMBERED = re.compile(
    r"(?:day|week|month|year|date|visit|session|batch|scan|study|series|exam|examination|acquisition|run|part|roll|"
    r"folder|dir|upload|device|camera|scanner|site|centre|center|hospital)[ _-]?\d+",
    re.IGNORECASE,
)
WORD_AFTER_NUMBER = re.compile(r"[^/]*\d[ _-]+([A-Za-z][A-Za-z _-]*)")
CLASS_IN_FILE_NAME = {
    re.compile(r".*[ _-](?P<word>[A-Za-z]+|\d)"): r"[ _-]({})\.[^./]+$",
    re.compile(r"(?P<word>[A-Za-z]+)[ _.-]*\(?\d.*"): r"(?:^|/)({})[ _.(\d-]",
}
MAX_CLASSES, MIN_IMAGES_A_FOLDER = 50, 3
MAX_NAMED_TOPS = 6
MAX_GRADES = 6  # numbered from 0: patients begin with 1
SMALL_FOLDER, MANY_FOLDERS = 2, 20
MANY_NUMBERS = 20  # grades and digits are fewer


@dataclass(frozen=True)
class FolderReading:
    """Hold the options of `dataset=folder`, how many folders lie above the images' own part of the id (the class
    included), and notes on the other reading, with what to type."""

    options: dict[str, Any]
    depth: int
    notes: tuple[str, ...] = ()


def read_folder_levels(folder: ImageFolder, typed: TypedInput) -> FolderReading:
    """Decide where the classes are. Raises `ConfigError` for a typed level that there is not, `DataError` for folders
    of an image or two that can be no classes."""
    root, inner = folder.root, folder.enter()
    copies = find_copies(inner.ids)
    chains = [id.split("/")[:-1] for id in inner.ids if id.partition("/")[0] not in copies]
    has_subsets = has_subset_folders(inner)
    words: dict[str, Any] | None = typed.split_words
    if words is None and not has_subsets and have_same_folders(chains):  # such as "train_set" and "test_set"
        words = map_subset_folders(list_names(chains, 1))
    divided, subsets = int(words is not None or has_subsets), SplitWords(words)
    chains = [chain[divided:] for chain in chains if not divided or (chain and subsets.get(chain[0]))]
    deepest = max(map(len, chains), default=0)
    if typed.class_level is not None and not 1 <= typed.class_level <= deepest:
        raise ConfigError(f"class_level={typed.class_level}: wanted 1 to {deepest}, the levels of folders")
    pattern = None if typed.class_level else find_class_in_names(chains)
    level = typed.class_level or (1 if pattern else guess_class_level(chains))
    options: dict[str, Any] = {} if words is None else {"split_words": words}
    if pattern is None:
        check_folder_sizes(root, Counter(chain[level - 1] for chain in chains if len(chain) >= level))
        if level > 1:
            pattern = f"^{'[^/]+/' * (divided + level - 1)}([^/]+)/"
    if pattern is not None:
        options["label_pattern"] = pattern
    if typed.top == "group" or (typed.class_level is None and level > 1 and have_patients_on_top(chains)):
        options["group_pattern"] = f"^{'[^/]+/' * divided}([^/]+)/"
    notes = () if typed.class_level else describe_other_level(root, typed, chains, level, options)
    return FolderReading(options, divided + level, notes)


def describe_other_level(
    folder: Path, typed: TypedInput, chains: Sequence[Sequence[str]], level: int, options: dict[str, Any]
) -> tuple[str, ...]:
    """Describe how the folders were read, and the other reading with its command; empty where there is one only."""
    pattern, names = options.get("label_pattern"), list_names(chains, 2)
    tops, inner, above = (shorten_list(list_names(chains, each)) for each in (1, max(2, level), max(1, level - 1)))
    if level > 1:
        read, other, other_level = f"the folders {inner}", f"those above ({above})", level - 1
    elif pattern is not None:
        words = re.sub(r".*\((.*)\)/$", r"\1", pattern).split("|")
        read, other, other_level = f"{shorten_list(words)} in the names of folders", f"the top folders ({tops})", 1
    elif have_same_folders(chains) and len(names) <= MAX_CLASSES and not any(map(is_view_name, names)):
        read, other, other_level = f"the folders {tops}", f"those in each of them ({inner})", 2
    else:
        return ()
    note = f"read {read} as the classes; could be {other}: {typed.format_init(folder, class_level=other_level)}"
    if level > 1 and "group_pattern" not in options and have_same_folders([chain[level - 2 :] for chain in chains]):
        note += suggest_top_groups(folder, typed, chains, is_divided="split_words" in options)
    return (note,)


def suggest_top_groups(folder: Path, typed: TypedInput, chains: Sequence[Sequence[str]], *, is_divided: bool) -> str:
    """Format what to type to keep each top folder in one subset, and to choose those of the test set."""
    text = f"; to keep each of the top folders together, in train or in test: {typed.format_init(folder, top='group')}"
    sizes, order = Counter(chain[0] for chain in chains if chain), ("train", None, "val", "test")
    *tops, last = sorted(sizes, key=lambda top: (order.index(guess_subset(top)), -sizes[top], top))
    if not is_divided and 0 < len(tops) < MAX_NAMED_TOPS:
        example = typed.format_init(folder, split_words={"train": tops, "test": [last]})
        text += f"; to choose which of them test, such as {example}"
    return text


def map_subset_folders(tops: Sequence[str]) -> dict[str, Any] | None:
    """Map train, val and test to the folders named after them; None for others, or without train and test."""
    named = {top: guess_subset(top) for top in tops}
    if None in named.values() or not {"train", "test"} <= set(named.values()):
        return None
    return {subset: [top for top in tops if named[top] == subset] for subset in named.values() if subset is not None}


def list_class_folders(folder: ImageFolder) -> list[str]:
    """List the top folders if they could be classes: at least two, named as no parts of a set and no patients."""
    folder = folder.enter()
    level = int(has_subset_folders(folder))
    chains = [id.split("/")[level:-1] for id in folder.ids]
    tops = list_names(chains, 1)
    parts = sum(is_part_name(top) or looks_like_patient(top) for top in tops)
    return tops if len(tops) > 1 and 2 * parts < len(tops) else []


def list_names(chains: Sequence[Sequence[str]], level: int) -> list[str]:
    return sorted({chain[level - 1] for chain in chains if len(chain) >= level})


def group_by_top(chains: Sequence[Sequence[str]]) -> dict[str, set[str]]:
    """Map each top folder to the names of the folders in it."""
    inner: dict[str, set[str]] = defaultdict(set)
    for chain in chains:
        if len(chain) > 1:
            inner[chain[0]].add(chain[1])
    return inner


def have_same_folders(chains: Sequence[Sequence[str]]) -> bool:
    """Whether the top folders hold folders of the same names, at least two, with a few missing perhaps."""
    inner = group_by_top(chains)
    names = set().union(*inner.values())
    full = sum(map(len, inner.values())) >= 0.75 * len(inner) * len(names)
    deep = sum(len(chain) > 1 for chain in chains) >= 0.9 * len(chains)
    return len(inner) > 1 and len(names) > 1 and full and deep


def guess_class_level(chains: Sequence[Sequence[str]]) -> int:
    """Go down from the top as long as the folders below look more like classes, through parts inside parts as well."""
    level, rest = 1, chains
    while are_classes_deeper(rest) or are_parts_deeper(rest):
        level, rest = level + 1, [chain[1:] for chain in rest if len(chain) > 1]
    return level


def are_parts_deeper(chains: Sequence[Sequence[str]]) -> bool:
    """Whether parts hold parts, such as site 1/fold_0, and these hold classes."""
    names = [*list_names(chains, 1), *list_names(chains, 2)]
    return all(map(is_part_name, names)) and are_classes_deeper([chain[1:] for chain in chains if len(chain) > 1])


def are_classes_deeper(chains: Sequence[Sequence[str]]) -> bool:
    """Whether the second level looks more like classes: the top folders are parts, patients or organs."""
    inner = group_by_top(chains)
    names = sorted(set().union(*inner.values())) if inner else []
    if sum(len(chain) > 1 for chain in chains) < 0.9 * len(chains) or not 2 <= len(names) <= MAX_CLASSES:
        return False
    if any(map(is_view_name, names)):
        return False
    same, parts = have_same_folders(chains), all(is_part_name(top) for top in inner)
    if have_patients_on_top(chains):
        return True
    if same and len(names) <= MAX_GRADES and names == [str(grade) for grade in range(len(names))]:
        return len(chains) >= MIN_IMAGES_A_FOLDER * sum(map(len, inner.values()))
    if 2 * sum(map(looks_like_patient, names)) > len(names):
        return same and parts
    if len(inner) < 2:  # one class folder cannot be
        return True
    enough = len(chains) >= MIN_IMAGES_A_FOLDER * sum(map(len, inner.values()))
    return parts or (enough and (same or all(len(own) > 1 for own in inner.values())))


def have_patients_on_top(chains: Sequence[Sequence[str]]) -> bool:
    """Whether the top folders are numbered, and more than the few names of the folders in them, such as 8863/0."""
    inner = group_by_top(chains)
    names = set().union(*inner.values())
    numbered = 2 * sum(map(looks_like_patient, inner)) > len(inner)
    alone = all(len(own) == 1 for own in inner.values())
    shared = alone or sum(map(len, inner.values())) >= 0.5 * len(inner) * len(names)
    return numbered and shared and len(names) > 1 and len(inner) > max(4, 2 * len(names))


def find_class_in_names(chains: Sequence[Sequence[str]]) -> str | None:
    """Find the level of folders numbered and named after a class, such as study1_positive; the pattern of the class."""
    for level in range(1, 1 + max(map(len, chains), default=0)):
        found = [WORD_AFTER_NUMBER.fullmatch(chain[level - 1]) for chain in chains if len(chain) >= level]
        words = Counter(match[1] for match in found if match)
        folders = {tuple(chain[:level]) for chain in chains}
        several = 2 <= len(words) <= MAX_CLASSES // 5 and len(folders) >= 2 * len(words)
        is_class = level > 1 or len(folders) > 2 * len(words) or {word.lower() for word in words} & TRUTH_WORDS
        is_part = {word.lower() for word in words} <= PART_WORDS
        if several and is_class and not is_part and words.total() >= 0.95 * len(chains):
            return rf"\d[ _-]+({'|'.join(sorted(map(re.escape, words)))})/"
    return None


def read_file_names(folder: ImageFolder, typed: TypedInput) -> FolderReading | None:
    """Find a class in the names of files that no folders divide: at their end, as a number of few (x_0001_0.png) or a
    word such as normal, or at their start (normal_12.png). Folders of train and test divide the set."""
    names = [id.rpartition("/")[2].rpartition(".")[0] for id in folder.ids]
    for form, pattern in CLASS_IN_FILE_NAME.items():
        found = [match for match in map(form.fullmatch, names) if match]
        words = Counter(match["word"] for match in found)
        enough = len(found) >= 0.95 * len(names) and 2 <= len(words) <= MAX_GRADES and min(words.values()) > MAX_GRADES
        rests = {match.string[: match.start("word")] for match in found}
        numbers = sorted(words) in ([str(n + first) for n in range(len(words))] for first in (0, 1))
        are_grades = numbers and len(rests) >= 0.95 * len(found)  # else they number the images of one name
        if enough and (are_grades or {word.lower() for word in words} & TRUTH_WORDS):
            pattern = pattern.format("|".join(sorted(map(re.escape, words))))
            note = (
                f"read {shorten_list(sorted(words))} in the names of files as the classes, such as {found[0].string}; "
                f"if they are none type {typed.format_init(folder.root, labelled=False)}"
            )
            subsets = map_subset_folders(sorted({id.partition("/")[0] for id in folder.enter().ids}))
            options = {"label_pattern": pattern} | ({} if subsets is None else {"split_words": subsets})
            return FolderReading(options, int(subsets is not None), (note,))
    return None


def check_folder_sizes(folder: Path, sizes: Counter[str]) -> None:
    """Raise `DataError` for many folders of an image or two: patients or studies, not classes."""
    small = sum(size <= SMALL_FOLDER for size in sizes.values())
    if len(sizes) > MANY_FOLDERS and small * 2 > len(sizes):
        raise DataError(
            f"{folder}: {small:,} of {len(sizes):,} folders have one or two images, such as "
            f"{shorten_list(sorted(sizes), 3)}: patients or studies, not classes; wanted one folder a class, or a "
            "table that names the images"
        )


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
