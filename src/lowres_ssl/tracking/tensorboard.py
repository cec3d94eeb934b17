"""Write TensorBoard event files below the outputs, one folder a run. Nothing leaves the machine."""

import shlex
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from lowres_ssl.tracking import Pixels, TrackedRun, Tracker


class TensorBoardTracker(Tracker):
    """images: whether the event files hold views of training images.

    Event files cannot be corrected, so a resumed run begins its files anew and receives its whole history again.
    """

    module = "tensorboard"

    def __init__(self, *, images: bool) -> None:
        self.images = images
        self.writer: Any = None
        self.place = ""

    def begin(self, run: TrackedRun) -> tuple[str, int]:
        folder = run.folder / run.name
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        self.place = str(run.folder)
        # A TensorBoard that is open and has read the old files forgets them at this mark.
        self.writer = import_module("torch.utils.tensorboard").SummaryWriter(str(folder), purge_step=0)
        rows = "".join(f"|{key}|{value}|\n" for key, value in run.settings.items())
        self.writer.add_text("settings", f"|key|value|\n|---|---|\n{rows}", 0)
        return run.name, 0

    def numbers(self, values: Mapping[str, float], epoch: int) -> None:
        for key, value in values.items():
            self.writer.add_scalar(key, value, epoch)
        self.writer.flush()

    def scores(self, values: Mapping[str, float], epoch: int) -> None:
        self.numbers(values, epoch)

    def picture(self, name: str, pixels: Pixels, epoch: int) -> None:
        self.writer.add_image(name, pixels, epoch, dataformats="HWC")
        self.writer.flush()

    def end(self, finished: bool) -> str:
        self.writer.close()
        return f"TensorBoard: tensorboard --logdir {shlex.quote(self.place)}"
