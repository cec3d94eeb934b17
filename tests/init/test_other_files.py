"""Files that are no images: volumes, slides and videos by name, with what to do with them."""

from collections import Counter
from pathlib import Path

from lowres_ssl.init.other_files import count_other_files, format_other_files


def test_files_are_counted_by_suffix_and_volumes_with_both_of_theirs(tmp_path: Path) -> None:
    for name in ("a/1.NII.gz", "a/2.nii.gz", "b/x.tar.gz", "b/1.png", "read me.txt", "README", ".hidden", "x.y.mha"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "outputs" / "stores").mkdir(parents=True)
    (tmp_path / "outputs" / "stores" / "index-12345678.json").touch()
    assert count_other_files(tmp_path) == Counter({".nii.gz": 2, ".gz": 1, ".txt": 1, "": 1, ".mha": 1})


def test_each_kind_is_named_with_what_to_do() -> None:
    others = Counter({".nii.gz": 8, ".mha": 1, ".svs": 1, ".avi": 2, ".gif": 3, ".zip": 1, ".txt": 1200, "": 1})
    assert format_other_files(others).split("; ") == [
        "9 volumes (8 .nii.gz, 1 .mha): save the slices that count as .png (docs/own_data.md shows how)",
        "1 slide (1 .svs): save tiles of it as .png",
        "2 videos (2 .avi): save frames of it as .png",
        "3 pictures (3 .gif): save it as .png",
        "1 archive (1 .zip): unpack it",
        "1,201 other files (1,200 .txt, 1 without a suffix)",
    ]
    assert format_other_files(Counter()) == ""
