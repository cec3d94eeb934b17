"""What the documents promise: links lead somewhere, every page is in the navigation, versions are those of the code."""

import ast
import io
import os
import re
import shutil
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest
from test_package_order import ORDER

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
BIN = Path(sys.executable).parent
# Names of torchvision, of browsers, of files and of a column, which the code does not hold as they are.
EXTERNAL_NAMES = {"resized_crop", "gaussian_blur", "textContent", "__MACOSX", "DS_Store", "probability_CLASS"}
EXTERNAL_NAMES |= {"person12_bacteria", "person12_virus", "patient_12", "DICOMDIR"}
EXTERNAL_NAMES |= {"TestSet", "class_id", "train_labels", "train_set"}


def test_no_command_waits_for_a_value_that_nobody_is_told_of() -> None:
    """The reference shows the config of each as it is composed: `???` is a key of the schema that no file sets."""
    assert "???" not in (ROOT / "docs" / "cli.md").read_text()


def test_packages_are_listed_in_their_order() -> None:
    listed = re.findall(r"^\| `(\w+)(?:/|\.py)` \|", (ROOT / "docs" / "structure.md").read_text(), re.MULTILINE)
    assert listed == [name for name in ORDER if not name.startswith("_")]


def test_examples_of_the_code_structure_fit_the_code() -> None:
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "structure.md").read_text(), re.DOTALL):
        exec(compile(block, "structure.md", "exec"), {})


def test_names_in_docstrings_are_of_the_code() -> None:
    """Those in backticks with an underscore or a capital inside."""
    named, known = set(), set(EXTERNAL_NAMES)
    for path in (ROOT / "src").rglob("*.py"):
        text = path.read_text()
        known.add(path.stem)
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type in (tokenize.NAME, tokenize.STRING) and not token.string.startswith('"""'):
                known.update(re.findall(r"\w+", token.string))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                for shown in re.findall(r"`([A-Za-z_.][\w.]*)(?:\([^`]*\))?`", ast.get_docstring(node) or ""):
                    named |= {(path.name, name) for name in shown.split(".") if re.search(r"_|[A-Z]", name[1:])}
    for path in (ROOT / "conf").rglob("*.yaml"):
        known.update(re.findall(r"\w+", path.read_text()))
    assert sorted((file, name) for file, name in named if name not in known) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_that_are_there(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_tests_that_are_named_are_there(page: Path) -> None:
    named = re.findall(r"\btests/[\w/.-]*\w", page.read_text())
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text().partition("\nnav:")[2]
    listed = sorted(re.findall(r"[\w/.-]+\.md", navigation))
    assert listed == sorted(str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md"))


@pytest.mark.slow
def test_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    zensical = BIN / "zensical"
    if not zensical.exists():
        pytest.skip("needs the extra [docs]")
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    build = [zensical, "build", "--strict", "--config-file", tmp_path / "mkdocs.yml"]
    answer = subprocess.run(build, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    pages = list((tmp_path / "build" / "site").rglob("*.html"))
    assert len(pages) > len(list((tmp_path / "docs").rglob("*.md")))
    loaded = {
        place for page in pages for place in re.findall(r'(?:src|stylesheet" href)="(https?://[^"]+)', page.read_text())
    }
    assert not loaded


def test_scripts_are_sound_shell() -> None:
    for script in (ROOT / "scripts").glob("*.sh"):
        assert os.access(script, os.X_OK)
        bash = shutil.which("bash")
        assert bash is not None
        subprocess.run([bash, "-n", script], check=True)
