"""Getting a set's archive, from its address or from the user's disk, and unpacking it into the folder of the set."""

import os
import sys
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import pooch

from lowres_ssl.console import DownloadProgress, is_quiet, is_terminal, log_info
from lowres_ssl.data.archives import unpack_archive
from lowres_ssl.data.datasets import is_junk
from lowres_ssl.errors import DataError
from lowres_ssl.io.atomic import make_temp_folder, replacing_folder
from lowres_ssl.io.locks import lock

DOWNLOAD_TIMEOUT = 30  # seconds without a byte


def is_folder_filled(root: Path) -> bool:
    """Whether `root` is a folder with anything in it but what operating systems leave behind."""
    return root.is_dir() and any(not is_junk(entry.name) for entry in root.iterdir())


def fetch_archive(
    *,
    name: str,
    url: str | None,
    sha256: str | None,
    archive: Path | None,
    root: Path,
    instructions: str,
    progress: bool = True,
) -> Path:
    """Unpack `archive`, or what `url` gives, into `root`, which appears whole or not at all. Returns `root`.

    Does nothing if `root` is there already (see `is_there`). `sha256` is checked for a download and for an `archive`.
    A downloaded archive is removed once it is unpacked. Raises `DataError`, with the command to type, where there is no
    address, no network, no such file, a wrong checksum, a broken or an unsafe archive.
    """
    if is_folder_filled(root):
        return root
    if root.exists() and not root.is_dir():
        raise DataError(
            f"{root}: is a file, wanted a folder to unpack {name} into; name another with dataset.root=FOLDER"
        )
    by_hand = f"lowres-ssl data dataset={name} fetch=true dataset.archive=PATH"
    if archive is None and url is None:
        raise DataError(f"{name} cannot be downloaded by a program. {instructions} Then type: {by_hand}")
    try:
        with lock(root, f"images of {name}"):
            if is_folder_filled(root):  # another process may have put it there while this one waited
                return root
            with replacing_folder(root) as folder:
                if archive is not None:
                    check_archive_digest(archive, sha256)
                    unpack_archive(archive, folder)
                elif url is not None:
                    with make_temp_folder(folder.with_name(f"{name}-archive")) as beside:
                        unpack_archive(
                            download_archive(url, sha256, beside, f"{instructions}; then: {by_hand}", progress), folder
                        )
                if not is_folder_filled(folder):
                    raise DataError(f"{archive or url}: an empty archive, wanted the images of {name}; {instructions}")
                # No power cut may leave the folder in its place and the files in it half. One call for all of them: to
                # sync each was measured to take 2 ms a file.
                os.sync()
    except OSError as error:
        raise DataError(
            f"{root}: {name} could not be put there ({error.strerror or error}); "
            "name another place with dataset.root=FOLDER"
        ) from error
    return root


def check_archive_digest(archive: Path, sha256: str | None) -> None:
    if not archive.is_file():
        raise DataError(f"dataset.archive={archive}: no such file; wanted the archive as it was downloaded")
    if sha256 is not None and (got := pooch.file_hash(str(archive), alg="sha256")) != sha256:
        raise DataError(f"dataset.archive={archive}: got sha256 {got}, wanted {sha256}; download it again")


def download_archive(url: str, sha256: str | None, folder: Path, otherwise: str, progress: bool) -> Path:
    """The file at `url`, in `folder`. Raises `DataError`, which ends with `otherwise`."""
    pooch.get_logger().setLevel("ERROR")  # it would report every step
    file_name = PurePosixPath(unquote(urlsplit(url).path)).name or "archive"
    bar: bool | DownloadProgress = progress and is_terminal(sys.stderr) and not is_quiet()
    if progress and not bar:
        log_info(f"Downloading {url}")
        bar = DownloadProgress(file_name)
    try:
        got = pooch.retrieve(
            url=url,
            known_hash=f"sha256:{sha256}" if sha256 else None,
            fname=file_name,
            path=folder,
            downloader=pooch.HTTPDownloader(progressbar=bar, timeout=DOWNLOAD_TIMEOUT),
        )
    except OSError as error:  # whatever requests raises is one of these
        raise DataError(
            f"{url}: could not be downloaded ({format_download_error(error)}); by hand: {otherwise}"
        ) from error
    except ValueError as error:  # pooch's word for a wrong checksum
        raise DataError(
            f"{url}: not the file that was published, wanted sha256 {sha256}; by hand: {otherwise}"
        ) from error
    return Path(got)


def format_download_error(error: OSError) -> str:
    """What went wrong: the server's own word, which starts with a number, not the names of Python objects."""
    said = str(error).partition(" for url")[0]
    return said if said[:3].isdigit() else error.strerror or "no connection, or no answer in time"
