"""Read a DICOM file as the picture that a viewer shows, and its patient; refuse what is no single picture.

The standard: https://dicom.nema.org/medical/dicom/current/output/chtml/part03/PS3.3.html. `pydicom`, an extra, reads
the file; it is imported when the first such file is met.
"""

import math
import struct
from collections.abc import Sequence
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lowres_ssl.registry import import_extra

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

DICOM_SUFFIXES = frozenset({".dcm", ".dicom"})
PREAMBLE_BYTES, DICOM_MAGIC = 128, b"DICM"
MAX_FIRST_ELEMENT, MAX_FIRST_FIELD_BYTES = 0x70, 64  # of what a file without a preamble begins with
FIRST_FRAGMENT = b"\xfe\xff\x00\xe0"  # of compressed pixels
MAX_DICOM_BYTES = 10**9  # of a file; the largest picture that is read has 360 MB of 16-bit pixels
MAX_RLE_PIXELS = 2**24  # two bytes of run lengths become up to 128, and pydicom has no bound of its own
DEFLATED = "1.2.840.10008.1.2.1.99"
RLE = "1.2.840.10008.1.2.5"
HEADER_TAGS = ("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "BitsAllocated", "PatientID")
PALETTE_TAGS = tuple(
    f"{colour}PaletteColorLookupTable{each}" for each in ("Descriptor", "Data") for colour in ("Red", "Green", "Blue")
)
IMAGE_TAGS = (
    *HEADER_TAGS,
    *("PhotometricInterpretation", "PlanarConfiguration", "BitsStored", "HighBit", "PixelRepresentation"),
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
    *PALETTE_TAGS,
    "PixelData",
)
DicomValues = NDArray[np.float64]


def is_dicom(path: Path) -> bool:
    """Detect DICOM by its content: by the mark after its preamble, or in older files without one by their first field.

    Raises `ValueError` for a pipe, a socket or a device, or a link to one; `OSError` for a missing file.
    """
    if not S_ISREG(path.stat().st_mode):
        raise ValueError("it is a pipe, a socket or a device, wanted a file")
    with path.open("rb") as file:
        start = file.read(PREAMBLE_BYTES + len(DICOM_MAGIC))
    return start[PREAMBLE_BYTES:] == DICOM_MAGIC or starts_without_preamble(start)


def starts_without_preamble(start: bytes) -> bool:
    """Whether bytes begin with a short field of group 2 or 8, as every data set does (PS3.5 7.1): its tag, then two
    letters, or its length in four bytes."""
    if len(start) < PREAMBLE_BYTES:
        return False
    group, element, length = struct.unpack("<HHI", start[:8])
    has_letters = start[4:6] in (b"UL", b"UI", b"CS", b"DA", b"TM", b"OB", b"SH", b"LO")
    is_short = 0 < length <= MAX_FIRST_FIELD_BYTES and length % 2 == 0
    return group in (2, 8) and element <= MAX_FIRST_ELEMENT and (has_letters or is_short)


def is_dicom_file(path: str) -> bool:
    """Detect DICOM as `is_dicom` does; False for what cannot be opened."""
    try:
        return is_dicom(Path(path))
    except (OSError, ValueError):
        return False


def read_dicom_header(path: Path) -> tuple[int, int, str | None]:
    """Read height and width in pixels, and the patient's id, which may be stored as a keyed hash only.

    Raises `ConfigError` without pydicom; `ValueError`, or what pydicom raises, for a file that is no picture.
    """
    read = read_tags(path, HEADER_TAGS)
    return *get_image_size(read), str(read.get("PatientID") or "").strip() or None


def read_dicom(path: Path, grey_range: tuple[float, float] | None = None) -> Image.Image:
    """Read the picture, in mode L or RGB, in its own size. Raises as `read_dicom_header` does.

    Grey values are rescaled (slope and intercept, or their table), then shown through the window that the file names
    first: its table (VOI LUT) or else its centre and width. Without one the whole range of the stored bits is shown, so
    that images stay comparable. A `grey_range`, in rescaled values, takes the place of all of these. MONOCHROME1 is
    turned round: high is dark there.
    """
    read = read_tags(path, IMAGE_TAGS)
    height, width = get_image_size(read)
    if "PixelData" not in read:
        raise ValueError("it has no pixels")
    check_compression(read, height * width)
    kind = str(read.PhotometricInterpretation)
    stored = np.asarray(read.pixel_array)
    if kind in ("MONOCHROME1", "MONOCHROME2") and stored.ndim == 2:
        values, full_range = apply_rescale(stored, read)
        share = apply_voi(values, full_range, read) if grey_range is None else rescale_to_unit(values, *grey_range)
        share = 1 - share if kind == "MONOCHROME1" else share
    elif kind == "PALETTE COLOR":
        from pydicom.pixels.processing import apply_color_lut

        stored = apply_color_lut(stored, read)
        share = stored / np.iinfo(stored.dtype).max
    elif stored.ndim == 3 and stored.shape[2] == 3:
        share = stored / (2.0 ** int(read.BitsStored) - 1)
    else:
        shape = "x".join(map(str, stored.shape))
        raise ValueError(f"its pixels are {kind} with {shape} values, wanted grey or colour")
    return Image.fromarray(np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8))


