"""Folders that appear whole or not at all: filled beside their place, renamed."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lowres_ssl.files.atomic import sync_folder
from lowres_ssl.files.leftovers import new_folder

ATTEMPTS = 100  # each lost one means that another process has put its folder there


@contextmanager
def replacing_folder(target: Path) -> Iterator[Path]:
    """An empty folder to fill; it becomes `target`, in place of what is there, when the block ends without an error,
    and leaves nothing otherwise. Of several at once the last one stays. Raises `OSError`.
    """
    target = Path(os.path.realpath(target))  # a link to a folder stays a link
    target.parent.mkdir(parents=True, exist_ok=True)
    with new_folder(target) as temporary:
        yield temporary
        temporary.chmod(0o755)
        settle(temporary, target)
    sync_folder(target.parent)


def settle(temporary: Path, target: Path) -> None:
    for attempt in range(ATTEMPTS):
        try:
            temporary.rename(target)
            return
        except OSError as error:  # a folder with something in it is not replaced by a rename
            if attempt == ATTEMPTS - 1 or error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        with new_folder(target) as aside:
            try:
                target.rename(aside / "old")
            except FileNotFoundError:  # another process was faster
                continue
