"""DICOM files: what is shown of the stored numbers, what is refused and why, and that patients stay unwritten."""

import json
import re
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import JPEG_LOSSLESS, RAMP, RLE, lut, make, pydicom
from numpy.typing import NDArray

from lowres_ssl.data.catalogue import Catalogue
from lowres_ssl.data.decode import decode_image, decode_or_explain, iter_decoded_batches, read_image
from lowres_ssl.data.dicom import is_dicom, read_dicom, read_dicom_header
from lowres_ssl.data.image_folder import list_image_files, scan_folder
from lowres_ssl.data.image_metadata import read_file_metadata
from lowres_ssl.errors import ConfigError


def pixels_of(path: Path) -> NDArray[np.int64]:
    return np.asarray(read_dicom(path)).astype(np.int64)


def line(low: float, high: float, values: NDArray[Any] = RAMP) -> NDArray[np.float64]:
    return 255 * np.clip((values.astype(float) - low) / (high - low), 0, 1)


WINDOW = {"WindowCenter": 2048, "WindowWidth": 1001}
EXACT = {"WindowCenter": 2048, "WindowWidth": 1000}
RESCALED = {"RescaleSlope": 2, "RescaleIntercept": -1024}
SHOWN: dict[str, tuple[dict[str, Any], NDArray[Any]]] = {
    "whole range": ({}, line(0, 4095)),
    "MONOCHROME1": ({"PhotometricInterpretation": "MONOCHROME1"}, 255 - line(0, 4095)),
    # PS3.3 C.11.2.1.2.1: from centre - 0.5 - (width - 1) / 2 on
    "window": (WINDOW, line(1547.5, 2547.5)),
    "first window": ({"WindowCenter": [2048, 100], "WindowWidth": [1001, 9]}, line(1547.5, 2547.5)),
    "exact": (EXACT | {"VOILUTFunction": "LINEAR_EXACT"}, line(1548, 2548)),
    "sigmoid": (
        EXACT | {"VOILUTFunction": "SIGMOID"},
        255 / (1 + np.exp(-4 * (RAMP.astype(float) - 2048) / 1000)),
    ),
    "window, MONOCHROME1": (WINDOW | {"PhotometricInterpretation": "MONOCHROME1"}, 255 - line(1547.5, 2547.5)),
    "rescaled window": (
        RESCALED | {"WindowCenter": 1024, "WindowWidth": 401},
        line(1023.5 - 200, 1023.5 + 200, RAMP * 2.0 - 1024),
    ),
    "rescaled range": (RESCALED, line(0, 4095)),
    "width 0": ({"WindowCenter": 2048, "WindowWidth": 0}, line(0, 4095)),
    "VOI LUT": ({"VOILUTSequence": lut([0, 100, 255], 1000, 8)}, np.select([RAMP < 1001, RAMP < 1002], [0, 100], 255)),
    "VOI LUT before window": (WINDOW | {"VOILUTSequence": lut([4095, 0], 2000, 12)}, 255 * (RAMP < 2001)),
    "modality LUT": ({"ModalityLUTSequence": lut([0, 65535], 2000, 16)}, 255 * (RAMP > 2000)),
    "16 bits": ({"BitsStored": 16, "HighBit": 15}, line(0, 65535)),
}


@pytest.mark.parametrize(("fields", "wanted"), SHOWN.values(), ids=SHOWN)
def test_grey_values_are_shown_as_the_standard_says(
    tmp_path: Path, fields: dict[str, Any], wanted: NDArray[Any]
) -> None:
    np.testing.assert_allclose(pixels_of(make(tmp_path / "x.dcm", **fields)), wanted, atol=0.51)


def test_signed_values_and_negative_slopes(tmp_path: Path) -> None:
    signed = (RAMP.astype(np.int16) - 2048).astype(np.int16)
    np.testing.assert_allclose(pixels_of(make(tmp_path / "s.dcm", signed)), line(0, 4095), atol=0.51)
    fell = make(tmp_path / "n.dcm", RescaleSlope=-1, RescaleIntercept=0)
    np.testing.assert_allclose(pixels_of(fell), 255 - line(0, 4095), atol=0.51)


def test_grey_range_takes_the_place_of_the_window(tmp_path: Path) -> None:
    path = make(tmp_path / "x.dcm", WindowCenter=1, WindowWidth=2, RescaleSlope=1, RescaleIntercept=-1024)
    shown = np.asarray(read_dicom(path, (-1024, 976))).astype(np.int64)
    np.testing.assert_allclose(shown, line(0, 2000), atol=0.51)


