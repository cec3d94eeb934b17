"""`lowres-ssl init`: what it says of a folder, that what it prints can be typed, and that it replaces nothing."""

import re
import shlex
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typed import SMALL, UNTRAINED, Answer, Command, paint

from lowres_ssl.inference.load import load_portable_encoder
from lowres_ssl.runs.run import find_run

Paint = Callable[..., None]


def folder_of(root: Path, *classes: str, images: int = 12, name: str = "{number}.png") -> Path:
    """Class folders of small colour images, a shade each."""
    for place, label in enumerate(classes):
        for number in range(images):
            paint(root / label / name.format(number=number), 60 + 60 * place, seed=100 * place + number, size=32)
    return root


def command_in(answer: Answer) -> list[str]:
    """The words of the first training that was printed, without `lowres-ssl`."""
    assert answer.code == 0, answer.err
    line, *_ = re.findall(r"^  lowres-ssl (pretrain .*)$", answer.out, re.MULTILINE)
    return shlex.split(line)


def written(tmp_path: Path, name: str) -> str:
    return (tmp_path / "lowres_ssl_conf" / "dataset" / f"{name}.yaml").read_text(encoding="utf-8")


def test_command_that_is_printed_runs_as_it_stands(lowres_ssl: Command, tmp_path: Path) -> None:
    folder_of(tmp_path / "cells", "dark", "light")
    answer = lowres_ssl("init", "cells")
    words = command_in(answer)
    assert re.search(r"^dark +12$", answer.out, re.MULTILINE)
    assert "32 x 32, all of them" in answer.out
    assert "none, byte for byte" in answer.out
    sides = re.search(r"^split +stratified: (\d+) train, (\d+) validate, (\d+) test$", answer.out, re.MULTILINE)
    assert sides is not None
    assert sum(map(int, sides.groups())) == 24
    assert not (tmp_path / "cells" / ".lowres-ssl-key").exists()
    done = lowres_ssl(*words, "dry_run=true")
    assert done.code == 0, done.err
    assert "cells-dcl" in done.out
    assert lowres_ssl("data", "dataset=cells").code == 0
    assert "cells" in lowres_ssl("data").out


AWKWARD = ['it\'s "mine", [x] = {y: 1}', "${oc.env:HOME}", "-Größe & Form", r"# a\b: null"]


@pytest.mark.parametrize("name", AWKWARD)
def test_whatever_the_folder_is_called_its_config_finds_it(lowres_ssl: Command, tmp_path: Path, name: str) -> None:
    folder_of(tmp_path / name, "klasse 1", "größer, [2]", images=5)
    typed = f"./{name}" if name.startswith("-") else name
    words = command_in(lowres_ssl("init", typed))
    dataset = next(word for word in words if word.startswith("dataset="))
    assert re.fullmatch(r"dataset=[A-Za-z][A-Za-z0-9_-]*", dataset)
    answer = lowres_ssl("data", dataset)
    assert answer.code == 0, answer.err
    assert "größer, [2]" in answer.out
    assert re.search(r"^klasse 1 +5", answer.out, re.MULTILINE)


def test_config_is_written_once_and_replaced_only_by_force(lowres_ssl: Command, tmp_path: Path) -> None:
    folder_of(tmp_path / "cells", "dark", "light")
    assert lowres_ssl("init", "cells").code == 0
    first = written(tmp_path, "cells")
    again = lowres_ssl("init", "cells")
    assert again.code == 0
    assert "There already, just so" in again.out
    path = tmp_path / "lowres_ssl_conf" / "dataset" / "cells.yaml"
    path.write_text(first + "# mine\n")
    refused = lowres_ssl("init", "cells")
    assert refused.code == 2
    assert "force=true" in refused.last_line
    assert path.read_text() == first + "# mine\n"
    assert lowres_ssl("init", "cells", "force=true").code == 0
    assert path.read_text() == first
    assert lowres_ssl("init", "cells", "name=others", "images=xray").code == 0
    assert "override /images@_global_.images: xray" in written(tmp_path, "others")


