"""Read Kermany's chest X-rays of children: `{train,val,test}/{NORMAL,PNEUMONIA}`, or the two class folders alone."""

import re
from typing import ClassVar

from lowres_ssl.data.datasets import Listing, Source, get_subset, keep_outermost
from lowres_ssl.data.image_folder import ImageFolder

PNEUMONIA_CLASSES = frozenset({"NORMAL", "PNEUMONIA"})
PNEUMONIA_FILE_NAMES = (
    re.compile(r"(?P<patient>person\d+)_(?:bacteria|virus)_\d+(?:_\d+)*\.[A-Z]+", re.IGNORECASE),
    re.compile(r"(?P<patient>(?:NORMAL2-)?IM-\d+)-\d+(?:-\d+)*\.[A-Z]+", re.IGNORECASE),
    re.compile(r"(?:NORMAL|BACTERIA|VIRUS)-(?P<patient>\d+)-\d+\.[A-Z]+", re.IGNORECASE),  # version 3 of the archive
)


class PneumoniaReader(Source):
    """Read all X-rays. The group is the patient in the name, kept apart by class: "PNEUMONIA/person12",
    "NORMAL/IM-0115", and "NORMAL/NORMAL2-IM-0115", which counts as another numbering. `person12_bacteria` and
    `person12_virus` count as one patient: if they are two, a patient split only keeps more together than it must.

    The published numbering may restart in the test folder: a patient in both subsets is possible, not certain.
    The id starts at the subset's folder: a copy of the tree inside the tree (`chest_xray/chest_xray`) is the same.
    """

    layout: ClassVar[str] = "train and test folders (val, too, if there is one), each with NORMAL and PNEUMONIA"
    numbering_may_restart: ClassVar[bool] = True

    def listings(self, folder: ImageFolder) -> list[Listing]:
        found = []
        for path, id in folder.enter().images:
            *folders, name = id.split("/")
            depth = next((depth for depth, own in enumerate(folders) if own.upper() in PNEUMONIA_CLASSES), None)
            if depth is None:
                continue
            label = folders[depth].upper()
            subset = get_subset(folders[depth - 1]) if depth else None
            match = next(filter(None, (pattern.fullmatch(name) for pattern in PNEUMONIA_FILE_NAMES)), None)
            short = "/".join([*folders[depth - 1 if subset else depth :], name])
            found.append(Listing(path, short, label, f"{label}/{match['patient']}" if match else None, subset))
        return keep_outermost(found)
