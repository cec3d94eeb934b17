"""What `embed` and `predict` are given: folders, files, patterns, arrays, Pillow's images, and lists of these."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from in_process import type_command
from made_runs import Made
from numpy.typing import NDArray
from PIL import Image

from lowres_ssl import embed, predict
from lowres_ssl.data.decode import read_image
from lowres_ssl.errors import ConfigError, DataError
from lowres_ssl.inference.given_images import list_given_images
from lowres_ssl.inference.load import PortableEncoder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder whose own name is no pattern."""
    root = tmp_path / "[old] * set"
    for name in ("scans/a/2.png", "scans/a/1.png", "scans/b/1.png", "scans/b/deep/x.png", "other.bin"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / "link").symlink_to(root / "scans")
    monkeypatch.chdir(root)
    return root


EVERYTHING = ["a/1.png", "a/2.png", "b/1.png", "b/deep/x.png"]


def test_names_may_be_left_out_of_folders(folder: Path) -> None:
    given = list_given_images(["scans", "scans/b/1.png"], exclude=["deep", "1.png"])
    assert [id for _, id in given.files] == ["a/2.png", "b/1.png"]
    with pytest.raises(DataError, match="no images there"):
        list_given_images("scans", exclude=["*.png"])
    assert list_given_images(given) is given


@pytest.mark.parametrize(
    ("given", "ids"),
    [
        ("scans", EVERYTHING),
        ("link", EVERYTHING),
        (["scans"], EVERYTHING),
        (["scans/a", Path("scans/b")], EVERYTHING),
        ("scans/a/2.png", ["2.png"]),
        ("other.bin", ["other.bin"]),
        (["scans/b/1.png", "scans/../scans/a/1.png"], ["b/1.png", "a/1.png"]),
        (["scans/a/2.png", "scans/a/1.png", "scans/a/2.png"], ["2.png", "1.png", "2.png"]),
        (["scans/b", "other.bin"], ["scans/b/1.png", "scans/b/deep/x.png", "other.bin"]),
        ("scans/*/1.png", ["a/1.png", "b/1.png"]),
        ("scans/**/*.png", EVERYTHING),
    ],
    ids=str,
)
def test_files_are_named_below_the_folder_that_all_are_in(folder: Path, given: Any, ids: list[str]) -> None:
    found = list_given_images(given)
    assert [id for _, id in found.files] == ids
    assert all(isinstance(path, Path) and path.is_file() for path, _ in found.files)
    assert len(found.sources) == (len(given) if isinstance(given, list) else 1)
    assert all(Path(each).is_absolute() for each in found.sources)


@pytest.mark.parametrize("given", ["nope", "nope.png", "nope/*.png", ["scans", "nope"]], ids=str)
def test_what_is_not_there_is_named(folder: Path, given: Any) -> None:
    with pytest.raises(DataError, match=r"nope\S*: no such file or folder; type images=FOLDER"):
        list_given_images(given)


def ramp(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    return (np.arange(np.prod(shape)) % 251).reshape(shape).astype(np.uint8)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (ramp((6, 5)), [ramp((6, 5))]),
        (ramp((6, 5, 3)), [ramp((6, 5, 3))]),
        (ramp((2, 6, 5)), [*ramp((2, 6, 5))]),
        (ramp((2, 6, 5, 3)), [*ramp((2, 6, 5, 3))]),
        (torch.from_numpy(ramp((2, 6, 5))), [*ramp((2, 6, 5))]),
        (ramp((6, 5)) / 255, [ramp((6, 5))]),
        (ramp((6, 5, 3)).astype(np.float16) / 255, [ramp((6, 5, 3))]),
        (ramp((6, 5)).astype(np.uint16) * 257, [ramp((6, 5))]),
        (Image.fromarray(ramp((6, 5))), [ramp((6, 5))]),
        ([ramp((2, 6, 5)), Image.fromarray(ramp((4, 4, 3)))], [*ramp((2, 6, 5)), ramp((4, 4, 3))]),
    ],
    ids=lambda each: None,
)
def test_arrays_and_images_in_memory_are_read_as_files_are(given: Any, wanted: list[NDArray[np.uint8]]) -> None:
    found = list_given_images(given)
    assert [id for _, id in found.files] == [str(place) for place in range(len(wanted))]
    assert found.sources == []
    for (image, _), values in zip(found.files, wanted, strict=True):
        np.testing.assert_allclose(np.asarray(read_image(image)).astype(int), values, atol=1)


@pytest.mark.parametrize(
    "given", [np.zeros(4, np.uint8), np.zeros((2, 3, 4, 5), np.uint8), np.zeros((4, 4), np.int64), []]
)
def test_other_arrays_and_empty_lists_are_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match=r"^images: got an "):
        list_given_images(given)


def test_features_are_the_same_however_images_are_given(made: Made, encoder: PortableEncoder) -> None:
    files = sorted((made.images / "größe").glob("*.png"))[:3]
    found = embed(encoder, files)
    pictures = [read_image(path) for path in files]
    for given in (pictures, np.stack([np.asarray(each) for each in pictures])):
        np.testing.assert_array_equal(embed(encoder, given).features, found.features)
    assert predict(encoder, files[0], probe="logistic").labels == predict(encoder, files, probe="logistic").labels[:1]


def test_images_in_memory_are_not_written(encoder: PortableEncoder, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^folder: got images in memory"):
        embed(encoder, np.zeros((20, 20), np.uint8), folder=tmp_path, formats=["npz"])


def test_commands_take_lists_and_files(made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = (made.images / name for name in ("größe", "dark ones"))
    typed = f"run={made.run}", f"output_dir={made.outputs}"
    assert type_command("embed", *typed, f"images=[{one},{other}]", "formats=[npz]") == 0
    with np.load(made.outputs / "embed" / made.run.name / "größe+dark ones" / "features.npz") as arrays:
        assert {id.split("/")[0] for id in arrays["id"]} == {"größe", "dark ones"}
    assert type_command("predict", *typed, f"images={one / '1.png'}", "probe=knn", "formats=[csv]") == 0
    assert "1 image labelled by KNN" in capsys.readouterr().out
