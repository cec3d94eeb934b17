"""Commands as they are typed, in this process: importing PyTorch for each would take longer than the tests."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from typed import SMALL, Answer, Command, paint

from lowres_ssl import cli


@pytest.fixture
def lowres_ssl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    """Type a command in an empty folder: `lowres_ssl("pretrain", "method=vicreg")`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LOWRES_SSL_DATA", raising=False)
    monkeypatch.delenv("LOWRES_SSL_OUTPUTS", raising=False)
    for name in ("FORCE_COLOR", "NO_COLOR", "CI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LOWRES_SSL_QUIET", "")  # so that --quiet is undone
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE)}

    def type_it(*arguments: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["lowres-ssl", *map(str, arguments)])
        capsys.readouterr()
        code: object = 0
        try:
            cli.main()
        except SystemExit as stopped:
            code = stopped.code
        finally:
            GlobalHydra.instance().clear()
        printed = capsys.readouterr()
        return Answer(code if isinstance(code, int) else 1, printed.out, printed.err)

    yield type_it
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    """Two classes of 20 images, as `dataset=folder` takes them."""
    root = tmp_path / "data" / "folder"
    for place, label in enumerate(("dark", "light")):
        for number in range(20):
            paint(root / label / f"p{number // 2}_{number}.png", 80 + 90 * place, seed=100 * place + number)
    return root


@pytest.fixture
def trained(lowres_ssl: Command, cells: Path, tmp_path: Path) -> Path:
    """The folder of a finished SimCLR run on `cells`."""
    answer = lowres_ssl("pretrain", "dataset=folder", *SMALL)
    assert answer.code == 0, answer.err
    (run,) = (tmp_path / "outputs" / "pretrain").glob("folder-simclr-*")
    return run
