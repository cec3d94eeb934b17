"""Read Kather 2016: tiles of colorectal tissue in eight class folders, `01_TUMOR` to `08_EMPTY`."""

import re
from typing import ClassVar

from lowres_ssl.data.datasets import Listing, Source, keep_outermost
from lowres_ssl.data.image_folder import ImageFolder

CLASS_FOLDER = re.compile(r"\d\d_[A-Z]+", re.IGNORECASE)
TILE_NAME = re.compile(r"[0-9A-F]+_(?P<source>CRC-Prim-HE-\d+\w*)\.tif_Row_\d+_Col_\d+\.[A-Z]+", re.IGNORECASE)


class ColorectalReader(Source):
    """Read all tiles. The group is the source image a tile was cut from ("CRC-Prim-HE-03_009"): patients are not known,
    and the ten slides cannot be divided, since some classes are on two of them. None where a re-upload lost the names.

    The id starts at the class folder, so that it is the same however deep a re-upload has put it.
    """

    layout: ClassVar[str] = "the class folders 01_TUMOR ... 08_EMPTY, at any depth"

    def listings(self, folder: ImageFolder) -> list[Listing]:
        found = []
        for path, id in folder.enter().images:
            *folders, name = id.split("/")
            depth = next((depth for depth, own in enumerate(folders) if CLASS_FOLDER.fullmatch(own)), None)
            if depth is not None:
                tile = TILE_NAME.fullmatch(name)
                group = tile["source"] if tile else None
                found.append(Listing(path, "/".join([*folders[depth:], name]), folders[depth].upper(), group, None))
        return keep_outermost(found)
