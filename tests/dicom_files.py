"""DICOM files for tests, made here: none comes from a patient. Needs pydicom."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")

RAMP = np.arange(0, 4096, 16, dtype=np.uint16).reshape(16, 16)  # 12 bits: 0, 16, ..., 4080
EXPLICIT, RLE, JPEG_LOSSLESS = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.70"


def lut(values: list[int], first: int, bits: int) -> Any:
    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", "US", [len(values), first, bits])
    as_words = len(values) % 2 == 0  # the standard allows both ways of writing it
    item.add_new("LUTData", *(("OW", np.array(values, "<u2").tobytes()) if as_words else ("US", values)))
    return pydicom.Sequence([item])


def make(path: Path, pixels: NDArray[Any] = RAMP, syntax: str = EXPLICIT, **fields: Any) -> Path:
    """A file of these pixels; `fields` replace or add, None takes out."""
    bits = 8 * pixels.itemsize
    said: dict[str, Any] = {
        "PatientID": "Doe^Jane-4711",
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "SamplesPerPixel": 3 if pixels.ndim == 3 else 1,
        "PhotometricInterpretation": "RGB" if pixels.ndim == 3 else "MONOCHROME2",
        "BitsAllocated": bits,
        "BitsStored": 12 if bits == 16 else bits,
        "HighBit": 11 if bits == 16 else bits - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        "PixelData": pixels.tobytes(),
    }
    if pixels.ndim == 3:
        said["PlanarConfiguration"] = 0
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    meta.MediaStorageSOPClassUID = said["SOPClassUID"] = "1.2.840.10008.5.1.4.1.1.1"
    meta.MediaStorageSOPInstanceUID = said["SOPInstanceUID"] = "1.2.3.4"
    dataset = pydicom.Dataset()
    dataset.file_meta = meta
    for name, value in (said | fields).items():
        if value is not None:
            setattr(dataset, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.save_as(path, enforce_file_format=True)
    return path
