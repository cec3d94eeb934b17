"""Commands as they are typed, in several processes at once, with a note of what each of them computed.

No code of the package knows of this: what is called is wrapped in the process that calls it. The processes are forked
from one that has imported PyTorch already.
"""

import importlib
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from killed import processes as forked

# What is to be done once: where it is called from, its name, and what tells one such piece of work from another.
WORK: dict[str, tuple[str, str, Callable[..., object]]] = {
    "download": ("lowres_ssl.data.download", "download_archive", lambda dataset, _folder: dataset.url),
    "unpacking": ("lowres_ssl.data.download", "unpack_archive", lambda _archive, folder: folder.parent),
    "index": ("lowres_ssl.data.image_metadata", "write_record", lambda path, *_: path.name),
    "store": ("lowres_ssl.data.image_store", "build_image_store", lambda _catalogue, folder, *_: folder.name),
    "training": ("lowres_ssl.experiment.train_run", "train_encoder", lambda _plan, _material, run, *_: run.name),
    "features": ("lowres_ssl.evaluate.features", "store_features", lambda path, *_: path.parent.name),
    "result": (
        "lowres_ssl.evaluate.evaluate",
        "write_result",
        lambda folder, *_: f"{folder.parent.name}/{folder.name}",
    ),
    "picture": ("lowres_ssl.reporting.figures.tsne", "draw_tsne", lambda path, *_: path.parent.name),
}


def at_once(folder: Path, processes: Sequence[Sequence[Sequence[str]]]) -> tuple[list[list[int]], Counter[str]]:
    """Each process types its commands, one after the other, in `folder`.

    The exit codes of each process's commands, and how often each piece of work was done by any process ("store
    folder-20px-1234abcd"). What process 3 said is in `said-3.txt`.
    """
    context = forked()
    children = [
        context.Process(target=type_them, args=(folder, number, commands)) for number, commands in enumerate(processes)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join()
    codes = [
        [int(code) for code in (folder / f"codes-{number}.txt").read_text().split()] for number in range(len(processes))
    ]
    done = (folder / "done.txt").read_text().splitlines() if (folder / "done.txt").exists() else []
    return codes, Counter(done)


def type_them(folder: Path, number: int, commands: Sequence[Sequence[str]]) -> None:
    """What a child process does."""
    from hydra.core.global_hydra import GlobalHydra

    os.chdir(folder)
    with Path(f"said-{number}.txt").open("a") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    importlib.import_module("torch").set_num_threads(1)
    for kind, (module, name, key) in WORK.items():
        note(importlib.import_module(module), name, kind, key)
    codes = []
    for command in commands:
        sys.argv = ["lowres-ssl", *command]
        code: object = 0
        try:
            importlib.import_module("lowres_ssl.cli.main").main()
        except SystemExit as stopped:
            code = stopped.code
        GlobalHydra.instance().clear()
        codes.append(str(code))
    Path(f"codes-{number}.txt").write_text(" ".join(codes))


def note(module: Any, name: str, kind: str, key: Callable[..., object]) -> None:
    """Wrap it: each call adds a line to `done.txt`, in one piece whoever else is writing."""
    really = getattr(module, name)

    def noted(*arguments: Any, **named: Any) -> Any:
        descriptor = os.open("done.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.write(descriptor, f"{kind} {key(*arguments, **named)}\n".encode())
        os.close(descriptor)
        return really(*arguments, **named)

    with suppress(AttributeError):
        noted.__name__ = name
    setattr(module, name, noted)
