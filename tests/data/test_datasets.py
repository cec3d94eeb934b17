"""Sources read names and folders; these tests write empty files under real names."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from lowres_ssl.data.datasets import Listing, build_source
from lowres_ssl.data.image_folder import scan_folder
from lowres_ssl.errors import ConfigError, DataError

Tree = Callable[..., Path]
Read = Callable[..., list[Listing]]

BREAST = (
    "SOB_B_A-14-22549AB-400-001.png",
    "SOB_B_A-14-22549CD-400-002.png",
    "SOB_B_A-14-22549G-400-003.png",
    "SOB_M_DC-14-11031-400-010.png",
    "SOB_M_DC-14-13412-400-011.png",
    "SOB_M_LC-14-13412-400-012.png",
    "SOB_M_PC-15-190EF-400-015.PNG",
)
COLORECTAL = (
    "01_TUMOR/10009_CRC-Prim-HE-03_009.tif_Row_301_Col_151.tif",
    "01_TUMOR/10062_CRC-Prim-HE-02_003b.tif_Row_1_Col_301.tif",
    "02_STROMA/1001B_CRC-Prim-HE-06.tif_Row_301_Col_1.tif",
    "04_LYMPHO/105DB_CRC-Prim-HE-02_copy.tif_Row_1_Col_601.tif",
    "07_ADIPOSE/10146_CRC-Prim-HE-04_006.tif_Row_1_Col_151.TIF",
    "08_EMPTY/10183_CRC-Prim-HE-10_001.tif_Row_1_Col_1.tif",
)
PNEUMONIA = (
    "test/NORMAL/IM-0001-0001.jpeg",
    "test/NORMAL/IM-0011-0001-0001.jpeg",
    "test/NORMAL/NORMAL2-IM-0019-0001.jpeg",
    "test/PNEUMONIA/person100_bacteria_475.jpeg",
    "train/NORMAL/NORMAL2-IM-0588-0001-0002.JPEG",
    "train/PNEUMONIA/person1000_bacteria_2931.jpeg",
    "train/PNEUMONIA/person1000_virus_1681.jpeg",
    "train/PNEUMONIA/person447_virus_921_1.jpeg",
    "train/PNEUMONIA/BACTERIA-1008087-0001.jpeg",
    "train/PNEUMONIA/VIRUS-1020303-0001.jpeg",
)
JUNK = (".DS_Store", "Thumbs.db", "__MACOSX/._x.png", ".hidden/x.png", "desktop.ini", "._cover.png")


@pytest.fixture
def read(tree: Tree) -> Read:
    """What a source lists of a folder of empty files with these names."""

    def make(source: str, names: Iterable[str], **options: Any) -> list[Listing]:
        return build_source(source, options).listings(scan_folder(tree(names)))

    return make


def groups_of(listings: list[Listing]) -> dict[str, str | None]:
    return {listing.path.name: listing.group for listing in listings}


def test_every_breast_name_of_the_sample_parses(read: Read) -> None:
    found = read("breast", [*BREAST, *JUNK])
    for listing in found:
        assert listing.label == {"B": "benign", "M": "malignant"}[listing.path.name[4]]
    # Letters after the digits are parts of one case; 14-13412 is filed under two tumour types.
    groups = [*["14-22549"] * 3, "14-11031", "14-13412", "14-13412", "15-190"]
    assert groups_of(found) == dict(zip(BREAST, groups, strict=True))


@pytest.mark.parametrize("prefix", ["", "BreaKHis_v1/", "BreaKHis_v1/histology_slides/breast/"])
def test_breast_ids_do_not_depend_on_wrapping_folders(read: Read, prefix: str) -> None:
    inner = [
        "benign/SOB/adenosis/SOB_B_A_14-22549AB/400X/SOB_B_A-14-22549AB-400-001.png",
        "malignant/SOB/ductal_carcinoma/SOB_M_DC_14-11031/400X/SOB_M_DC-14-11031-400-001.png",
        "malignant/SOB/ductal_carcinoma/SOB_M_DC_14-11031/40X/SOB_M_DC-14-11031-40-001.png",
    ]
    found = read("breast", [*(prefix + name for name in inner), "README.txt"])
    assert [listing.id for listing in found] == inner[:2]


def test_breast_takes_the_magnification_asked_for(tree: Tree) -> None:
    folder = scan_folder(tree(["benign/SOB_B_A-14-22549AB-40-001.png", "benign/SOB_B_A-14-22549AB-400-001.png"]))
    (listing,) = build_source("breast", {"magnification": 40}).listings(folder)
    assert listing.path.name == "SOB_B_A-14-22549AB-40-001.png"
    with pytest.raises(DataError, match="no image at 100x, got 40, 400"):
        build_source("breast", {"magnification": 100}).listings(folder)
    with pytest.raises(ConfigError, match="magnification=7: wanted one of 40, 100, 200, 400"):
        build_source("breast", {"magnification": 7})


def test_every_colorectal_name_of_the_sample_parses_whatever_lies_beside(read: Read) -> None:
    top = "Kather_texture_2016_image_tiles_5000"
    names = [f"{top}/{top}/{name}" for name in (*COLORECTAL, *JUNK)]
    found = read("colorectal", [*names, "Kather_texture_2016_larger_images_10/big.tif"])
    assert [listing.id for listing in found] == sorted(COLORECTAL)
    assert [listing.label for listing in found] == [listing.id.split("/")[0] for listing in found]
    groups = groups_of(found)
    assert groups["10062_CRC-Prim-HE-02_003b.tif_Row_1_Col_301.tif"] == "CRC-Prim-HE-02_003b"
    assert groups["1001B_CRC-Prim-HE-06.tif_Row_301_Col_1.tif"] == "CRC-Prim-HE-06"


def test_every_pneumonia_name_of_the_sample_parses(read: Read) -> None:
    found = read("pneumonia", [*PNEUMONIA, *JUNK])
    assert [listing.id for listing in found] == sorted(PNEUMONIA)
    assert all(listing.group for listing in found)
    assert all(f"{listing.subset}/{listing.label}/" in listing.id for listing in found)
    groups = groups_of(found)
    assert groups["person447_virus_921_1.jpeg"] == "PNEUMONIA/person447"
    assert groups["person1000_virus_1681.jpeg"] == groups["person1000_bacteria_2931.jpeg"]
    assert groups["IM-0011-0001-0001.jpeg"] == "NORMAL/IM-0011"
    assert groups["NORMAL2-IM-0019-0001.jpeg"] == "NORMAL/NORMAL2-IM-0019"
    assert groups["BACTERIA-1008087-0001.jpeg"] == "PNEUMONIA/1008087"


def test_pneumonia_copy_inside_the_tree_is_ignored(read: Read) -> None:
    names = [*PNEUMONIA, *(f"chest_xray/{name}" for name in PNEUMONIA), *(f"__MACOSX/{name}" for name in PNEUMONIA)]
    found = read("pneumonia", (f"chest_xray/{name}" for name in names))
    assert [listing.id for listing in found] == sorted(PNEUMONIA)
    assert not any("chest_xray/chest_xray" in str(listing.path) for listing in found)


@pytest.mark.parametrize(
    ("names", "options", "wanted"),
    [
        (["b/2.PNG", "a/deep/er/1.webp", "a/x.txt", "beside.png", *JUNK], {}, ["a", "b"]),
        # Classes that are called train and test do not divide a set.
        (["train/1.png", "test/2.png"], {}, ["test", "train"]),
        (
            ["img_001_malignant.png", "img_002_benign.png", "img_003.png"],
            {"label_pattern": r"_([a-z]+)\."},
            ["malignant", "benign"],
        ),
    ],
    ids=["folders", "train-and-test", "names"],
)
def test_class_is_the_top_folder_or_what_a_pattern_finds(
    read: Read, names: list[str], options: dict[str, Any], wanted: list[str]
) -> None:
    found = read("folder", names, **options)
    assert [(listing.label, listing.subset) for listing in found] == [(label, None) for label in wanted]


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Training", "validation", "testing")])
def test_folder_that_comes_divided(read: Read, names: tuple[str, str, str]) -> None:
    found = read("folder", [f"{side}/{label}/1.png" for side in names for label in "ab"] + ["other/c/1.png"])
    subsets = dict(zip(names, ("train", "val", "test"), strict=True))
    assert len(found) == 6
    assert all(listing.subset == subsets[listing.id.split("/")[0]] for listing in found)
    assert {listing.label for listing in found} == {"a", "b"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("test/a/2.png", None),
        ("test/c/2.png", "class c has no training image, got a, b c; add a folder train/c"),
        ("test/B  c /2.png", r"'B  c ' has no training image, but 'b c' has; .*rename"),
    ],
)
def test_each_class_needs_a_training_folder(read: Read, name: str, message: str | None) -> None:
    names = ["train/a/1.png", "train/b c/1.png", "test/a/1.png", name]
    if message is None:
        assert len(read("folder", names)) == 4
    else:
        with pytest.raises(DataError, match=message):
            read("folder", names)


@pytest.mark.parametrize("pattern", [r"/(p\d+)_", r"(?P<number>\d+)?.*/(?P<group>p\d+)_"])
def test_group_pattern_finds_the_patient(read: Read, pattern: str) -> None:
    found = read("folder", ["a/p1_1.png", "b/p2_1.png", "b/other.png"], group_pattern=pattern)
    assert [listing.group for listing in found] == ["p1", None, "p2"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("(", "not a regular expression"), (r"p\d+", "wanted one around"), (r"(q\d+)", "fits none of the 1 images")],
)
def test_group_pattern_that_cannot_work_is_refused(read: Read, pattern: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read("folder", ["a/p1_1.png"], group_pattern=pattern)


@pytest.mark.parametrize(
    ("source", "file", "images", "groups"),
    [
        ("breast", "breakhis_400x.txt", 1768, 69),
        ("breast", "breakhis_v1_all_paths.txt", 1768, 69),
        ("colorectal", "kather2016_tiles.txt", 5000, 313),
        ("pneumonia", "kermany_chest_xray.txt", 5840, None),
    ],
)
def test_every_real_name_parses(
    listed: Callable[..., list[Listing]], shared: Path, source: str, file: str, images: int, groups: int | None
) -> None:
    names = (shared / "names" / file).read_text(encoding="utf-8").split()
    found = listed(source, names)
    assert len(found) == images
    got = {listing.group for listing in found}
    assert None not in got
    assert groups is None or len(got) == groups
    if source == "pneumonia":
        assert len({listing.subset for listing in found}) == 2


def test_line_breaks_in_file_names_break_no_message(read: Read) -> None:
    """Found by fuzzing. A name can move the cursor as well, and hold bytes that are no text."""
    with pytest.raises(DataError) as caught:
        read("breast", ["a\nb\x1b[2J\x9b.png"])
    assert r"a\nb\x1b[2J\x9b.png" in str(caught.value)
    assert str(caught.value).isprintable()
