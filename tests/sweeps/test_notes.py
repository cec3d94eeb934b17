"""What jobs leave for the end of their sweep, and what is noted of those that could leave nothing."""

from dataclasses import asdict
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from lowres_ssl.io.atomic import write_json
from lowres_ssl.sweeps.jobs import FAILURE_NOTE, Failure, get_note_path, iter_failures, record_lost_job


def sweep_in(folder: Path) -> DictConfig:
    return OmegaConf.create({"hydra": {"sweep": {"dir": str(folder)}, "job": {"config_name": "pretrain"}}})


def test_failures_come_in_the_order_of_the_jobs_whoever_was_first(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        write_json(get_note_path(tmp_path, FAILURE_NOTE, number), asdict(Failure(f"job {number}", "why", 3)))
    write_json(get_note_path(tmp_path, "other", 0), {"anything": 1})
    assert [failure.command for failure in iter_failures(tmp_path)] == ["job 1", "job 2", "job 10"]


def test_dead_job_is_noted_with_its_command_unless_it_left_a_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = Failure("lowres-ssl pretrain method=dcl", "batch_size=1: too few", 2)
    write_json(get_note_path(tmp_path, FAILURE_NOTE, 0), asdict(said))
    record_lost_job(sweep_in(tmp_path), 0, ["method=dcl"], "it was killed")
    record_lost_job(sweep_in(tmp_path), 4, ["method=dcl", "dataset.root=my cells"], "it was killed")
    first, second = iter_failures(tmp_path)
    assert first == said
    assert second.command == "lowres-ssl pretrain method=dcl 'dataset.root=my cells'"
    assert second.message == "it was killed; the same command goes on from what was saved"
    assert second.exit_code == 1
    assert "job 4: it was killed" in capsys.readouterr().err
