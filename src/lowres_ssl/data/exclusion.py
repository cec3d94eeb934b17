"""Leave out of a set what is none of its images: names that the user excludes, and the folders of runs."""

import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

# What a command writes into an output, store or run folder, and what shows that it did.
RUN_FILES = {
    **dict.fromkeys(("run.json", "store.json"), ""),
    **dict.fromkeys(("pretrain", "evaluate"), "*/run.json"),
    "stores": "index-*.json",
}


def compile_exclude(patterns: Sequence[str]) -> re.Pattern[str] | None:
    """Compile patterns such as `*_mask*` or `normal/masks`, to be searched for in an id: each stands for whole names of
    files and folders, in which `*` is any text and `?` any letter; upper and lower case are the same."""
    parts = [re.escape(unicodedata.normalize("NFC", each).strip("/")) for each in patterns]
    texts = [part.replace(r"\*", "[^/]*").replace(r"\?", "[^/]") for part in parts if part]
    return re.compile(f"(?:^|/)(?:{'|'.join(texts)})(?:/|$)", re.IGNORECASE) if texts else None


def is_run_folder(folder: Path) -> bool:
    """Whether a folder is the output or store folder of runs, or a run's: its pictures are no images of a set."""
    names = os.listdir(folder)  # noqa: PTH208 - of thousands of folders
    written = [folder / name for name in RUN_FILES.keys() & names]
    return any(not RUN_FILES[each.name] or any(each.glob(RUN_FILES[each.name])) for each in written) or any(
        name.startswith("index-") and name.endswith(".json") for name in names
    )