def read_tags(path: Path, wanted: tuple[str, ...]) -> "Dataset":
    """Read the wanted tags, and in `file_meta` the transfer syntax (how the pixels are compressed)."""
    import_extra("pydicom", "dicom", f"{path.name}: DICOM")
    from pydicom import dcmread
    from pydicom.filereader import read_file_meta_info

    size = path.stat().st_size
    if size > MAX_DICOM_BYTES:
        raise ValueError(f"it has {size:,} bytes, wanted a picture of at most {MAX_DICOM_BYTES:,}")
    with path.open("rb") as file:
        start = file.read(PREAMBLE_BYTES)
        if starts_without_preamble(start):
            is_deflated = DEFLATED.encode() in start + file.read()
        else:
            is_deflated = read_file_meta_info(path).get("TransferSyntaxUID") == DEFLATED
    if is_deflated:  # pydicom would unpack all of it before anything can be asked
        raise ValueError("all of it is deflated, which has no bound when it is unpacked; save it uncompressed")
    read = dcmread(path, specific_tags=list(wanted), stop_before_pixels="PixelData" not in wanted, force=True)
    if "TransferSyntaxUID" not in read.file_meta:
        name_transfer_syntax(read)
    return read


def name_transfer_syntax(read: "Dataset") -> None:
    """Name how a file that does not name it was written: as its fields were, and its pixels as they are."""
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    if read.get("PixelData", b"").startswith(FIRST_FRAGMENT):
        raise ValueError("its pixels are compressed, and it names no transfer syntax; save it anew from a viewer")
    is_implicit, is_little = read.original_encoding
    explicit = ExplicitVRLittleEndian if is_little else ExplicitVRBigEndian
    read.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if is_implicit else explicit


def get_image_size(read: "Dataset") -> tuple[int, int]:
    """Get height and width. Raises `ValueError` for what is not one picture within Pillow's limit for pixels."""
    if not read.get("Rows") or not read.get("Columns"):
        raise ValueError("it holds no picture (a report, or settings of one)")
    height, width, frames = int(read.Rows), int(read.Columns), int(read.get("NumberOfFrames") or 1)
    if frames != 1:
        raise ValueError(f"it has {frames} frames, wanted one; save those that count as files of their own")
    limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
    if height * width > limit:
        raise ValueError(f"it has more pixels than Pillow's limit of {limit:,}")
    samples, bits = int(read.get("SamplesPerPixel") or 1), int(read.get("BitsAllocated") or 0)
    if samples not in (1, 3) or bits not in (1, 8, 16, 32):
        raise ValueError(f"it has {samples} values of {bits} bits a pixel, wanted 1 or 3 of 8, 16 or 32")
    return height, width