def test_palette_is_looked_up(tmp_path: Path) -> None:
    fields: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour, values in (("Red", (0, 65535)), ("Green", (65535, 0)), ("Blue", (0, 0))):
        fields[f"{colour}PaletteColorLookupTableDescriptor"] = [2, 0, 16]
        fields[f"{colour}PaletteColorLookupTableData"] = np.array(values, dtype="<u2").tobytes()
    path = make(tmp_path / "x.dcm", np.array([[0, 1]], dtype=np.uint8), **fields)
    assert np.asarray(read_dicom(path)).tolist() == [[[0, 255, 0], [255, 0, 0]]]


def without_meta(path: Path, *, preamble: bool, implicit: bool, meta: tuple[str, ...] = ()) -> Path:
    """A file as old programs wrote them: of its meta group only these fields, if any, before it a preamble or not."""
    dataset = pydicom.dcmread(make(path))
    out = pydicom.filebase.DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = True, False
    if preamble:
        out.write(bytes(128) + b"DICM")
    kept = pydicom.Dataset()
    kept.update({each.tag: each for each in dataset.file_meta if each.keyword in meta})
    pydicom.filewriter.write_dataset(out, kept)
    out.is_implicit_VR = implicit
    pydicom.filewriter.write_dataset(out, pydicom.Dataset({each.tag: each for each in dataset}))
    path.write_bytes(out.getvalue())
    return path


CLASS = ("MediaStorageSOPClassUID",)
OLD: dict[str, dict[str, Any] | None] = {
    "as it is written today": None,
    "neither preamble nor meta group": {"preamble": False, "implicit": True},
    "neither, explicit": {"preamble": False, "implicit": False},
    "no preamble": {"preamble": False, "implicit": False, "meta": (*CLASS, "TransferSyntaxUID")},
    "no transfer syntax": {"preamble": True, "implicit": False, "meta": CLASS},
    "no transfer syntax, implicit": {"preamble": True, "implicit": True, "meta": CLASS},
}


