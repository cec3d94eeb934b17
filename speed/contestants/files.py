"""The training images as files, opened and transformed one by one: what a DataLoader of the peers reads."""

from collections.abc import Callable

from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from lowres_ssl.data.prepare import PreparedData


class Files(Dataset[list[Tensor]]):
    """`length` items; beyond the number of files they come round again. An item is what `transform` makes of a file."""

    def __init__(self, material: PreparedData, transform: Callable[[Image.Image], list[Tensor]]) -> None:
        self.paths = [material.catalogue.records[row].path for row in material.split.train]
        self.transform = transform
        self.length = len(self.paths)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, item: int) -> list[Tensor]:
        with Image.open(self.paths[item % len(self.paths)]) as image:
            return self.transform(image.convert("RGB"))