def check_compression(read: "Dataset", pixels: int) -> None:
    """Raise `ValueError` for pixels that no installed decoder can decompress."""
    syntax = read.file_meta.TransferSyntaxUID
    if syntax is None or not syntax.is_encapsulated:
        return
    from pydicom.pixels.decoders.base import get_decoder

    try:
        known = get_decoder(syntax).is_available
    except NotImplementedError:  # a compression unknown to pydicom
        known = False
    if not known:
        raise ValueError(
            f"its pixels are compressed as {syntax.name}, for which there is no decoder here; save it uncompressed, or "
            "type pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg"
        )
    bound = 1000 + pixels * int(read.get("SamplesPerPixel") or 1) * int(read.BitsAllocated) // 8 * 1.02
    if syntax == RLE and (pixels > MAX_RLE_PIXELS or len(read.PixelData) > bound):
        raise ValueError("it has more pixels in run lengths (RLE) than are unpacked; save it uncompressed")


def apply_rescale(stored: NDArray[Any], read: "Dataset") -> tuple[DicomValues, tuple[float, float]]:
    """Convert [H, W] to the units of the modality (PS3.3 C.11.1); return as well the range of the stored bits there."""
    if read.get("ModalityLUTSequence"):
        values, highest = apply_lut(stored, read.ModalityLUTSequence[0])
        return values, (0.0, highest)
    slope, intercept = float(read.get("RescaleSlope", "") or 1), float(read.get("RescaleIntercept", "") or 0)
    if not math.isfinite(slope) or not math.isfinite(intercept):
        raise ValueError("its rescale slope or intercept is no number")
    bits, signed = int(read.BitsStored), read.get("PixelRepresentation")
    low, high = (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) if signed else (0.0, 2.0**bits - 1)
    least, greatest = sorted([low * slope + intercept, high * slope + intercept])
    return stored.astype(np.float64) * slope + intercept, (least, greatest)


def apply_voi(values: DicomValues, full_range: tuple[float, float], read: "Dataset") -> DicomValues:
    """Scale [H, W] from 0, the least that is shown, to 1: PS3.3 C.11.2. C.11.2.1.2 is the linear window, C.11.2.1.3 the
    sigmoid and the exact linear one. Without a usable window `full_range` is shown."""
    if read.get("VOILUTSequence"):
        numbers, highest = apply_lut(values, read.VOILUTSequence[0])
        return numbers / highest
    centre, width = parse_first_number(read.get("WindowCenter")), parse_first_number(read.get("WindowWidth"))
    function = str(read.get("VOILUTFunction") or "LINEAR").upper()
    if centre is None or width is None or width < (1 if function == "LINEAR" else 1e-9):
        return rescale_to_unit(values, *full_range)
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))
    if function == "LINEAR":
        centre, width = centre - 0.5, width - 1
    return np.clip((values - centre) / max(width, 1e-12) + 0.5, 0, 1)


def rescale_to_unit(values: DicomValues, low: float, high: float) -> DicomValues:
    return np.clip((values - low) / max(high - low, 1e-12), 0, 1)


def parse_first_number(value: Any) -> float | None:
    """Parse a number, or the first of several; None if it is none."""
    try:
        number = float(value[0] if isinstance(value, Sequence) and not isinstance(value, str) else value)
    except (TypeError, ValueError, IndexError):
        return None
    return number if math.isfinite(number) else None


def apply_lut(values: NDArray[Any], item: "Dataset") -> tuple[DicomValues, float]:
    """Look [H, W] up in a table (PS3.3 C.11.1.1.1); return the entries, and the highest that one can be."""
    _, lowest, bits = (int(each) for each in item.LUTDescriptor)
    data = item.LUTData
    table = np.frombuffer(data, dtype="<u2") if isinstance(data, bytes) else np.asarray(data)
    if not 0 < bits <= 16 or not table.size:
        raise ValueError("its look-up table is broken")
    places = np.clip(np.rint(values).astype(np.int64) - lowest, 0, table.size - 1)
    return table.astype(np.float64)[places], 2.0**bits - 1
