"""What the documents show is what the command line says now: the generated reference, and every command composes."""

import re
import shlex
from pathlib import Path

import pytest
from hydra._internal.hydra import Hydra
from typed import Command, take_first_job

from lowres_ssl.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
REFERENCE = ROOT / "docs" / "cli.md"


def test_command_line_reference_is_fresh(lowres_ssl: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    # Hydra reads all configs for each help text; they are the same for all.
    listed: dict[str, list[str]] = {}
    really = Hydra.list_all_config_groups

    def list_once(hydra: Hydra, parent: str = "") -> list[str]:
        if parent not in listed:
            listed[parent] = really(hydra, parent)
        return listed[parent]

    monkeypatch.setattr(Hydra, "list_all_config_groups", list_once)
    sections = re.findall(r"^## `lowres-ssl ([^`]+)`\n\n```text\n(.*?)^```$", REFERENCE.read_text(), re.DOTALL | re.M)
    assert [words for words, _ in sections] == ["--help", *(f"{command} --help" for command in COMMANDS)]
    for words, text in sections:
        assert lowres_ssl(*words.split()).out == text, "docs/cli.md is stale; type: make docs"


def test_commands_shown_compose(lowres_ssl: Command, tmp_path: Path) -> None:
    """Every `lowres-ssl COMMAND key=value ...` of a code block, with `--cfg job` in place of running it."""
    own = tmp_path / "lowres_ssl_conf" / "dataset" / "my_images.yaml"  # as `lowres-ssl init my_images` writes it
    own.parent.mkdir(parents=True)
    own.write_text("defaults: [folder]\n")
    shown = "\n".join(page.read_text().replace("\\\n", " ") for page in PAGES)
    blocks = re.findall(r"```(?:bash|sh|console)\n(.*?)```", shown, re.DOTALL)
    lines = {line.removeprefix("$ ").split("#")[0].strip() for block in blocks for line in block.splitlines()}
    for line in sorted(line for line in lines if re.match(rf"lowres-ssl ({'|'.join(COMMANDS)})\b", line)):
        words = take_first_job(shlex.split(line.split(" > ")[0])[1:])
        answer = lowres_ssl(*words, "--cfg", "job")
        assert answer.code == 0, f"{line}\n{answer.err}"
