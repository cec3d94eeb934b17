"""Predictions that somebody else wrote: neither their zip nor the headers in it are believed."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from stored_runs import made_up_result, made_up_run

from lowres_ssl.errors import CheckpointError
from lowres_ssl.io.checksummed_json import hash_file
from lowres_ssl.runs import result_io
from lowres_ssl.runs.records import ResultRecord
from lowres_ssl.runs.result_io import read_predictions, read_result


def zipped(folder: Path, content: bytes) -> ResultRecord:
    """Write an array's file in a `predictions.npz`; a result that has its hash."""
    with zipfile.ZipFile(folder / "predictions.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("test_ids.npy", content)
    return made_up_result(predictions_sha256=hash_file(folder / "predictions.npz"))


def test_predictions_of_a_run_are_far_below_the_bound(tmp_path: Path) -> None:
    folder = made_up_run(tmp_path, images=120)
    with zipfile.ZipFile(folder / "predictions.npz") as archive:
        whole = sum(info.file_size for info in archive.infolist())
    assert whole / 120 * 500_000 < result_io.MAX_ARRAY_BYTES
    assert len(read_predictions(folder, read_result(folder))["test_ids"]) == 120


def test_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO()
    np.save(file, np.zeros(1_000_000, dtype=np.uint8))
    result = zipped(tmp_path, file.getvalue())
    assert len(read_predictions(tmp_path, result)["test_ids"]) == 1_000_000
    monkeypatch.setattr(result_io, "MAX_ARRAY_BYTES", 1_000_000)
    with pytest.raises(CheckpointError, match=r"1,000,128 bytes of arrays, wanted at most 1,000,000"):
        read_predictions(tmp_path, result)


@pytest.mark.parametrize("shape", ["(2**40,)", "(1099511627776,)", "(-5, -1099511627776)"])
def test_header_that_claims_more_than_there_is_is_refused(tmp_path: Path, shape: str) -> None:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode()
    result = zipped(tmp_path, b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64))
    with pytest.raises(CheckpointError, match=r"predictions\.npz: cannot be read"):
        read_predictions(tmp_path, result)
