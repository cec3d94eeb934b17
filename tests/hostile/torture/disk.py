"""Disks of their own for one command: too small, or read-only. Linux only, and only for root: mounts in a namespace."""

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

from killed import typed

NEW_MOUNTS = 0x00020000  # CLONE_NEWNS of sched.h


def may_mount() -> bool:
    """Whether this machine lets us."""
    tried = ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/tmp"]
    return (
        shutil.which("unshare") is not None and subprocess.run(tried, capture_output=True, check=False).returncode == 0
    )


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def code_of(folder: Path, arguments: list[str]) -> int:
    """As `killed.type_it`, in this process."""
    from hydra.core.global_hydra import GlobalHydra

    try:
        typed(folder, arguments, None)
    except SystemExit as stopped:
        return int(stopped.code or 0)
    finally:
        GlobalHydra.instance().clear()
    return 0


def on_small_disk(folder: Path, arguments: list[str], sizes: list[str]) -> None:
    """In a child process: the command once for each size of the disk that `outputs` is on; exit codes in `codes.txt`,
    and in the end what is on it in `outputs` on the real disk."""
    assert ctypes.CDLL(None, use_errno=True).unshare(NEW_MOUNTS) == 0
    mount("--make-rprivate", "/")
    small = folder / "small"
    small.mkdir()
    mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small))
    for size in sizes:
        mount("-o", f"remount,size={size}", str(small))
        code = code_of(folder, [*arguments, "output_dir=small", "store_dir=stores"])
        there = sorted(path.name for path in small.rglob("*") if path.is_file())
        with (folder / "codes.txt").open("a") as file:
            file.write(f"{code} {' '.join(there)}\n")
    os.chdir(folder)
    shutil.copytree(small, "outputs")


def on_read_only_data(folder: Path, arguments: list[str]) -> None:
    """In a child process: the command with `data` read-only. It ends with the command's exit code."""
    assert ctypes.CDLL(None, use_errno=True).unshare(NEW_MOUNTS) == 0
    mount("--make-rprivate", "/")
    mount("--bind", str(folder / "data"), str(folder / "data"))
    mount("-o", "remount,bind,ro", str(folder / "data"))
    try:
        (folder / "data" / "folder" / "new").touch()
    except OSError:
        typed(folder, arguments, None)
    else:
        raise AssertionError("the folder can be written to")
