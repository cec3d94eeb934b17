"""A weights file of a run counts as that run, wherever it lies: it is refused where it knows too much."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from stored_runs import ENVIRONMENT, made_up_run

from lowres_ssl.data.splits import ALL_LABELS, LabelSubset
from lowres_ssl.encoders.weights_file import save_tensors
from lowres_ssl.errors import CheckpointError, ConfigError
from lowres_ssl.evaluate.initial_weights import InitialWeights
from lowres_ssl.runs.records import RunOutcome
from lowres_ssl.runs.run import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run with an encoder of one number, trained on a tenth of the labels."""
    run = Run(made_up_run(tmp_path / "outputs", method="vicreg").parent)
    record = run.read()
    metadata = {"run": run.name, "data_digest": record.identity.images, "split_digest": record.split.digest}
    for name in ("encoder", "encoder-last"):
        save_tensors(run.folder / f"{name}.safetensors", {name: torch.ones(1)}, metadata)
    run.start(replace(record, labels=LabelSubset(0.1, 0)))
    run.finish(RunOutcome(1, 1.0, ENVIRONMENT))
    return run


def find(run: Run, path: Path, output_dir: str = "outputs") -> InitialWeights:
    return InitialWeights.of_file(path, None, run.folder.parents[2] / output_dir)


def check(source: InitialWeights, run: Run, split: str | None = None, draws: Sequence[LabelSubset] = ()) -> None:
    """Check for the images of the run, under its own split or the one with the digest `split`."""
    record = run.read()
    catalogue: Any = SimpleNamespace(digest=record.identity.images, name=record.config.dataset.name)
    made: Any = SimpleNamespace(digest=split or record.split.digest)
    source.check_leakage(made, catalogue, draws or [ALL_LABELS], Path("stores"))


@pytest.mark.parametrize("place", ["folder", "link", "copy"])
def test_encoder_of_a_run_is_that_run_wherever_its_file_lies(run: Run, tmp_path: Path, place: str) -> None:
    path = run.encoder()
    if place == "link":
        path = tmp_path / "linked.safetensors"
        path.symlink_to(run.encoder())
    if place == "copy":
        path = Path(shutil.copy(run.encoder(), tmp_path / "copied.safetensors"))
    source = find(run, path)
    assert (source.path, source.name, source.record) == (path, "vicreg", run.read())
    check(source, run)
    with pytest.raises(ConfigError, match="vicreg was trained under another split"):
        check(source, run, split="another")
    with pytest.raises(ConfigError, match=r"vicreg was trained on 0\.1 of the labels"):
        check(source, run, draws=[LabelSubset(0.5, 1)])


def test_folder_of_a_run_may_lie_outside_of_output_dir(run: Run) -> None:
    source = find(run, run.encoder(), "elsewhere")
    assert (source.name, source.run) == ("vicreg", run)
    with pytest.raises(ConfigError, match="another split"):
        check(source, run, split="another")


def test_other_files_in_the_folder_of_a_run_know_what_it_knows(run: Run) -> None:
    torch.save({"encoder": torch.ones(1)}, run.folder / "converted.pt")
    for path in (run.last_encoder, run.folder / "converted.pt"):
        source = find(run, path)
        assert source.name == f"{path.name} of vicreg"
        with pytest.raises(ConfigError, match="another split"):
            check(source, run, split="another")


def test_copy_whose_run_is_nowhere_is_checked_by_its_metadata(run: Run, tmp_path: Path) -> None:
    path = Path(shutil.copy(run.encoder(), tmp_path / "copied.safetensors"))
    source = find(run, path, "elsewhere")
    assert (source.name, source.record) == ("copied.safetensors", None)
    check(source, run)
    with pytest.raises(ConfigError, match=r"copied\.safetensors was trained under another split"):
        check(source, run, split="another")


def test_file_of_others_is_not_checked(run: Run, tmp_path: Path) -> None:
    save_tensors(tmp_path / "theirs.safetensors", {"x": torch.ones(1)}, {})
    source = find(run, tmp_path / "theirs.safetensors")
    assert (source.name, source.record) == ("theirs.safetensors", None)
    check(source, run, split="another")


def test_encoder_that_is_not_what_its_run_wrote_is_refused(run: Run) -> None:
    save_tensors(run.encoder(), {"x": torch.zeros(1)}, {"run": run.name})
    with pytest.raises(CheckpointError, match="not what this run wrote"):
        find(run, run.encoder())


def test_damaged_description_of_a_run_leaves_the_metadata(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    record = run.folder / "run.json"
    content = record.read_bytes()
    record.write_text("{}")
    source = find(run, run.encoder())
    assert "run.json: " in capsys.readouterr().err
    record.write_bytes(content)
    assert (source.name, source.record) == ("encoder.safetensors", None)
    with pytest.raises(ConfigError, match="another split"):
        check(source, run, split="another")
