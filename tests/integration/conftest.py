"""Commands as they are typed, and a small set with a finished run to type them on."""

import shutil
from pathlib import Path

import pytest
from in_process import type_command
from typed import SMALL, Answer, Command, paint


@pytest.fixture
def lowres_ssl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Type a command in an empty folder: `lowres_ssl("pretrain", "method=vicreg")`."""
    be_in(tmp_path, monkeypatch)

    def type_it(*arguments: str) -> Answer:
        capsys.readouterr()
        code = type_command(*arguments)
        printed = capsys.readouterr()
        return Answer(code, printed.out, printed.err)

    return type_it


def be_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.delenv("LOWRES_SSL_DATA", raising=False)
    monkeypatch.delenv("LOWRES_SSL_OUTPUTS", raising=False)
    for name in ("FORCE_COLOR", "NO_COLOR", "CI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LOWRES_SSL_QUIET", "")  # so that --quiet is undone


def paint_cells(folder: Path) -> Path:
    root = folder / "data" / "folder"
    for place, label in enumerate(("dark", "light")):
        for number in range(20):
            paint(root / label / f"p{number // 2}_{number}.png", 80 + 90 * place, seed=100 * place + number)
    return root


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    """Two classes of 20 images, as `dataset=folder` takes them."""
    there = tmp_path / "data" / "folder"  # with `trained`
    return there if there.exists() else paint_cells(tmp_path)


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the images of `cells` and a finished SimCLR run on them; for `trained`, which copies it."""
    folder = tmp_path_factory.mktemp("trained")
    paint_cells(folder)
    with pytest.MonkeyPatch.context() as monkeypatch:
        be_in(folder, monkeypatch)
        assert type_command("pretrain", "dataset=folder", *SMALL, "picture=true") == 0
    return folder


@pytest.fixture
def trained(lowres_ssl: Command, trained_once: Path, tmp_path: Path) -> Path:
    """The folder of a finished SimCLR run on `cells`, in a copy of the test's own."""
    shutil.copytree(trained_once, tmp_path, dirs_exist_ok=True)
    (run,) = (tmp_path / "outputs" / "pretrain").glob("folder-simclr-*")
    return run
