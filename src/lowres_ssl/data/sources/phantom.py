"""The phantom: our own synthetic tissue, drawn by `data/phantom.py` when it is first needed."""

import re
from pathlib import Path
from typing import ClassVar

from lowres_ssl.data.phantom import generate
from lowres_ssl.data.sources import Listing, Source, images_below, resolve_root
from lowres_ssl.files.leases import held

NAME = re.compile(r"(?P<patient>patient-\d+)_\d+\.png")


class Phantom(Source):
    """All images; the group is the synthetic patient, who has images in every class."""

    layout: ClassVar[str] = "nothing: it draws itself into a folder that is not there yet"

    def prepare(self, root: Path) -> None:
        """Draw the set, in a few seconds, unless `root` is there."""
        if not root.exists():
            with held(root, "phantom images"):
                if not root.exists():  # another process may have drawn them while this one waited
                    generate(root)

    def listings(self, root: Path) -> list[Listing]:
        return [
            Listing(path=path, id=id, label=id.split("/")[0], group=match["patient"], side=None)
            for path, id in images_below(resolve_root(root))
            if (match := NAME.fullmatch(path.name)) and id.count("/") == 1
        ]