def test_root_is_told_so_that_the_project_may_move(
    lowres_ssl: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_of(tmp_path / "data" / "inside", "a", "b")
    folder_of(tmp_path / "beside" / "it", "a", "b")
    assert lowres_ssl("init", "data/inside").code == 0
    assert lowres_ssl("init", str(tmp_path / "beside" / "it")).code == 0
    assert 'root: "${data_dir}/inside"' in written(tmp_path, "inside")
    assert 'root: "beside/it"' in written(tmp_path, "it")
    monkeypatch.setenv("LOWRES_SSL_CONF", str(tmp_path / "elsewhere"))
    assert lowres_ssl("init", "beside/it").code == 0
    said = (tmp_path / "elsewhere" / "dataset" / "it.yaml").read_text()
    assert f'root: "{tmp_path}/beside/it"' in said
    monkeypatch.chdir("/")
    assert lowres_ssl("data", "dataset=it", f"output_dir={tmp_path / 'out'}").code == 0


def test_own_config_never_replaces_one_that_comes_with_the_package(lowres_ssl: Command, tmp_path: Path) -> None:
    own = tmp_path / "lowres_ssl_conf"
    (own / "dataset").mkdir(parents=True)
    (own / "dataset" / "phantom.yaml").write_text("name: hijacked\n")
    (own / "pretrain.yaml").write_text("seed: 7\n")
    answer = lowres_ssl("pretrain", "--cfg", "job")
    assert answer.code == 0, answer.err
    assert "hijacked" not in answer.out
    assert "\nseed: 0\n" in answer.out
    folder_of(tmp_path / "phantom", "a", "b")
    assert "dataset=my_phantom" in lowres_ssl("init", "phantom").out
    assert lowres_ssl("init", "phantom", "name=phantom").code == 2


def test_patients_in_names_are_guessed_and_used(lowres_ssl: Command, tmp_path: Path) -> None:
    for label in ("a", "b"):
        for patient in range(8):
            for number in range(3):
                name = f"patient{patient + 8 * (label == 'b')}_{number}.png"
                paint(tmp_path / "set" / label / name, 90, seed=1000 * (label == "b") + 10 * patient + number, size=32)
    answer = lowres_ssl("init", "set")
    words = command_in(answer)
    assert not [word for word in words if word.startswith("split=")]  # the default, where patients are known
    assert re.search(r"^split +patient: ", answer.out, re.MULTILINE)
    assert r'group_pattern: "(patient\\d+)"' in written(tmp_path, "set")
    assert "16 in 48 images" in answer.out
    assert lowres_ssl(*words, "method=random", "dry_run=true").code == 0
    assert re.search(r"^split +patient, split_seed 0", lowres_ssl("data", "dataset=set").out, re.MULTILINE)


def test_patients_that_cannot_be_divided_are_told_and_a_split_without_them_typed(
    lowres_ssl: Command, tmp_path: Path
) -> None:
    rows = ["path,label,patient"]
    for number in range(30):
        paint(tmp_path / "tab" / f"{number}.png", 40 + 5 * number, seed=number, size=32)
        rows.append(f"{number}.png,{'ab'[number % 2]},{number // 2 if number % 2 else 'only'}")
    (tmp_path / "tab" / "labels.csv").write_text("\n".join(rows))
    answer = lowres_ssl("init", "tab")
    words = command_in(answer)
    assert "only one patient or group of class a" in answer.err
    assert "split=stratified" in words
    assert re.search(r"^ +split=stratified +its patients cannot be divided", answer.out, re.MULTILINE)
    assert lowres_ssl(*words, "method=random", "dry_run=true").code == 0
    refused = lowres_ssl("data", "dataset=tab")
    assert refused.code == 3
    assert refused.last_line.endswith("type split=stratified")


def test_classes_that_are_spelt_almost_alike_are_named(lowres_ssl: Command, tmp_path: Path) -> None:
    answer = lowres_ssl("init", str(folder_of(tmp_path / "cells", "dark cell", "Dark  cell", "light")))
    assert answer.code == 0, answer.err
    assert "'Dark  cell', 'dark cell' differ in case or spaces only" in answer.err


def test_published_set_is_known_by_its_names_if_all_its_classes_are_there(lowres_ssl: Command, tmp_path: Path) -> None:
    xrays = {"NORMAL": "IM-{:04}-0001.jpeg", "PNEUMONIA": "person{}_virus_7.jpeg"}
    for place, (label, name) in enumerate(xrays.items()):
        for number in range(12):
            paint(tmp_path / "chest" / label / name.format(number), 90, seed=100 * place + number, size=32)
    tiles = folder_of(
        tmp_path / "tiles", "01_TUMOR", "02_STROMA", name="{number}_CRC-Prim-HE-03_009.tif_Row_1_Col_1.tif"
    )
    assert len(list(tiles.rglob("*.tif"))) == 24
    assert "dataset=pneumonia: the file names are that set's" in lowres_ssl("init", "chest").out
    assert "  - pneumonia\n" in written(tmp_path, "chest")
    assert lowres_ssl("init", "tiles").code == 0  # six of the published classes are not there
    assert "  - folder\n" in written(tmp_path, "tiles")
    assert lowres_ssl("data", "dataset=tiles").code == 0


def test_table_of_labels_is_found_with_its_columns(lowres_ssl: Command, tmp_path: Path) -> None:
    rows = ["image_id;diagnosis;patient_id;set"]  # the last is none of train, val and test
    for number in range(30):
        paint(tmp_path / "skin" / "images" / f"ISIC_{number}.jpg", 40 + 5 * number, seed=number, size=32)
        rows.append(
            f"ISIC_{number};{'nevus' if number % 2 else 'melanoma'};{f'Doe-{number // 2}' if number else ''};{number}"
        )
    (tmp_path / "skin" / "labels.csv").write_text("\n".join(rows))
    answer = lowres_ssl("init", "skin")
    words = command_in(answer)
    assert "a table of labels (table: labels.csv, path: image_id, label: diagnosis, patient: patient_id)" in answer.out
    assert "15, by the table; 1 image without one, each taken for a patient of its own" in answer.out
    assert re.search(r"^nevus +15$", answer.out, re.MULTILINE)
    said = written(tmp_path, "skin")
    assert 'table: "labels.csv"' in said
    kept = [word for word in words if word.split("=")[0] in ("dataset", "split", "recipe")]
    done = lowres_ssl("pretrain", "method=random", *kept, *UNTRAINED)
    assert done.code == 0, done.err
    untold(tmp_path / "outputs", "Doe-")


def untold(folder: Path, name: str) -> None:
    """No file below `folder` has the name, also not in a compressed array."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert files
    for file in files:
        assert name.encode() not in file.read_bytes(), file
        if file.suffix == ".npz":
            with np.load(file) as arrays:
                assert not [each for each in arrays if name in str(arrays[each].tolist())], file


def test_dicom_is_found_with_its_patients_which_are_not_told(lowres_ssl: Command, tmp_path: Path) -> None:
    make = pytest.importorskip("dicom_files", reason="the extra dicom is not installed").make
    for number in range(24):
        pixels = np.random.default_rng(number).integers(0, 4096, (32, 32), dtype=np.uint16)
        label = "ill" if number % 4 > 1 else "well"
        path = make(tmp_path / "ct" / label / f"{number}.dcm", pixels, PatientID=f"Doe-{number // 2}")
    path.rename(path.with_name("IM0001"))
    answer = lowres_ssl("init", "ct")
    words = command_in(answer)
    assert "12, by the DICOM files" in answer.out
    assert "other files" not in answer.out
    assert re.search(r"^split +patient: ", answer.out, re.MULTILINE)
    assert "override /images@_global_.images: xray" in written(tmp_path, "ct")
    kept = [word for word in words if word.split("=")[0] in ("pretrain", "dataset", "method", "recipe", "split")]
    done = lowres_ssl(*kept, *SMALL)
    assert done.code == 0, done.err
    for folder in ("outputs", "lowres_ssl_conf"):
        untold(tmp_path / folder, "Doe-")
    assert "Doe-" not in answer.out + answer.err + done.out + done.err


def test_what_cannot_be_read_is_left_out_from_then_on(lowres_ssl: Command, tmp_path: Path) -> None:
    folder_of(tmp_path / "cells", "dark", "light")
    (tmp_path / "cells" / "dark" / "bad.png").write_bytes(b"no image")
    rows = ["path,label"]
    for number in range(30):
        paint(tmp_path / "tab" / f"{number}.png", 40 + 5 * number, seed=number, size=32)
        rows.append(f"{number}.png,{'ab'[number % 2]}")
    (tmp_path / "tab" / "labels.csv").write_text("\n".join([*rows, "gone.png,a"]))
    for name, key, named in (("cells", "skip_unreadable", "bad.png"), ("tab", "skip_missing", "missing file")):
        answer = lowres_ssl("init", name)
        words = command_in(answer)
        assert f"{key}: true" in written(tmp_path, name)
        assert named in answer.err
        assert lowres_ssl(*words, "method=random", "dry_run=true").code == 0


def test_what_is_no_image_of_the_set_is_left_out_by_the_config(lowres_ssl: Command, tmp_path: Path) -> None:
    root = folder_of(tmp_path / "set", "a", "b", "c")
    for number in range(12):
        Image.new("L", (32, 32)).save(root / "a" / f"{number}_mask.png")
    for label in ("rare", "odd"):
        paint(root / label / "x.png", 99, seed=1, size=32)
    (root / "c" / "0.png").write_bytes((root / "c" / "0.png").read_bytes()[:-500])  # its header is whole
    for number in range(3):
        (root / "lost").mkdir(exist_ok=True)
        (root / "lost" / f"{number}.png").write_bytes(b"no image")
    answer = lowres_ssl("init", "set", "name=s")
    words = command_in(answer)
    assert re.search(r"^left out +12 masks: \*_mask\*; ", answer.out, re.MULTILINE)
    assert re.search(r"^unreadable +4 files, for one ", answer.out, re.MULTILINE)
    text = written(tmp_path, "s")
    assert 'exclude: ["*_mask*"]   # 12 masks' in text
    assert "skip_unreadable: true   # 4 files" in text
    assert 'exclude_classes: ["lost"]' in text
    assert "min_class_images: 2" in text
    assert "2 classes: odd (1), rare (1) left out" in answer.err
    assert lowres_ssl(*words, "dry_run=true").code == 0
    assert re.search(r"^all +35 ", lowres_ssl("data", "dataset=s", "prepare=true").out, re.MULTILINE)


def test_who_stands_in_the_folder_of_the_images_sees_none_of_the_runs(lowres_ssl: Command, tmp_path: Path) -> None:
    folder_of(tmp_path, "dark", "light")
    words = command_in(lowres_ssl("init", ".", "name=s"))
    kept = [word for word in words if word.split("=")[0] in ("pretrain", "dataset", "recipe")]
    assert lowres_ssl(*kept, "method=random", *UNTRAINED).code == 0
    assert (tmp_path / "outputs" / "pretrain").is_dir()
    assert list(tmp_path.rglob("tsne.png"))
    again = lowres_ssl("data", "dataset=s")
    assert again.code == 0, again.err
    assert "outputs" not in again.out.split("pixels")[0].partition("\n")[2]
    assert re.search(r"^all +24 ", again.out, re.MULTILINE)
    assert "outputs" not in again.err


@pytest.mark.parametrize("place", ["", "all", "2021-03-0{}", "p{}"])
def test_images_without_labels_are_trained_on_and_embedded_and_never_scored(
    lowres_ssl: Command, tmp_path: Path, place: str
) -> None:
    for number in range(16):
        paint(tmp_path / "set" / place.format(number % 4) / f"{number}.png", 60 + number, seed=number, size=32)
    answer = lowres_ssl("init", "set", "name=s")
    words = command_in(answer)
    assert "labelled: false" in written(tmp_path, "s")
    assert ("if they are classes, type lowres-ssl init set labelled=true force=true" in answer.err) == ("{}" in place)
    assert not any(word.startswith("probe") for word in words)
    assert "lowres-ssl embed run=RUN images=set" in answer.out
    kept = [word for word in words if word.split("=")[0] in ("pretrain", "dataset", "recipe")]
    done = lowres_ssl(*kept, "method=random", *UNTRAINED)
    assert done.code == 0, done.err
    assert not list((tmp_path / "outputs").rglob("result.json"))
    (line,) = re.findall(
        r"^set: no labels, so nothing is scored; for the features type lowres-ssl (.*)$", done.out, re.M
    )
    assert lowres_ssl(*shlex.split(line)).code == 0
    for refused in (["benchmark", "dataset=s", "budget=1min"], [*kept, "method=supervised", *SMALL]):
        answer = lowres_ssl(*refused)
        assert (answer.code, "no labels, which" in answer.last_line) == (3, True), answer.err


def test_what_is_typed_to_init_counts_more_than_its_guesses(lowres_ssl: Command, tmp_path: Path) -> None:
    folder_of(tmp_path / "set", "day1", "day2", "artefacts")
    assert lowres_ssl("init", "set", "name=s", "labelled=true", "exclude=[artefacts]").code == 0
    text = written(tmp_path, "s")
    assert "24 images in 2 classes" in text
    assert 'exclude: ["artefacts"]   # 12 images' in text
    assert "labelled" not in text
    refused = lowres_ssl("init", "set", "name=s", "exclude=[nothing]")
    assert (refused.code, "exclude=nothing" in refused.last_line) == (2, True)


def no_images(root: Path) -> None:
    root.mkdir()
    (root / "1.nii.gz").touch()


def nothing_readable(root: Path) -> None:
    for label in "ab":
        (root / label).mkdir(parents=True)
        (root / label / "x.png").write_bytes(b"no image")


def other_table(root: Path) -> None:
    paint(root / "1.png", 100, seed=1)
    (root / "t.csv").write_text("file,a,b\n1.png,1,2\n")


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda root: None, "no such folder"),
    "empty": (lambda root: root.mkdir(), "got an empty folder"),
    "a file": (lambda root: root.write_text("x"), "a file"),
    "no images": (no_images, "1 volume (1 .nii.gz): save the slices"),
    "nothing that can be read": (
        nothing_readable,
        "none of its 2 image files can be read, for one a/x.png: its content",
    ),
    "a table without a label": (other_table, "label"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_folder_that_holds_no_set_is_refused_in_one_line(lowres_ssl: Command, tmp_path: Path, fault: str) -> None:
    make, named = FAULTS[fault]
    make(tmp_path / "set")
    answer = lowres_ssl("init", "set")
    assert answer.code == 3, answer.err
    assert "Traceback" not in answer.err
    assert named in answer.last_line
    assert not (tmp_path / "lowres_ssl_conf").exists()


@pytest.mark.parametrize("name", ["set.tar.gz", "SET.ZIP", "scan.zip.png"])
def test_archive_or_file_is_no_folder(lowres_ssl: Command, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    answer = lowres_ssl("init", name)
    assert answer.code == 3
    assert ("unpack" in answer.last_line) == (not name.endswith(".png"))


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], "got no folder"),
        (["one", "two"], "two: cannot be read"),
        (["set", "name=with space"], "name=with_space"),
        (["set", "name=breast"], "name=breast"),
        (["set", "images=ct"], "images=ct"),
        (["set", "nmae=x"], "'nmae'"),
    ],
)
def test_what_is_typed_wrong_is_refused(lowres_ssl: Command, tmp_path: Path, words: list[str], named: str) -> None:
    folder_of(tmp_path / "set", "a", "b", images=2)
    answer = lowres_ssl("init", *words)
    assert answer.code == 2, answer.err
    assert named in answer.last_line


def test_real_blood_cells_are_coloured_and_their_names_tell_no_patients(
    lowres_ssl: Command, shared: Path, tmp_path: Path
) -> None:
    answer = lowres_ssl("init", str(shared / "blood_cells"), "name=cells")
    assert {"dataset=cells", "batch_size=64", "probe.knn.k=22"} <= set(command_in(answer))
    assert "images: histology" in written(tmp_path, "cells")
    assert "nothing in the names looks like patients" in answer.out


def test_twelve_bits_in_sixteen_are_noticed_and_shown_whole_ever_after(lowres_ssl: Command, tmp_path: Path) -> None:
    for number in range(40):
        pixels = np.random.default_rng(number).integers(0, 4096, (32, 32), dtype=np.uint16)
        path = tmp_path / "deep" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            Image.fromarray(pixels).save(path)
    answer = lowres_ssl("init", "deep")
    assert "grey (40 of 40 looked at); 12 of 16 bits are in use" in answer.out
    assert "grey_range: [0, 4095]" in written(tmp_path, "deep")
    done = lowres_ssl("pretrain", "method=random", "dataset=deep", *UNTRAINED)
    assert done.code == 0, done.err
    (store,) = (tmp_path / "outputs" / "stores").glob("deep-*/images.npy")
    assert np.load(store).max() > 200
    (run,) = (tmp_path / "outputs" / "pretrain").glob("*-random-s*")
    encoder = load_portable_encoder(find_run(tmp_path / "outputs", str(run)))
    assert encoder.preprocessing.grey_range == (0, 4095)
