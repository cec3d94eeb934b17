"""Download a set's archive, or take the user's own copy, and unpack it into the folder of the set."""

import os
import sys
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import pooch

from lowres_ssl.config.experiment_schema import DatasetConfig
from lowres_ssl.console import is_quiet, is_terminal, log_info
from lowres_ssl.data.archives import unpack_archive
from lowres_ssl.data.datasets import build_source
from lowres_ssl.data.image_folder import is_junk
from lowres_ssl.errors import DataError
from lowres_ssl.io.atomic import make_temp_folder, replacing_folder
from lowres_ssl.io.locks import lock

DOWNLOAD_TIMEOUT = 30  # seconds without a byte


def is_folder_filled(root: Path) -> bool:
    """Whether `root` is a folder with anything in it but what operating systems leave behind."""
    return root.is_dir() and any(not is_junk(entry.name) for entry in root.iterdir())


def fetch_dataset(dataset: DatasetConfig) -> None:
    """Unpack `dataset.archive`, or the download from `dataset.url`, into `dataset.root`, whole or not at all.

    Does nothing if the root is filled already. `sha256` is checked for a download and for an archive. A downloaded
    archive is removed once it is unpacked. Raises `DataError`, with the command to type, for a missing address,
    network or file, a wrong checksum, a broken or an unsafe archive.
    """
    name, root, archive = dataset.name, Path(dataset.root), Path(dataset.archive) if dataset.archive else None
    build_source(dataset.source, dataset.options).prepare(root)
    if is_folder_filled(root):
        return
    if root.exists() and not root.is_dir():
        raise DataError(
            f"{root}: is a file, wanted a folder to unpack {name} into; name another with dataset.root=FOLDER"
        )
    if archive is None and dataset.url is None:
        raise DataError(f"{dataset.title} cannot be downloaded by a program. {describe_source(dataset)}")
    try:
        with lock(root, f"images of {name}"):
            if is_folder_filled(root):  # another process may have unpacked it while this one waited
                return
            with replacing_folder(root) as folder, make_temp_folder(folder.with_name(f"{name}-archive")) as beside:
                if archive is None:
                    archive = download_archive(dataset, beside)
                else:
                    check_archive(archive, dataset.sha256)
                unpack_archive(archive, folder)
                if not is_folder_filled(folder):
                    raise DataError(f"{archive}: an empty archive, wanted the images of {name}; {dataset.instructions}")
                # A power cut must not leave the renamed folder with half its files. One call for all of them: to sync
                # each file takes 2 ms a file.
                os.sync()
    except OSError as error:
        raise DataError(
            f"{root}: {name} could not be put there ({error.strerror or error}); "
            "name another place with dataset.root=FOLDER"
        ) from error


def describe_source(dataset: DatasetConfig, choice: str | None = None) -> str:
    """Describe in one or two sentences where a set comes from, with the command. `choice`: the name of its config,
    where that is not the set's."""
    typed = f"lowres-ssl data dataset={choice or dataset.name} fetch=true"
    sentence = f"{dataset.instructions.rstrip('.')}."
    if dataset.url:
        return f"Type: {typed}. By hand: {sentence}"
    if not dataset.expected:  # only published sets have archives
        return sentence
    return f"{sentence} Then: {typed} dataset.archive=PATH"


def check_archive(archive: Path, sha256: str | None) -> None:
    """Raise `DataError` for a missing archive, or another one than `sha256` is of."""
    if not archive.is_file():
        raise DataError(f"dataset.archive={archive}: no such file; wanted the archive as it was downloaded")
    if sha256 is not None and (got := pooch.file_hash(str(archive), alg="sha256")) != sha256:
        raise DataError(f"dataset.archive={archive}: got sha256 {got}, wanted {sha256}; download it again")


def download_archive(dataset: DatasetConfig, folder: Path) -> Path:
    """Download the set's archive into `folder`. Raises `DataError`, which ends with how to get it by hand."""
    url, sha256 = str(dataset.url), dataset.sha256
    command = f"lowres-ssl data dataset={dataset.name} fetch=true dataset.archive=PATH"
    by_hand = f"by hand: {dataset.instructions}; then: {command}"
    pooch.get_logger().setLevel("ERROR")  # it would report every step
    bar = is_terminal(sys.stderr) and not is_quiet()
    if not bar:
        log_info(f"Downloading {url}")
    try:
        got = pooch.retrieve(
            url=url,
            known_hash=f"sha256:{sha256}" if sha256 else None,
            fname=PurePosixPath(unquote(urlsplit(url).path)).name or "archive",
            path=folder,
            downloader=pooch.HTTPDownloader(progressbar=bar, timeout=DOWNLOAD_TIMEOUT),
        )
    except OSError as error:  # the class of all errors of requests
        # The server's own words start with a number; other errors hold names of Python objects.
        reason = str(error).partition(" for url")[0]
        if not reason[:3].isdigit():
            reason = error.strerror or "no connection, or no answer in time"
        raise DataError(f"{url}: could not be downloaded ({reason}); {by_hand}") from error
    except ValueError as error:  # raised by pooch for a wrong checksum
        raise DataError(f"{url}: not the file that was published, wanted sha256 {sha256}; {by_hand}") from error
    return Path(got)
