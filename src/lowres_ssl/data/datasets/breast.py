"""Read BreaKHis: breast tumours under the microscope. The file name holds everything; the folders may be any."""

import re
from typing import ClassVar

from lowres_ssl.data.datasets import Listing, Source, get_subset, keep_outermost
from lowres_ssl.data.image_folder import ImageFolder
from lowres_ssl.errors import ConfigError, DataError

BREAST_FILE_NAME = re.compile(
    r"SOB_(?P<class>[BM])_(?P<type>[A-Z]+)[-_](?P<year>\d+)-(?P<slide>\d+)(?P<letters>[A-Z]*)"
    r"-(?P<magnification>\d+)-(?P<number>\d+)\.[A-Z]+",
    re.IGNORECASE,
)
BREAST_CLASSES = {"B": "benign", "M": "malignant"}
MAGNIFICATIONS = (40, 100, 200, 400)


class BreastReader(Source):
    """Read the images of one magnification. The group is the slide, which is the patient: year and digits ("14-22549").

    Letters after the digits (22549AB, 22549CD) mark parts of one case. Slide 14-13412 is filed under two tumour types
    with names of its own in each: both are kept, as one group. One name in two folders is one image.
    """

    layout: ClassVar[str] = "BreaKHis file names such as SOB_B_A-14-22549AB-400-001.png, in any folders"

    def __init__(self, magnification: int = 400) -> None:
        if magnification not in MAGNIFICATIONS:
            wanted = ", ".join(map(str, MAGNIFICATIONS))
            raise ConfigError(f"dataset.options.magnification={magnification}: wanted one of {wanted}")
        self.magnification = magnification

    def listings(self, folder: ImageFolder) -> list[Listing]:
        """Raises `DataError` if there are images, but none of this magnification with a BreaKHis name."""
        images = folder.enter().images
        named = [(path, id, match) for path, id in images if (match := BREAST_FILE_NAME.fullmatch(path.name))]
        if images and not named:
            raise DataError(f"{folder.root}: no BreaKHis image: got names like {images[0][1]}, wanted {self.layout}")
        found = [
            Listing(
                path=path,
                id=id,
                label=BREAST_CLASSES[match["class"].upper()],
                group=f"{match['year']}-{match['slide']}",
                subset=next(filter(None, map(get_subset, id.split("/")[:-1])), None),
            )
            for path, id, match in named
            if int(match["magnification"]) == self.magnification
        ]
        if named and not found:
            got = ", ".join(sorted({match["magnification"] for _, _, match in named}, key=int))
            raise DataError(
                f"{folder.root}: no image at {self.magnification}x, got {got}; "
                "choose with dataset.options.magnification=NUMBER"
            )
        return keep_outermost(found, key="name")
