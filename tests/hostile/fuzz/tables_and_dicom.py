"""Fuzzed: tables of labels and DICOM files, as anybody may hand them on."""

import os
import tempfile
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from archives_and_images import decode_it
from hypothesis import strategies as st
from watching import ODD_TEXT, Target, damaged_bytes, watched

from lowres_ssl.data.datasets import build_source
from lowres_ssl.data.image_folder import scan_folder
from lowres_ssl.errors import UserError
from lowres_ssl.init.find_table import find_label_table
from lowres_ssl.init.typed_input import TypedInput

FILES = ("a/1.png", "a/2.png", "b/ö 3.png")
CELL = st.one_of(
    st.sampled_from(
        [
            *FILES,
            *("a\\1.png", "./a/../a/1.png", "../x", "/etc/passwd", "a", ".", "", " ", "train", "TEST", "val", "x", "y"),
            *('"', '""', "'", "\r", "\n", "\x85", "\u2028", "=1+1", "a/1.png\0", "~", "${x}", "a" * 5000),
        ]
    ),
    ODD_TEXT,
)
HEADS = st.lists(st.sampled_from(["path", "label", "patient", "split", "path", "", "Label"]), min_size=1, max_size=5)


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    separator, end = draw(st.sampled_from([",", ";", "\t"])), draw(st.sampled_from(["\n", "\r\n", "\r"]))
    heads = draw(st.one_of(st.just(["path", "label", "patient", "split"]), HEADS))
    rows = [heads, *draw(st.lists(st.lists(CELL, min_size=len(heads), max_size=len(heads)), max_size=5))]
    text = end.join(separator.join(row) for row in rows)
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"]))
    return text.encode(encoding, "surrogatepass" if encoding.startswith("utf") else "replace")


PLAIN = "path,label,patient,split\na/1.png,x,p,train\nb/ö 3.png,y,q,test\n".encode()


def list_table(content: bytes, folder: Path) -> None:
    """What is listed is a file below the root; what is not is refused in one line, by the guess as well."""
    root = folder / "set"
    for name in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / "labels.csv").write_bytes(content)
    with watched(folder):
        for skip_missing in (False, True):
            try:
                listings = build_source("csv", {"skip_missing": skip_missing}).listings(scan_folder(root))
            except UserError:  # told in one line, whatever is in it
                continue
            for listing in listings:
                assert listing.path.is_relative_to(root)
                assert listing.path.is_file()
                assert os.path.normpath(listing.path) == str(listing.path)
                assert listing.label
        with suppress(UserError):
            find_label_table(scan_folder(root), TypedInput())


@cache
def dicom_written() -> tuple[bytes, ...]:
    """Grey with a window, with tables, as colour and in run lengths; none where pydicom is not there."""
    if find_spec("pydicom") is None:
        return ()
    from dicom_files import RAMP, lut, make, pydicom

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "x.dcm"
        small = RAMP[:4, :4].copy()
        made = [
            make(path, small, WindowCenter=100, WindowWidth=50, RescaleSlope=2, RescaleIntercept=-5).read_bytes(),
            make(path, small, VOILUTSequence=lut([0, 9, 200, 255], 3, 8)).read_bytes(),
            make(path, small, ModalityLUTSequence=lut([0, 9, 65535], 3, 16)).read_bytes(),
            make(path, np.zeros((3, 3, 3), dtype=np.uint8)).read_bytes(),
        ]
        dataset = pydicom.dcmread(make(path, small))
        dataset.compress(pydicom.uid.RLELossless)
        dataset.save_as(path)
        return (*made, path.read_bytes())


TARGETS = {"tables": Target(list_table, st.one_of(tables(), damaged_bytes(PLAIN)), enough=60)}
if dicom_written():
    TARGETS["dicom"] = Target(
        decode_it, st.tuples(st.just("dcm"), st.one_of(*(damaged_bytes(each) for each in dicom_written()))), enough=100
    )
