"""Guess patients from names, and settings that fit a new data set."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median_low

import numpy as np

from lowres_ssl.config.overrides import format_budget
from lowres_ssl.data.catalogue import Catalogue
from lowres_ssl.data.splits import Split
from lowres_ssl.init.folder_names import PATIENT_WORDS

MAX_COPY_MARKS = 20


@dataclass(frozen=True)
class PatientGuess:
    """Hold a `pattern` for `dataset.options.group_pattern`; the number of `groups` among the `matched` images; the
    largest group and its number of images."""

    pattern: str
    groups: int
    matched: int
    example: str
    example_images: int


def list_patterns(depth: int) -> list[tuple[str, int, int, float]]:
    """List patterns from the surest to the least sure, and when each convinces: the fewest groups, in all and a class,
    and the largest share of the images in one group.

    The last ones, which use no word, go from coarse to fine: groups that are too large cost a little, groups that are
    too small are leakage.
    """
    return [
        (f"^{'[^/]+/' * depth}([^/]+)/", 5, 2, 0.3),
        (rf"(?i)(?:^|[/_. -])((?:{PATIENT_WORDS})[_ -]?\d+)(?!\d)", 5, 1, 0.3),
        (r"(?:^|/)([^/]+)_(?:jpe?g|png|bmp|tiff?)\.rf\.", 5, 1, 0.2),  # one image, augmented: x_jpg.rf.HASH.jpg
        # From the name's first letter and its first digit on: where either may vary, a long name takes minutes.
        *((rf"(?:^|/)([^/\d]*\d[^/]*)(?:[_ .-][^_ ./-]+){{{tokens}}}\.[^./]+$", 10, 3, 0.2) for tokens in (4, 3, 2, 1)),
    ]


def guess_patients(ids: Sequence[str], *, classes: int, depth: int) -> PatientGuess | None:
    """Return the first pattern that convinces; None if none does.

    `ids` are those of the images, such as `tumour/p12_3.png`, with `depth` folders above those of patients. A pattern
    convinces if it fits at least half of the images and at least a third of all share a group with another, in enough
    groups of which none is too large.
    """
    patterns = list_patterns(depth)
    patterns[3:3] = [(pattern, 5, 1, 0.3) for pattern in list_copy_patterns(ids)]
    for pattern, fewest, fewest_each_class, largest_share in patterns:
        groups = Counter(match[1] for match in map(re.compile(pattern).search, ids) if match)
        matched = groups.total()
        shared = sum(count for count in groups.values() if count > 1)
        if matched * 2 < len(ids) or shared * 3 < len(ids):
            continue
        example, largest = groups.most_common(1)[0]
        enough = len(groups) >= max(fewest, fewest_each_class * classes)
        if enough and largest <= largest_share * len(ids):
            return PatientGuess(simplify_pattern(pattern, example, ids), len(groups), matched, example, largest)
    return None


def list_copy_patterns(ids: Sequence[str]) -> list[str]:
    """List the pattern of images beside copies named after them, such as x.png, x_flip.png and "x - Copy.png"; none
    without, or with more marks of copies than programs write."""
    stems, marks = {id.rpartition(".")[0] for id in ids}, Counter[str]()
    for stem in stems:
        ends = [end for end, letter in enumerate(stem) if letter in "_ .-(" and stem[:end] in stems]
        marks.update(re.sub(r"\d+", r"\\d+", re.escape(stem[end:])) for end in ends[:1])
    if not 0 < len(marks) <= MAX_COPY_MARKS:
        return []
    return [rf"^(.+?)(?:{'|'.join(sorted(marks))})*\.[^./]+$"]


def simplify_pattern(pattern: str, example: str, ids: Sequence[str]) -> str:
    r"""Replace a pattern of many words by one such as `(person\d+)`, where it has the same result for every image."""
    known = re.fullmatch(rf"(?i)((?:{PATIENT_WORDS})[_ -]?)\d+", example)
    if known is None or not pattern.startswith("(?i)"):
        return pattern
    shorter = rf"({known[1]}\d+)"
    groups = [[match and match[1] for match in map(re.compile(each).search, ids)] for each in (shorter, pattern)]
    return shorter if groups[0] == groups[1] else pattern


PAPER_NEIGHBOURS = 200
MIN_VIEWS = 20_000  # what the shortest trainings of docs/recipe_study.md had
MIN_EPOCHS, GPU_EPOCHS = 20, 100
MAX_BATCH_SIZE = 64  # what the recipes' learning rates belong to
PAPER_SIZE, CPU_SIZE, MIN_SIZE = 224, 64, 24
HALF_HOUR_SECONDS, HOUR_SECONDS = 1800, 3600
IMAGES_IN_HALF_AN_HOUR = 1500


@dataclass(frozen=True)
class DefaultSettings:
    """Hold the settings, and the numbers of training images that they depend on: all, and of the smallest class."""

    image_size: int
    batch_size: int
    k: int
    train_images: int
    smallest_class: int


def choose_default_settings(catalogue: Catalogue, split: Split, *, gpu: bool) -> DefaultSettings:
    """Choose the settings for these images and this split; `k` is 0 without labels."""
    images = catalogue.records or catalogue.unlabelled
    train_images = len(split.train) if catalogue.records else len(images)
    smallest = int(np.bincount(catalogue.labels[split.train], minlength=len(catalogue.classes) or 1).min())
    return DefaultSettings(
        image_size=choose_image_size(median_low(min(each.height, each.width) for each in images), gpu=gpu),
        batch_size=choose_batch_size(train_images),
        k=choose_neighbours(smallest),
        train_images=train_images,
        smallest_class=smallest,
    )


def choose_neighbours(smallest_class: int) -> int:
    """Choose k for KNN: a fifth of the smallest class's training images (at least 1), so that an image's neighbours can
    all be of its class; at least 5 where there are so many, and at most the paper's 200."""
    return min(smallest_class, max(5, smallest_class // 5), PAPER_NEIGHBOURS)


def choose_batch_size(images: int) -> int:
    """Choose the batch size for the images of an epoch (at least 2): the recipes' 64, or the largest power of two that
    the images fill.

    Not lowered for more steps an epoch: the recipes' rates are for 64 images, and smaller batches have fewer images to
    compare each image with. docs/own_data.md has the trial.
    """
    return max(2, 1 << min(images, MAX_BATCH_SIZE).bit_length() - 1)


def choose_epochs(images: int, *, gpu: bool) -> int:
    """Choose the epochs of a first try on so many training images: two views of each, `MIN_VIEWS` at least."""
    return max(GPU_EPOCHS if gpu else MIN_EPOCHS, math.ceil(MIN_VIEWS / (2 * images)))


def choose_image_size(shorter_side: int, *, gpu: bool) -> int:
    """Choose the side in pixels to train at, from the median shorter side of the images: the paper's 224 on a GPU, 64
    for a first try on a CPU; not above the images, in steps of 8 and at least 24."""
    return max(MIN_SIZE, min(PAPER_SIZE if gpu else CPU_SIZE, shorter_side // 8 * 8))


def suggest_budget(images: int) -> str:
    """Suggest the time to compare all methods in, as it is typed: half an hour up to 1,500 images of the set, then in
    proportion, in whole hours."""
    if images <= IMAGES_IN_HALF_AN_HOUR:
        return format_budget(HALF_HOUR_SECONDS)
    return format_budget(HOUR_SECONDS * math.ceil(HALF_HOUR_SECONDS * images / IMAGES_IN_HALF_AN_HOUR / HOUR_SECONDS))
