"""Sources read names and folders; these tests write empty files under real names."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lowres_ssl.data.datasets import Listing, build_source
from lowres_ssl.data.image_folder import scan_folder
from lowres_ssl.errors import ConfigError, DataError

Tree = Callable[..., Path]

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


def by_name(listings: list[Listing]) -> dict[str, Listing]:
    return {listing.path.name: listing for listing in listings}


def test_every_breast_name_of_the_sample_parses(tree: Tree) -> None:
    found = by_name(build_source("breast", {}).listings(scan_folder(tree([*BREAST, *JUNK]))))
    assert set(found) == set(BREAST)
    for name, listing in found.items():
        assert listing.label == {"B": "benign", "M": "malignant"}[name[4]]
    groups = {name: listing.group for name, listing in found.items()}
    assert {groups[name] for name in BREAST[:3]} == {"14-22549"}  # letters after the digits are parts of one case
    assert groups[BREAST[4]] == groups[BREAST[5]] == "14-13412"  # filed under two tumour types
    assert groups[BREAST[6]] == "15-190"


@pytest.mark.parametrize("prefix", ["", "BreaKHis_v1/", "BreaKHis_v1/histology_slides/breast/"])
def test_breast_ids_do_not_depend_on_wrapping_folders(tree: Tree, prefix: str) -> None:
    inner = [
        "benign/SOB/adenosis/SOB_B_A_14-22549AB/400X/SOB_B_A-14-22549AB-400-001.png",
        "malignant/SOB/ductal_carcinoma/SOB_M_DC_14-11031/400X/SOB_M_DC-14-11031-400-001.png",
        "malignant/SOB/ductal_carcinoma/SOB_M_DC_14-11031/40X/SOB_M_DC-14-11031-40-001.png",
    ]
    found = build_source("breast", {}).listings(scan_folder(tree([*(prefix + name for name in inner), "README.txt"])))
    assert [listing.id for listing in found] == inner[:2]


def test_breast_takes_the_magnification_asked_for(tree: Tree) -> None:
    root = tree(["benign/SOB_B_A-14-22549AB-40-001.png", "benign/SOB_B_A-14-22549AB-400-001.png"])
    (listing,) = build_source("breast", {"magnification": 40}).listings(scan_folder(root))
    assert listing.path.name == "SOB_B_A-14-22549AB-40-001.png"
    with pytest.raises(DataError, match="no image at 100x, got 40, 400"):
        build_source("breast", {"magnification": 100}).listings(scan_folder(root))
    with pytest.raises(ConfigError, match="magnification=7: wanted one of 40, 100, 200, 400"):
        build_source("breast", {"magnification": 7})


def test_every_colorectal_name_of_the_sample_parses(tree: Tree) -> None:
    found = build_source("colorectal", {}).listings(scan_folder(tree([*COLORECTAL, *JUNK])))
    assert [listing.id for listing in found] == sorted(COLORECTAL)
    assert [listing.label for listing in found] == [listing.id.split("/")[0] for listing in found]
    groups = by_name(found)
    assert groups["10062_CRC-Prim-HE-02_003b.tif_Row_1_Col_301.tif"].group == "CRC-Prim-HE-02_003b"
    assert groups["1001B_CRC-Prim-HE-06.tif_Row_301_Col_1.tif"].group == "CRC-Prim-HE-06"


def test_colorectal_ids_do_not_depend_on_what_lies_beside(tree: Tree) -> None:
    top = "Kather_texture_2016_image_tiles_5000"
    root = tree([*(f"{top}/{top}/{name}" for name in COLORECTAL), "Kather_texture_2016_larger_images_10/big.tif"])
    assert [listing.id for listing in build_source("colorectal", {}).listings(scan_folder(root))] == sorted(COLORECTAL)


def test_every_pneumonia_name_of_the_sample_parses(tree: Tree) -> None:
    found = build_source("pneumonia", {}).listings(scan_folder(tree([*PNEUMONIA, *JUNK])))
    assert [listing.id for listing in found] == sorted(PNEUMONIA)
    assert all(listing.group for listing in found)
    assert all(f"{listing.subset}/{listing.label}/" in listing.id for listing in found)
    groups = {listing.path.name: listing.group for listing in found}
    assert groups["person447_virus_921_1.jpeg"] == "PNEUMONIA/person447"
    assert groups["person1000_virus_1681.jpeg"] == groups["person1000_bacteria_2931.jpeg"]
    assert groups["IM-0011-0001-0001.jpeg"] == "NORMAL/IM-0011"
    assert groups["NORMAL2-IM-0019-0001.jpeg"] == "NORMAL/NORMAL2-IM-0019"
    assert groups["BACTERIA-1008087-0001.jpeg"] == "PNEUMONIA/1008087"


def test_pneumonia_copy_inside_the_tree_is_ignored(tree: Tree) -> None:
    names = [*PNEUMONIA, *(f"chest_xray/{name}" for name in PNEUMONIA), *(f"__MACOSX/{name}" for name in PNEUMONIA)]
    found = build_source("pneumonia", {}).listings(scan_folder(tree(f"chest_xray/{name}" for name in names)))
    assert [listing.id for listing in found] == sorted(PNEUMONIA)
    assert not any("chest_xray/chest_xray" in str(listing.path) for listing in found)


def test_folder_of_class_folders(tree: Tree) -> None:
    root = tree(["b/2.PNG", "a/deep/er/1.webp", "a/x.txt", "beside.png", *JUNK])
    found = build_source("folder", {}).listings(scan_folder(root))
    assert [(listing.id, listing.label, listing.subset) for listing in found] == [
        ("a/deep/er/1.webp", "a", None),
        ("b/2.PNG", "b", None),
    ]


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Training", "validation", "testing")])
def test_folder_that_comes_divided(tree: Tree, names: tuple[str, str, str]) -> None:
    root = tree([f"{side}/{label}/1.png" for side in names for label in "ab"] + ["other/c/1.png"])
    found = build_source("folder", {}).listings(scan_folder(root))
    subsets = dict(zip(names, ("train", "val", "test"), strict=True))
    assert len(found) == 6
    assert all(listing.subset == subsets[listing.id.split("/")[0]] for listing in found)
    assert {listing.label for listing in found} == {"a", "b"}


def test_folder_with_classes_called_train_and_test_is_not_divided(tree: Tree) -> None:
    found = build_source("folder", {}).listings(scan_folder(tree(["train/1.png", "test/2.png"])))
    assert [(listing.label, listing.subset) for listing in found] == [("test", None), ("train", None)]


def test_class_missing_from_test_is_fine_and_from_train_is_not(tree: Tree) -> None:
    root = tree(["train/a/1.png", "train/b/1.png", "test/a/2.png"])
    assert len(build_source("folder", {}).listings(scan_folder(root))) == 3
    (root / "test" / "c").mkdir()
    (root / "test" / "c" / "1.png").touch()
    with pytest.raises(DataError, match="class c has no training image, got a, b; add a folder train/c"):
        build_source("folder", {}).listings(scan_folder(root))


def test_class_spelt_otherwise_in_train_is_named(tree: Tree) -> None:
    root = tree(["train/Ill/1.png", "train/Well/1.png", "test/ill /2.png"])
    with pytest.raises(DataError, match=r"'ill ' has no training image, but 'Ill' has; .*rename"):
        build_source("folder", {}).listings(scan_folder(root))


def test_label_pattern_finds_the_class_in_names_without_folders(tree: Tree) -> None:
    root = tree(["img_001_malignant.png", "img_002_benign.png", "img_003.png"])
    found = build_source("folder", {"label_pattern": r"_([a-z]+)\."}).listings(scan_folder(root))
    assert [each.label for each in found] == ["malignant", "benign"]


@pytest.mark.parametrize("pattern", [r"/(p\d+)_", r"(?P<number>\d+)?.*/(?P<group>p\d+)_"])
def test_group_pattern_finds_the_patient(tree: Tree, pattern: str) -> None:
    found = build_source("folder", {"group_pattern": pattern}).listings(
        scan_folder(tree(["a/p1_1.png", "b/p2_1.png", "b/other.png"]))
    )
    assert [listing.group for listing in found] == ["p1", None, "p2"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("(", "not a regular expression"), (r"p\d+", "wanted one around"), (r"(q\d+)", "fits none of the 1 images")],
)
def test_group_pattern_that_cannot_work_is_refused(tree: Tree, pattern: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_source("folder", {"group_pattern": pattern}).listings(scan_folder(tree(["a/p1_1.png"])))


def test_links_are_followed_and_never_in_circles(tree: Tree) -> None:
    root = tree(["a/1.png", "b/2.png"])
    (root / "a" / "up").symlink_to(root)
    (root / "c").symlink_to(root / "b")
    labels = {listing.label for listing in build_source("folder", {}).listings(scan_folder(root))}
    assert labels >= {"a"}


def test_ids_are_the_same_for_composed_and_decomposed_letters(tree: Tree) -> None:
    found = build_source("folder", {}).listings(scan_folder(tree(["u\u0308ber/1.png", "unter/2.png"])))
    assert [listing.id for listing in found] == ["unter/2.png", "\u00fcber/1.png"]


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


def test_line_breaks_in_file_names_break_no_message(tree: Tree) -> None:
    """Found by fuzzing. A name can move the cursor as well, and hold bytes that are no text."""
    root = tree(["a\nb\x1b[2J\x9b.png"])
    with pytest.raises(DataError) as caught:
        build_source("breast", {}).listings(scan_folder(root))
    assert r"a\nb\x1b[2J\x9b.png" in str(caught.value)
    assert str(caught.value).isprintable()