@pytest.mark.parametrize("kind", OLD)
@pytest.mark.parametrize("name", ["x.dcm", "IM0001", "1.2.840.113619", "x.IMA", "x.png"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_files_are_known_by_their_content_and_read(kind: str, name: str, tmp_path: Path) -> None:
    fields = OLD[kind]
    path = make(tmp_path / name) if fields is None else without_meta(tmp_path / name, **fields)
    assert is_dicom(path)
    assert [id for _, id in list_image_files(tmp_path)] == [name]
    np.testing.assert_allclose(np.asarray(read_image(path)), line(0, 4095), atol=0.51)
    assert read_dicom_header(path) == (16, 16, "Doe^Jane-4711")
    image = read_file_metadata(path)
    assert (image.height, image.width, image.is_dicom) == (16, 16, True)


@pytest.mark.parametrize("content", [b"", b"\x08\0", b"\x08\0\x05\0" + bytes(200), b"text " * 50, b"\x89PNG" * 50])
def test_other_files_of_any_name_are_no_dicom(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "IM0001").write_bytes(content)
    assert not is_dicom(tmp_path / "IM0001")
    assert not scan_folder(tmp_path).images


def changed(path: Path, change: Callable[[bytes], bytes]) -> Path:
    path.write_bytes(change(path.read_bytes()))
    return path


def deflated(path: Path) -> Path:
    return make(path, syntax="1.2.840.10008.1.2.1.99")


def without_decoder(path: Path) -> Path:
    return make(path, syntax=JPEG_LOSSLESS, PixelData=pydicom.encaps.encapsulate([b"\xff\xd8\xff\xd9"]))


def compressed_somehow(path: Path) -> Path:
    first = b"\x08\0\x16\0"  # the first field after the meta group
    return changed(without_decoder(path), lambda content: bytes(128) + b"DICM" + content[content.index(first) :])


def swollen(path: Path) -> Path:
    """Run lengths that unpack to 64 times their size, of a picture of 16 x 16."""
    return make(path, syntax=RLE, PixelData=pydicom.encaps.encapsulate([bytes(64) + b"\x81\x00" * 50_000]))


def nested(path: Path) -> Path:
    """Sequences in sequences, ten thousand deep, before the picture."""
    deep = b"\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 10_000
    rows = b"\x28\x00\x02\x00US"
    return changed(make(path, PatientID=None), lambda content: content.replace(rows, deep + rows, 1))


Maker = Callable[[Path], Path]
REFUSED: dict[str, tuple[Maker, str]] = {
    "several frames": (lambda path: make(path, NumberOfFrames=30), "it has 30 frames, wanted one"),
    "too many pixels": (lambda path: make(path, Rows=60_000, Columns=60_000), "more pixels than Pillow's limit"),
    "no picture": (lambda path: make(path, Rows=None, PixelData=None), "it holds no picture"),
    "no pixels": (lambda path: make(path, PixelData=None), "it has no pixels"),
    "deflated": (deflated, "no bound"),
    "deflated, no preamble": (lambda path: changed(deflated(path), lambda content: content[132:]), "no bound"),
    "compressed, no transfer syntax": (compressed_somehow, "its pixels are compressed, and it names no transfer"),
    "no decoder": (without_decoder, "compressed as JPEG Lossless.*there is no decoder here; save it uncompressed"),
    "swollen run lengths": (swollen, "run lengths"),
    "truncated": (
        lambda path: changed(make(path), lambda content: content[:-100]),
        "less than expected|fewer|doesn't match",
    ),
    "nested": (nested, "."),
    "values of 64 bits": (lambda path: make(path, BitsAllocated=64), "1 values of 64 bits"),
    "slope that is no number": (lambda path: make(path, RescaleSlope="NaN", RescaleIntercept="0"), "no number"),
    "mark without a file": (lambda path: changed(make(path), lambda content: content[:132]), "."),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_cannot_be_shown_is_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    maker, said = REFUSED[kind]
    path = maker(tmp_path / "x.dcm")
    reason = read_file_metadata(path)
    if not isinstance(reason, str):  # its header is whole: decoding finds it
        reason = decode_or_explain(path, colour=False, size=4)
    assert isinstance(reason, str)
    assert re.search(said, reason), reason
    assert "\n" not in reason


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_pixel_data_that_claims_four_gigabytes_takes_no_memory(tmp_path: Path) -> None:
    head, length = b"\xe0\x7f\x10\x00OW\x00\x00", b"\x00\x02\x00\x00"  # 512 bytes
    path = changed(make(tmp_path / "x.dcm"), lambda content: content.replace(head + length, head + b"\xf0\xff\xff\xff"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    np.testing.assert_allclose(pixels_of(path), line(0, 4095), atol=0.51)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_run_lengths_are_read(tmp_path: Path) -> None:
    pytest.importorskip("pydicom.encoders")
    dataset = pydicom.dcmread(make(tmp_path / "x.dcm"))
    dataset.compress(pydicom.uid.RLELossless)
    dataset.save_as(tmp_path / "rle.dcm")
    np.testing.assert_allclose(pixels_of(tmp_path / "rle.dcm"), line(0, 4095), atol=0.51)


def test_without_pydicom_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path / "set" / "x.dcm")
    for name in [name for name in sys.modules if name.split(".")[0] == "pydicom"]:
        monkeypatch.setitem(sys.modules, name, None)
    for look in (
        lambda: read_file_metadata(path),
        lambda: decode_image(path, colour=False, size=4),
        lambda: list(iter_decoded_batches(list_image_files(path.parent), colour=False, size=4, batch_size=2)),
    ):
        with pytest.raises(ConfigError, match=r"pip install 'lowres-ssl\[dicom\]'"):
            look()


@pytest.fixture
def patients(tmp_path: Path) -> Path:
    """Two classes of three patients with two images each."""
    root = tmp_path / "set"
    for number in range(12):
        pixels = (RAMP + number).astype(np.uint16)
        make(root / "ab"[number // 6] / f"{number}.DCM", pixels, PatientID=f"Doe^{number // 2}")
    return root


def test_patients_are_groups_also_the_second_time_and_never_kept(
    patients: Path, catalogue_at: Callable[..., Catalogue], tmp_path: Path
) -> None:
    first, second = catalogue_at(patients), catalogue_at(patients)
    groups = [record.group for record in first.records]
    assert sorted({group for group in groups if group}) == [f"Doe^{number}" for number in range(6)]
    assert second == first
    assert second.digest == first.digest
    (kept,) = (tmp_path / "cache").glob("index-*.json")
    assert "Doe" not in kept.read_text()
    assert json.loads(kept.read_text())


def test_name_pattern_and_table_speak_louder_than_the_file(
    patients: Path, catalogue_at: Callable[..., Catalogue]
) -> None:
    named = catalogue_at(patients, options={"group_pattern": r"/(\d)\."})
    assert [record.group for record in named.records if record.group in ("0", "9")] == ["0", "9"]
    (patients / "t.csv").write_text("path,label,patient\na/0.DCM,x,P\na/1.DCM,x,\nb/6.DCM,y,P\n")
    told = catalogue_at(patients, "csv")
    assert [record.group for record in told.records] == ["P", "Doe^0", "P"]
