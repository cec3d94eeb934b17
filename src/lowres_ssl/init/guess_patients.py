"""Guess the patients in file names: a `group_pattern`, only where the names are convincing."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

PATIENT_WORDS = "patient|person|subject|donor|slide|case|subj|pat|sub|pid|p"


@dataclass(frozen=True)
class PatientGuess:
    """Hold a `pattern` for `dataset.options.group_pattern`; the number of `groups` among the `matched` images; the
    largest group and its number of images."""

    pattern: str
    groups: int
    matched: int
    example: str
    example_images: int


@dataclass(frozen=True)
class PatternCandidate:
    """Hold a pattern and when it convinces: the fewest groups, in all and a class, and the largest share of the images
    in one group."""

    pattern: str
    fewest: int
    fewest_each_class: int
    largest_share: float


def list_candidates(divided: bool) -> Iterator[PatternCandidate]:
    """List patterns from the surest to the least sure. The last ones, which use no word, go from coarse to fine: groups
    that are too large cost a little, groups that are too small are leakage."""
    class_folder = "[^/]+/[^/]+" if divided else "[^/]+"
    yield PatternCandidate(f"^{class_folder}/([^/]+)/", 5, 2, 0.3)
    yield PatternCandidate(rf"(?i)(?:^|[/_. -])((?:{PATIENT_WORDS})[_ -]?\d+)(?!\d)", 5, 1, 0.3)
    for tokens in (4, 3, 2, 1):
        # From the name's first letter and its first digit on: where either may vary, a long name takes minutes.
        yield PatternCandidate(rf"(?:^|/)([^/\d]*\d[^/]*)(?:[_ .-][^_ ./-]+){{{tokens}}}\.[^./]+$", 10, 3, 0.2)


def guess_patients(ids: Sequence[str], *, classes: int, divided: bool) -> PatientGuess | None:
    """Return the first pattern that convinces; None if none does.

    `ids` are those of the images, such as `tumour/p12_3.png`. A pattern convinces if it fits at least half of the
    images and at least a third of all share a group with another, in enough groups of which none is too large.
    """
    for candidate in list_candidates(divided):
        pattern = re.compile(candidate.pattern)
        groups = Counter(match[1] for id in ids if (match := pattern.search(id)))
        matched = groups.total()
        shared = sum(count for count in groups.values() if count > 1)
        if matched * 2 < len(ids) or shared * 3 < len(ids):
            continue
        example, largest = groups.most_common(1)[0]
        enough = len(groups) >= max(candidate.fewest, candidate.fewest_each_class * classes)
        if enough and largest <= candidate.largest_share * len(ids):
            shorter = simplify_pattern(candidate.pattern, example, ids)
            return PatientGuess(shorter, len(groups), matched, example, largest)
    return None


def is_patient_folder(name: str) -> bool:
    """Whether a folder's name looks like one patient's, such as `patient_12`."""
    return re.fullmatch(rf"(?i)(?:{PATIENT_WORDS})[_ -]?\d+", name) is not None


def simplify_pattern(pattern: str, example: str, ids: Sequence[str]) -> str:
    r"""Replace a pattern of many words by one such as `(person\d+)`, where it has the same result for every image."""
    known = re.fullmatch(rf"(?i)((?:{PATIENT_WORDS})[_ -]?)\d+", example)
    if known is None or not pattern.startswith("(?i)"):
        return pattern
    shorter = rf"({known[1]}\d+)"
    groups = [[match and match[1] for match in map(re.compile(each).search, ids)] for each in (shorter, pattern)]
    return shorter if groups[0] == groups[1] else pattern
