"""Completion: what is offered, and that real shells take it."""

import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lowres_ssl.cli.main import COMMANDS

NAMES = list(COMMANDS)
CASES = [
    ("lowres-ssl pre", {"pretrain", "predict"}),
    ("lowres-ssl --quiet pretrain device=", {"device=auto", "device=cuda", "device=cpu"}),
    ("lowres-ssl pretrain force=", {"force=true", "force=false"}),
    ("lowres-ssl pretrain method=si", {"method=simclr", "method=simsiam"}),
    ("lowres-ssl pretrain -m method=simclr,vi", {"method=simclr,vicreg"}),
    ("lowres-ssl pretrain probe=[knn,lo", {"probe=[knn,logistic"}),
    ("lowres-ssl pretrain tracker=tensorboard tracker.", {"tracker.images=", "tracker.name="}),
    ("lowres-ssl pretrain label_fr", {"label_fraction="}),
    ("lowres-ssl pretrain label_fraction=", set()),
    (
        "lowres-ssl pretrain views.rotation_padding=",
        {"views.rotation_padding=zeros", "views.rotation_padding=reflection"},
    ),
    ("lowres-ssl pretrain tabl", {"table_1."}),  # not the group of `tables`
    ("lowres-ssl tables datas", {"dataset="}),
    ("lowres-ssl tables dataset=br", {"dataset=breast"}),
    ("lowres-ssl pretrain --mul", {"--multirun"}),
    ("lowres-ssl pretrain --cfg ", {"job", "hydra", "all"}),
    ("lowres-ssl nonsense ", set()),
    ("lowres-ssl init im", {"images/", "images="}),
    ("lowres-ssl init od", {"odd place/"}),
    ("lowres-ssl data im", {"image_size=", "images.", "images="}),  # it takes no folder
    ("lowres-ssl pretrain dataset.root=images/", {"dataset.root=images/a.png", "dataset.root=images/deep/"}),
    ("lowres-ssl pretrain dataset.root=odd", {"dataset.root=odd place/"}),
    (r"lowres-ssl pretrain dataset.root=odd\ place/", {"dataset.root=odd place/$(touch made)/"}),
    ("lowres-ssl pretrain dataset.root='odd place/", set()),  # in a quote that is open nothing is offered
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a few files, and the program as it is installed, below `bin`."""
    folder = tmp_path_factory.mktemp("typed")
    (folder / "images" / "deep").mkdir(parents=True)
    (folder / "images" / "a.png").touch()
    (folder / "images" / ".hidden").touch()
    (folder / "odd place" / "$(touch made)").mkdir(parents=True)
    (folder / "odd place" / "two\nlines").touch()
    program = folder / "bin" / "lowres-ssl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m lowres_ssl "$@"\n')
    program.chmod(0o755)
    return folder


def environment(place: Path) -> dict[str, str]:
    home = {"HOME": str(place), "TERM": "xterm", "PS1": "> "}
    return os.environ | home | {"PATH": f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}"}


def test_words_are_completed_by_what_the_command_takes(place: Path) -> None:
    """All cases in one process, as the shells ask for them."""
    program = f"""
import json
from hydra.core.global_hydra import GlobalHydra
from lowres_ssl.cli.completion import complete_line, make_hydra_completer
from lowres_ssl.cli.main import compose_and_run
for line in {[line for line, _ in CASES]!r}:
    GlobalHydra.instance().clear()
    print(json.dumps(complete_line(line, {NAMES!r}, make_hydra_completer(compose_and_run))))
"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=place)
    for (line, wanted), found in zip(CASES, answer.stdout.splitlines(), strict=True):
        assert set(json.loads(found)) >= wanted if "tracker." in line else set(json.loads(found)) == wanted, line


def needs(shell: str) -> str:
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"no {shell} here")
    return found


def plain(shown: str) -> str:
    """Without what moves the cursor or sets a colour."""
    return re.sub("\x1b\\[[0-9;?]*[a-zA-Z]|.\x08", "", shown)


def typed(shell: list[str], place: Path, setup: str, line: str, wanted: str) -> str:
    """What an interactive shell shows after `line` and a tab, until `wanted` is in it or it has had its time."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(place)
        os.execve(shell[0], shell, environment(place))
    shown = ""

    def read(until: str, seconds: float) -> str:
        nonlocal shown
        end = time.monotonic() + seconds
        while until not in plain(shown) and time.monotonic() < end:
            if select.select([terminal], [], [], 0.1)[0]:
                try:
                    shown += os.read(terminal, 4096).decode(errors="replace")
                except OSError:
                    break
        return plain(shown)

    try:
        os.write(terminal, f"{setup}; echo rea''dy\n".encode())
        read("ready", 20)
        shown = ""
        os.write(terminal, f"{line}\t".encode())
        return read(wanted, 20)
    finally:
        os.close(terminal)
        os.kill(pid, 9)
        os.waitpid(pid, 0)


BASH = "bind 'set enable-bracketed-paste off'; source <(lowres-ssl --completion-script bash)"
ZSH = "unsetopt zle_bracketed_paste; autoload -U compinit; compinit -u; source <(lowres-ssl --completion-script zsh)"


@pytest.mark.parametrize(
    ("setup", "line", "wanted"),
    [
        (BASH, "lowres-ssl pretrain method=vic", "method=vicreg "),
        (f"COMP_WORDBREAKS=${{COMP_WORDBREAKS//=}}; {BASH}", "lowres-ssl pretrain method=vic", "method=vicreg "),
        (BASH, "lowres-ssl pretrain dataset.root=ima", "dataset.root=images/"),
        (BASH, r"lowres-ssl pretrain dataset.root=odd\ place/", r"dataset.root=odd\ place/\$\(touch\ made\)/"),
        (ZSH, "lowres-ssl pretrain method=vic", "vicreg "),
        (ZSH, "lowres-ssl pretrain batch_s", "batch_size="),
    ],
)
def test_shell_completes_what_was_typed_and_quotes_what_it_would_run(
    place: Path, setup: str, line: str, wanted: str
) -> None:
    shell = [needs("zsh"), "-f", "-i"] if setup == ZSH else [needs("bash"), "--norc", "--noprofile", "-i"]
    assert wanted in typed(shell, place, setup, line, wanted)
    assert not (place / "made").exists()


@pytest.mark.parametrize(("line", "wanted"), CASES[1:5])
def test_fish_completes_what_was_typed(place: Path, line: str, wanted: set[str]) -> None:
    fish = needs("fish")
    script = f"lowres-ssl --completion-script fish | source; complete -C '{line}'"
    answer = subprocess.run(
        [fish, "--no-config", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env=environment(place),
        cwd=place,
    )
    assert {each.partition("\t")[0] for each in answer.stdout.splitlines()} == wanted
