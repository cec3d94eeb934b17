"""Guess which files of a folder are no images of the set: masks of its images, and sheets that show many of them."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from lowres_ssl.config.check import require
from lowres_ssl.data.datasets import list_words
from lowres_ssl.data.decode import read_image
from lowres_ssl.data.exclusion import compile_exclude

MASK_WORDS = (
    *("mask", "masks", "gt", "truth", "groundtruth", "seg", "segm", "segmentation", "segmentations", "label", "labels"),
    *("labelmap", "annotation", "annotations", "anno", "contour", "contours", "lesion", "roi"),
)
WORD = f"(?:ground[ _-])?(?:{'|'.join(MASK_WORDS)})"
MASK_AT_END = re.compile(rf"(?P<base>.+?)(?P<mark>[ _.-]*masks?|[ _.-]+{WORD})(?:[ _.-]*\d+)?", re.IGNORECASE)
MASK_AT_START = re.compile(rf"(?P<mark>{WORD}[ _.-]+)(?P<base>.+)", re.IGNORECASE)
SHEET = re.compile(
    r"(?i)(?<![a-z])(contact[ _-]?sheets?|sheets?|montages?|mosaics?|collages?|overviews?|thumbs|thumbnails?|previews?|"
    r"legend|colou?r[ _-]?bar|scale[ _-]?bar)(?![a-z])"
)
MAX_SHEET_SHARE = 0.05  # of the images of a folder; of more, the word is a name like any other
MIN_MASK_SHARE = 0.8  # of the files with a name, those that must be masks
SAMPLE_SIZE, SAMPLE_SIDE = 12, 96  # images that are opened of a folder, and pixels of their side that are looked at
MAX_MASK_COLOURS, MIN_COLOUR_SHARE = 8, 0.95  # colours that a mask has, and the least share of its pixels in them

ImagePaths = Sequence[tuple[Path, str]]  # the path and the id of each


@dataclass(frozen=True)
class Exclusion:
    """Hold a `pattern` for `dataset.exclude`, the number of `files` that it leaves out, and what they are."""

    pattern: str
    files: int
    what: str


def guess_exclusions(images: ImagePaths, typed: Sequence[str] = (), *, guess: bool = True) -> list[Exclusion]:
    """List what to leave out of a folder with these images: by the patterns that were typed, and with `guess` masks and
    sheets; each file counts once. Raises `ConfigError` for a typed pattern that leaves out none or all of them."""
    found: list[Exclusion] = []
    guesses = ((guess_mask_folders, "masks"), (guess_mask_names, "masks"), (guess_sheets, "sheets of images"))
    for pattern in typed:
        kept = list(keep_unmatched(images, pattern))
        require(0 < len(kept) < len(images), "exclude", pattern, "a pattern that leaves out some images and not all")
        found.append(Exclusion(pattern, len(images) - len(kept), "images"))
        images = kept
    for find, what in guesses if guess else ():
        for pattern in find(images):
            kept = list(keep_unmatched(images, pattern))
            if 0 < len(kept) < len(images):
                found.append(Exclusion(pattern, len(images) - len(kept), what))
                images = kept
    return found


def keep_unmatched(images: ImagePaths, pattern: str) -> Iterable[tuple[Path, str]]:
    compiled = compile_exclude([pattern])
    return (each for each in images if not (compiled and compiled.search(each[1])))


def guess_mask_folders(images: ImagePaths) -> list[str]:
    """Guess folders by a word of their name, where their images have the few colours of masks."""
    inside: dict[str, list[Path]] = defaultdict(list)
    for path, id in images:
        for name in dict.fromkeys(PurePosixPath(id).parts[:-1]):
            if set(MASK_WORDS).intersection(list_words(name)):
                inside[name].append(path)
    return [name for name, paths in inside.items() if look_like_masks(paths)]


def guess_mask_names(images: ImagePaths) -> list[str]:
    """Guess patterns of names: a word before or after the name of another image, or a suffix of its own beside an image
    of the same name; where no image has that name, the files have the few colours of masks."""
    stems = {PurePosixPath(id).stem.casefold() for _, id in images}
    named: dict[str, list[tuple[Path, bool]]] = defaultdict(list)
    for path, id in images:
        stem = PurePosixPath(id).stem
        for form, pattern in ((MASK_AT_END, "*{}*"), (MASK_AT_START, "{}*")):
            if match := form.fullmatch(stem):
                has_image = match["base"].casefold() in stems
                named[pattern.format(match["mark"].lower())].append((path, has_image))
                break
    patterns = [
        pattern
        for pattern, files in named.items()
        if sum(has_image for _, has_image in files) >= MIN_MASK_SHARE * len(files)
        or look_like_masks([path for path, _ in files])
    ]
    return [*patterns, *guess_mask_suffixes(images)]


def guess_mask_suffixes(images: ImagePaths) -> list[str]:
    """Guess suffixes whose files all lie beside an image of the same name and another suffix: `x.png` by `x.jpg`."""
    suffixes: dict[str, set[str]] = defaultdict(set)
    by_suffix: dict[str, list[Path]] = defaultdict(list)
    for path, id in images:
        suffixes[id.removesuffix(path.suffix)].add(path.suffix.lower())
        by_suffix[path.suffix.lower()].append(path)
    doubled = Counter(suffix for own in suffixes.values() if len(own) > 1 for suffix in own)
    return [
        f"*{suffix}" for suffix, paths in by_suffix.items() if len(paths) == doubled[suffix] and look_like_masks(paths)
    ]


def guess_sheets(images: ImagePaths) -> list[str]:
    """Guess patterns of names that say that an image shows others, where few of a folder have them."""
    sheets = [(id, match[1]) for _, id in images if (match := SHEET.search(PurePosixPath(id).stem))]
    total = Counter(str(PurePosixPath(id).parent) for _, id in images)
    own = Counter(str(PurePosixPath(id).parent) for id, _ in sheets)
    few = {folder for folder, count in own.items() if count <= max(1, MAX_SHEET_SHARE * total[folder]) < total[folder]}
    return list(dict.fromkeys(f"*{word.lower()}*" for id, word in sheets if str(PurePosixPath(id).parent) in few))


def look_like_masks(paths: Sequence[Path]) -> bool:
    """Whether most of a sample of images have only few colours, as masks have."""
    rows = np.unique(np.linspace(0, len(paths) - 1, min(SAMPLE_SIZE, len(paths)), dtype=int))
    return sum(is_mask(paths[row]) for row in rows) >= MIN_MASK_SHARE * len(rows)


def is_mask(path: Path) -> bool:
    try:
        image = read_image(path).convert("RGB").resize((SAMPLE_SIDE, SAMPLE_SIDE), Image.Resampling.NEAREST)
    except Exception:  # decoders raise errors of any class; it is named among what cannot be read
        return False
    counts = sorted((count for count, _ in image.getcolors(SAMPLE_SIDE**2) or []), reverse=True)
    return sum(counts[:MAX_MASK_COLOURS]) >= MIN_COLOUR_SHARE * SAMPLE_SIDE**2
