"""Run as a program: embed a folder with wide features, and print the most memory that the process had, in MB.

`python peak_memory.py RUN IMAGES [FOLDER]`. With a folder the features are written there, else they are returned.
"""

import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from lowres_ssl import embed
from lowres_ssl.inference.load import load_portable_encoder
from lowres_ssl.runs.run import Run

STATUS = Path("/proc/self/status")
WIDTH, BATCH_SIZE = 32_768, 32  # 128 kB an image, 4 MB a batch


class Wide(nn.Module):
    """In the encoder's place: it takes no memory of its own, so that what is seen is the features'."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((1, 2, 3))[:, None] + torch.linspace(0, 1, WIDTH)


def main(run: str, images: str, *folder: str) -> None:
    encoder = load_portable_encoder(Run(Path(run)), device="cpu", precision="fp32")
    wide = replace(encoder, module=Wide().eval(), width=WIDTH)
    if folder:
        embed(wide, images, batch_size=BATCH_SIZE, folder=folder[0])
    else:
        embed(wide, images, batch_size=BATCH_SIZE)
    print(peak())


def peak() -> int:
    """Of this process in MB. Not by `resource.getrusage`, whose figure is that of whoever started it where that was
    larger."""
    (line,) = (each for each in STATUS.read_text().splitlines() if each.startswith("VmHWM:"))
    return int(line.split()[1]) // 1024


if __name__ == "__main__":
    main(*sys.argv[1:])
