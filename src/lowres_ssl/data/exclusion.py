"""Leave out of a set what is none of its images: names that the user excludes, and the folders of runs."""

import os
import re
import unicodedata
from collections.abc import Collection, Sequence
from pathlib import Path

OUTPUT_FILES = {"pretrain": "*/run.json", "evaluate": "*/run.json", "stores": "index-*.json"}  # below an output folder
RUN_FILE = re.compile(r"(?:run|store|index-[0-9a-f]{8})\.json")  # in the folder of a run, of images or of indices


def compile_exclude(patterns: Sequence[str]) -> re.Pattern[str] | None:
    """Compile patterns such as `*_mask*` or `normal/masks`, to be searched for in an id: each stands for whole names of
    files and folders, in which `*` is any text and `?` any letter; upper and lower case are the same."""
    parts = [re.escape(unicodedata.normalize("NFC", each).strip("/")) for each in patterns]
    texts = [part.replace(r"\*", "[^/]*").replace(r"\?", "[^/]") for part in parts if part]
    return re.compile(f"(?:^|/)(?:{'|'.join(texts)})(?:/|$)", re.IGNORECASE) if texts else None


def is_run_folder(folder: Path) -> bool:
    """Whether a folder is the output or store folder of runs, or a run's: its pictures are no images of a set."""
    try:
        names = os.listdir(folder)  # noqa: PTH208 - of thousands of folders
    except OSError:  # reported by what lists its images
        return False
    return are_names_of_runs(folder, names)


def are_names_of_runs(folder: Path, names: Collection[str]) -> bool:
    """Whether a folder with files and folders of these names is one of runs."""
    if any(map(RUN_FILE.fullmatch, names)):
        return True
    written = [folder / name for name in OUTPUT_FILES.keys() & set(names)]
    return any(any(each.glob(OUTPUT_FILES[each.name])) for each in written)
