"""Find what in a folder is no image of the set: masks, augmented copies, sheets of images, other files."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from lowres_ssl.config.check import require
from lowres_ssl.console import pluralise
from lowres_ssl.data.datasets import get_subset, list_words
from lowres_ssl.data.datasets.folder import find_copies, has_subset_folders
from lowres_ssl.data.decode import read_image
from lowres_ssl.data.file_index import get_stem
from lowres_ssl.data.image_folder import ImageFolder, ImagePaths, compile_exclude

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
AUGMENTED_WORDS = {"augmented", "augmentation", "augmentations", "augment", "aug"}
AUGMENTED_AT_END = re.compile(
    rf"(?P<base>.+?)(?P<mark>[ _.-]+(?:{'|'.join(sorted(AUGMENTED_WORDS))}))(?![a-z]).*", re.IGNORECASE
)
ORIGINAL_WORDS = {"original", "originals", "orig", "raw", "unaugmented"}
SET_WORDS = {"image", "images", "img", "imgs", "data", "dataset", "set", "photos", "pictures"}
MAX_SHEET_SHARE = 0.05  # of the images of a folder; of more, the word is a name like any other
MIN_MASK_SHARE = 0.8  # of the files with a name, those that must be masks
SAMPLE_SIZE, SAMPLE_SIDE = 12, 96  # images that are opened of a folder, and pixels of their side that are looked at
MAX_MASK_COLOURS, MIN_COLOUR_SHARE = 8, 0.95  # colours that a mask has, and the least share of its pixels in them
ARCHIVE_SUFFIXES = {".zip", ".tar", ".tgz", ".tbz2", ".txz", ".gz", ".bz2", ".xz", ".zst", ".rar", ".7z"}
VOLUME_SUFFIXES = {
    *(".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr", ".mgz", ".mgh", ".mnc", ".mif", ".hdr", ".img", ".vtk"),
}
ARRAY_SUFFIXES = {".mat", ".npy", ".npz", ".h5", ".hdf5", ".pkl", ".pickle", ".tfrecord", ".tfrecords"}
# What files of these suffixes are called, and what to do with them.
KINDS = (
    ("volume", VOLUME_SUFFIXES, "save the slices that count as .png (docs/own_data.md shows how)"),
    ("slide", {".svs", ".ndpi", ".mrxs", ".scn", ".czi", ".lif", ".nd2", ".vsi"}, "save tiles of it as .png"),
    ("video", {".avi", ".mp4", ".mov", ".mpg", ".mpeg", ".wmv", ".mkv"}, "save frames of it as .png"),
    ("picture", {".gif", ".jp2", ".j2k", ".heic", ".pgm", ".ppm", ".avif"}, "save it as .png"),
    ("array file", ARRAY_SUFFIXES, "save its images as .png"),
    ("archive", ARCHIVE_SUFFIXES, "unpack it"),
)
MAX_NAMED_SUFFIXES = 4


@dataclass(frozen=True)
class Exclusion:
    """Hold a `pattern` for `dataset.exclude`, the number of `files` that it leaves out, and what they are."""

    pattern: str
    files: int
    what: str


def guess_exclusions(images: ImagePaths, typed: Sequence[str] = (), *, guess: bool = True) -> list[Exclusion]:
    """List what to leave out of a folder with these images: by the patterns that were typed, and with `guess` masks,
    augmented copies and sheets; each file counts once. Raises `ConfigError` for a typed pattern that leaves out none or
    all of them."""
    found: list[Exclusion] = []
    masks = ((guess_mask_folders, "masks"), (guess_mask_names, "masks"))
    guesses = ((guess_augmented, "augmented copies"), *masks, (guess_sheets, "sheets of images"))
    for pattern in typed:
        kept = keep_unmatched(images, pattern)
        require(0 < len(kept) < len(images), "exclude", pattern, "a pattern that leaves out some images and not all")
        found.append(Exclusion(pattern, len(images) - len(kept), "images"))
        images = kept
    for find, what in guesses if guess else ():
        for pattern in find(images):
            kept = keep_unmatched(images, pattern)
            if 0 < len(kept) < len(images):
                found.append(Exclusion(pattern, len(images) - len(kept), what))
                images = kept
    return found


def keep_unmatched(images: ImagePaths, pattern: str) -> ImagePaths:
    compiled = compile_exclude([pattern])
    return [each for each in images if not (compiled and compiled.search(each[1]))]


def guess_mask_folders(images: ImagePaths) -> list[str]:
    """Guess folders by a word of their name, where their images have the few colours of masks."""
    inside: dict[str, list[Path]] = defaultdict(list)
    for path, id in images:
        for name in dict.fromkeys(id.split("/")[:-1]):
            if set(MASK_WORDS).intersection(list_words(name)):
                inside[name].append(path)
    return [name for name, paths in inside.items() if look_like_masks(paths)]


def guess_mask_names(images: ImagePaths) -> list[str]:
    """Guess patterns of names: a word before or after the name of another image, or a suffix of its own beside an image
    of the same name; where no image has that name, the files have the few colours of masks."""
    named = find_marked_names(images, {"*{}*": MASK_AT_END, "{}*": MASK_AT_START})
    patterns = [pattern for pattern, (paths, share) in named.items() if share or look_like_masks(paths)]
    return [*patterns, *guess_mask_suffixes(images)]


def find_marked_names(images: ImagePaths, forms: Mapping[str, re.Pattern[str]]) -> dict[str, tuple[list[Path], bool]]:
    """Find the files named by a `base` and a `mark`, by the pattern of the mark, and whether most of the bases are the
    names of other images."""
    stems = {get_stem(id) for _, id in images}
    named: dict[str, list[tuple[Path, bool]]] = defaultdict(list)
    for path, id in images:
        stem = get_stem(id)
        for pattern, form in forms.items():
            if match := form.fullmatch(stem):
                named[pattern.format(match["mark"])].append((path, match["base"] in stems))
                break
    return {
        pattern: ([path for path, _ in files], sum(has_image for _, has_image in files) >= MIN_MASK_SHARE * len(files))
        for pattern, files in named.items()
    }


def guess_augmented(images: ImagePaths) -> list[str]:
    """Guess folders named as augmented where the originals' folder lies beside, and patterns of names such as
    "x_aug_1.png" beside "x.png"."""
    beside: dict[str, set[str]] = defaultdict(set)
    for _, id in images:
        parents = id.split("/")[:-1]
        for depth, name in enumerate(parents):
            beside["/".join(parents[:depth])].add(name)
    copies, alone = list[tuple[str, str]](), set[str]()
    for parent, names in beside.items():
        for name in sorted(names):
            if (words := set(list_words(name)) - SET_WORDS) & AUGMENTED_WORDS:
                if any(is_original(other, words - AUGMENTED_WORDS) for other in names):
                    copies.append((parent, name))
                else:
                    alone.add(name.lower())
    folders = [f"{parent}/{name}" if name.lower() in alone else name for parent, name in copies]
    marked = find_marked_names(images, {"*{}*": AUGMENTED_AT_END})
    return list(dict.fromkeys([*folders, *(pattern for pattern, (_, share) in marked.items() if share)]))


def is_original(name: str, of: Collection[str]) -> bool:
    """Whether a folder is named as the originals are, or by the same words as the augmented ones without that."""
    words = set(list_words(name))
    return bool(words) and not words & AUGMENTED_WORDS and (bool(words & ORIGINAL_WORDS) or words - SET_WORDS == of)


def find_second_formats(ids: Sequence[str]) -> tuple[str, str] | None:
    """Find two images that may be one picture in two formats, where most images have another suffix beside them."""
    same: dict[str, list[str]] = defaultdict(list)
    for id in ids:
        same[id.rpartition(".")[0]].append(id)
    several = [own for own in same.values() if len(own) > 1]
    return (several[0][0], several[0][1]) if 2 * sum(map(len, several)) > len(ids) else None


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
    """Guess name patterns of contact sheets and the like, if few files of a folder match."""
    sheets = [(id, match[1]) for _, id in images if (match := SHEET.search(get_stem(id)))]
    total = Counter(id.rpartition("/")[0] for _, id in images)
    own = Counter(id.rpartition("/")[0] for id, _ in sheets)
    few = {folder for folder, count in own.items() if count <= max(1, MAX_SHEET_SHARE * total[folder]) < total[folder]}
    return list(dict.fromkeys(f"*{word}*" for id, word in sheets if id.rpartition("/")[0] in few))


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


def count_other_files(folder: ImageFolder) -> Counter[str]:
    """Count the files that are no images by suffix, "" for none."""
    return Counter(get_suffix(path.name) for path, _ in folder.other_files)


def get_suffix(name: str) -> str:
    """Get the suffix in lower case, `.nii.gz` as one."""
    whole = "".join(Path(name).suffixes[-2:]).lower()
    return whole if whole in VOLUME_SUFFIXES else Path(name).suffix.lower()


def format_other_files(others: Counter[str]) -> str:
    """Format the files by kind: "8 volumes (8 .nii.gz): save ...; 3 other files (2 .txt, 1 without a suffix)"."""
    kinds = [*KINDS, ("other file", set(others).difference(*(suffixes for _, suffixes, _ in KINDS)), "")]
    parts = []
    for noun, suffixes, advice in kinds:
        own = Counter({suffix: number for suffix, number in others.items() if suffix in suffixes})
        if own:
            counts = own.most_common(MAX_NAMED_SUFFIXES)
            named = ", ".join(f"{number:,} {suffix or 'without a suffix'}" for suffix, number in counts)
            parts.append(f"{pluralise(own.total(), noun)} ({named})" + (f": {advice}" if advice else ""))
    return "; ".join(parts)


def find_empty_classes(folder: ImageFolder) -> list[str]:
    """List the class folders without an image."""
    folder = folder.enter()
    tops = folder.inner_folders.get("", [])
    parents = [top for top in tops if get_subset(top)] if has_subset_folders(folder) else [""]
    return [id for parent in parents for id in folder.inner_folders.get(parent, []) if id not in folder.filled]


def find_unused_folders(folder: ImageFolder) -> list[str]:
    """List the folders of images beside train and test in a divided set: their images are not in the set."""
    folder = folder.enter()
    if not has_subset_folders(folder):
        return []
    copies = find_copies(folder.ids)
    tops = folder.inner_folders[""]
    return [top for top in tops if top in folder.filled and not get_subset(top) and top not in copies]
