"""Write Weights & Biases runs below the outputs; send them only with `tracker.mode=online`.

What the library records by itself (host, user, command line, git remote, packages, code, output) is switched off.
"""

import os
import shlex
import shutil
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from lowres_ssl.errors import ConfigError
from lowres_ssl.tracking import Pixels, TrackedRun, Tracker

CONNECT_TIMEOUT_SECONDS = 30
FINISH_TIMEOUT_SECONDS = 45


class WandbTracker(Tracker):
    """mode: offline (a folder that `wandb sync` sends when you choose) | online. entity: whose account; None for the
    default one. images: whether it receives views of training images.

    Nothing can be added to an offline run, and `wandb sync` replaces what was sent. So a resumed run is written anew,
    with its whole history. Online it goes on where it was.
    """

    module = "wandb"

    def __init__(self, *, mode: Literal["offline", "online"], project: str, entity: str | None, images: bool) -> None:
        self.mode, self.project, self.entity, self.images = mode, project, entity, images
        self.library: Any = None
        self.run: Any = None
        self.place = Path()

    def begin(self, run: TrackedRun) -> tuple[str, int]:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # what fails in it is not reported to its makers
        os.environ.setdefault("WANDB_SILENT", "true")
        os.environ.setdefault("WANDB_CACHE_DIR", str(run.folder.resolve() / "cache"))
        self.library = import_module("wandb")
        # Else it would ask for a key, in the middle of the progress.
        if self.mode == "online" and not self.library.login(prompt=False, verify=False):
            raise ConfigError("not logged in; type wandb login, or tracker.mode=offline")
        known_as = run.known_as or uuid4().hex[:12]
        if self.mode == "offline":
            for old in run.folder.glob(f"wandb/offline-run-*-{known_as}"):
                shutil.rmtree(old)
        self.place = run.folder / "wandb"
        run.folder.mkdir(parents=True, exist_ok=True)
        self.run = self.library.init(
            id=known_as,
            name=run.name,
            project=self.project,
            entity=self.entity,
            dir=str(run.folder.resolve()),  # its server may stand in another folder
            config=dict(run.settings),
            resume="allow" if self.mode == "online" else None,
            settings=self.library.Settings(
                mode=self.mode,
                silent=True,
                console="off",
                disable_git=True,
                disable_code=True,
                save_code=False,
                host="",
                init_timeout=CONNECT_TIMEOUT_SECONDS,
                finish_timeout=FINISH_TIMEOUT_SECONDS,
                x_disable_meta=True,
                x_disable_stats=True,
                x_disable_machine_info=True,
                x_save_requirements=False,
            ),
        )
        return known_as, max(0, self.run.step - 1) if self.mode == "online" else 0

    def numbers(self, values: Mapping[str, float], epoch: int) -> None:
        self.run.log(dict(values), step=epoch)

    def scores(self, values: Mapping[str, float], epoch: int) -> None:
        self.run.summary.update(dict(values))

    def picture(self, name: str, pixels: Pixels, epoch: int) -> None:
        self.run.log({name: self.library.Image(pixels)}, step=epoch)

    def end(self, finished: bool) -> str:
        where = self.run.url
        if self.mode == "offline":
            folder = shlex.quote(str(self.place / Path(self.run.dir).parent.name))
            where = f"nothing was sent; wandb sync {folder} does it"
        self.run.finish(exit_code=0 if finished else 1)
        return f"Weights & Biases: {where}"
