"""`lowres-ssl init`: what it says of a folder, that what it prints can be typed, and that it replaces nothing."""

import re
import shlex
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_runs import SMALL, UNTRAINED, paint
from typed import Answer, Command, files_with, the_run

from lowres_ssl.inference.load import load_portable_encoder
from lowres_ssl.runs.run import find_run


def folder_of(root: str, *classes: str, images: int = 12, name: str = "{number}.png") -> Path:
    """Class folders of small colour images, a shade each."""
    for place, label in enumerate(classes):
        for number in range(images):
            path = Path(root, label, name.format(number=number))
            paint(path, 60 + 60 * place, seed=100 * place + number, size=32)
    return Path(root)


def table_of(root: str, rows: Sequence[str], name: str = "{number}.png") -> None:
    """`labels.csv` of these rows, the first of which are its heads, and an image for each other row."""
    for number in range(len(rows) - 1):
        paint(Path(root, name.format(number=number)), 40 + 5 * number, seed=number, size=32)
    Path(root, "labels.csv").write_text("\n".join(rows))


def command_in(answer: Answer) -> list[str]:
    """The words of the first training that was printed, without `lowres-ssl`."""
    line, *_ = re.findall(r"^  lowres-ssl (pretrain .*)$", answer.out, re.MULTILINE)
    return shlex.split(line)


def without_sizes(words: Sequence[str]) -> list[str]:
    """Those words of a training that can be typed with `SMALL` or `UNTRAINED`."""
    return [word for word in words if word.split("=")[0] in ("pretrain", "dataset", "method", "recipe", "split")]


def written(name: str) -> str:
    return Path("lowres_ssl_conf", "dataset", f"{name}.yaml").read_text(encoding="utf-8")


def test_command_that_is_printed_runs_as_it_stands(lowres_ssl: Command) -> None:
    folder_of("cells", "dark", "light")
    answer = lowres_ssl("init", "cells")
    assert re.search(r"^dark +12$", answer.out, re.MULTILINE)
    assert "32 x 32, all of them" in answer.out
    assert "none, byte for byte" in answer.out
    sides = re.search(r"^split +stratified: (\d+) train, (\d+) validate, (\d+) test$", answer.out, re.MULTILINE)
    assert sides is not None
    assert sum(map(int, sides.groups())) == 24
    assert not Path("cells/.lowres-ssl-key").exists()
    assert "cells-dcl" in lowres_ssl(*command_in(answer), "dry_run=true").out
    lowres_ssl("data", "dataset=cells")
    assert "cells" in lowres_ssl("data").out


@pytest.mark.parametrize("name", ['it\'s "mine", [x] = {y: 1}', "${oc.env:HOME}", "-Größe & Form", r"# a\b: null"])
def test_whatever_the_folder_is_called_its_config_finds_it(lowres_ssl: Command, name: str) -> None:
    folder_of(name, "klasse 1", "größer, [2]", images=5)
    words = command_in(lowres_ssl("init", f"./{name}" if name.startswith("-") else name))
    dataset = next(word for word in words if word.startswith("dataset="))
    assert re.fullmatch(r"dataset=[A-Za-z][A-Za-z0-9_-]*", dataset)
    answer = lowres_ssl("data", dataset)
    assert "größer, [2]" in answer.out
    assert re.search(r"^klasse 1 +5", answer.out, re.MULTILINE)


def test_config_is_written_once_and_replaced_only_by_force(lowres_ssl: Command) -> None:
    folder_of("cells", "dark", "light")
    lowres_ssl("init", "cells")
    first = written("cells")
    assert "There already, just so" in lowres_ssl("init", "cells").out
    Path("lowres_ssl_conf/dataset/cells.yaml").write_text(first + "# mine\n")
    assert "force=true" in lowres_ssl("init", "cells", code=2).last_line
    assert written("cells") == first + "# mine\n"
    lowres_ssl("init", "cells", "force=true")
    assert written("cells") == first
    lowres_ssl("init", "cells", "name=others", "images=xray")
    assert "override /images@_global_.images: xray" in written("others")


def test_root_is_told_so_that_the_project_may_move(
    lowres_ssl: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_of("data/inside", "a", "b")
    folder_of("beside/it", "a", "b")
    lowres_ssl("init", "data/inside")
    lowres_ssl("init", str(tmp_path / "beside" / "it"))
    assert 'root: "${data_dir}/inside"' in written("inside")
    assert 'root: "beside/it"' in written("it")
    monkeypatch.setenv("LOWRES_SSL_CONF", str(tmp_path / "elsewhere"))
    lowres_ssl("init", "beside/it")
    assert f'root: "{tmp_path}/beside/it"' in Path("elsewhere/dataset/it.yaml").read_text()
    monkeypatch.chdir("/")
    lowres_ssl("data", "dataset=it", f"output_dir={tmp_path / 'out'}")


def test_own_config_never_replaces_one_that_comes_with_the_package(lowres_ssl: Command) -> None:
    own = Path("lowres_ssl_conf")
    (own / "dataset").mkdir(parents=True)
    (own / "dataset" / "phantom.yaml").write_text("name: hijacked\n")
    (own / "pretrain.yaml").write_text("seed: 7\n")
    answer = lowres_ssl("pretrain", "--cfg", "job")
    assert "hijacked" not in answer.out
    assert "\nseed: 0\n" in answer.out
    folder_of("phantom", "a", "b")
    assert "dataset=my_phantom" in lowres_ssl("init", "phantom").out
    lowres_ssl("init", "phantom", "name=phantom", code=2)


def test_patients_in_names_are_guessed_and_used(lowres_ssl: Command) -> None:
    for patient in range(16):
        for number in range(3):
            path = Path("set", "ab"[patient // 8], f"patient{patient}_{number}.png")
            paint(path, 90, seed=10 * patient + number, size=32)
    answer = lowres_ssl("init", "set")
    words = command_in(answer)
    assert not [word for word in words if word.startswith("split=")]  # the default, where patients are known
    assert re.search(r"^split +patient: ", answer.out, re.MULTILINE)
    assert r'group_pattern: "(patient\\d+)"' in written("set")
    assert "16 in 48 images" in answer.out
    lowres_ssl(*words, "method=random", "dry_run=true")
    assert re.search(r"^split +patient, split_seed 0", lowres_ssl("data", "dataset=set").out, re.MULTILINE)


def test_patients_that_cannot_be_divided_are_told_and_a_split_without_them_typed(lowres_ssl: Command) -> None:
    rows = [f"{number}.png,{'ab'[number % 2]},{number // 2 if number % 2 else 'only'}" for number in range(30)]
    table_of("tab", ["path,label,patient", *rows])
    answer = lowres_ssl("init", "tab")
    words = command_in(answer)
    assert "only one patient or group of class a" in answer.err
    assert "split=stratified" in words
    assert re.search(r"^ +split=stratified +its patients cannot be divided", answer.out, re.MULTILINE)
    lowres_ssl(*words, "method=random", "dry_run=true")
    assert lowres_ssl("data", "dataset=tab", code=3).last_line.endswith("type split=stratified")


def test_classes_that_are_spelt_almost_alike_are_named(lowres_ssl: Command) -> None:
    answer = lowres_ssl("init", str(folder_of("cells", "dark cell", "Dark  cell", "light")))
    assert "'Dark  cell', 'dark cell' differ in case or spaces only" in answer.err


def test_published_set_is_known_by_its_names_if_all_its_classes_are_there(lowres_ssl: Command) -> None:
    folder_of("chest", "NORMAL", name="IM-{number:04}-0001.jpeg")
    folder_of("chest", "PNEUMONIA", name="person{number}_virus_7.jpeg")
    assert "dataset=pneumonia: the file names are that set's" in lowres_ssl("init", "chest").out
    assert "  - pneumonia\n" in written("chest")
    folder_of("tiles", "01_TUMOR", "02_STROMA", name="{number}_CRC-Prim-HE-03_009.tif_Row_1_Col_1.tif")
    lowres_ssl("init", "tiles")  # six of the published classes are not there
    assert "  - folder\n" in written("tiles")
    lowres_ssl("data", "dataset=tiles")


def test_table_of_labels_is_found_with_its_columns(lowres_ssl: Command) -> None:
    rows = [
        f"ISIC_{number};{'nevus' if number % 2 else 'melanoma'};{f'Doe-{number // 2}' if number else ''};{number}"
        for number in range(30)
    ]
    heads = "image_id;diagnosis;patient_id;set"  # the last is none of train, val and test
    table_of("skin", [heads, *rows], name="images/ISIC_{number}.jpg")
    answer = lowres_ssl("init", "skin")
    assert "a table of labels (table: labels.csv, path: image_id, label: diagnosis, patient: patient_id)" in answer.out
    assert "15, by the table; 1 image without one, each taken for a patient of its own" in answer.out
    assert re.search(r"^nevus +15$", answer.out, re.MULTILINE)
    assert 'table: "labels.csv"' in written("skin")
    lowres_ssl(*without_sizes(command_in(answer)), "method=random", *UNTRAINED)
    assert files_with(Path("outputs"), "Doe-") == []


def test_dicom_is_found_with_its_patients_which_are_not_told(lowres_ssl: Command) -> None:
    make = pytest.importorskip("dicom_files", reason="the extra dicom is not installed").make
    for number in range(24):
        pixels = np.random.default_rng(number).integers(0, 4096, (32, 32), dtype=np.uint16)
        label = "ill" if number % 4 > 1 else "well"
        path = make(Path("ct", label, f"{number}.dcm"), pixels, PatientID=f"Doe-{number // 2}")
    path.rename(path.with_name("IM0001"))
    answer = lowres_ssl("init", "ct")
    assert "12, by the DICOM files" in answer.out
    assert "other files" not in answer.out
    assert re.search(r"^split +patient: ", answer.out, re.MULTILINE)
    assert "override /images@_global_.images: xray" in written("ct")
    done = lowres_ssl(*without_sizes(command_in(answer)), *SMALL)
    assert files_with(Path("outputs"), "Doe-") == files_with(Path("lowres_ssl_conf"), "Doe-") == []
    assert "Doe-" not in answer.out + answer.err + done.out + done.err


def test_what_cannot_be_read_is_left_out_from_then_on(lowres_ssl: Command) -> None:
    folder_of("cells", "dark", "light")
    Path("cells/dark/bad.png").write_bytes(b"no image")
    table_of("tab", ["path,label", *(f"{number}.png,{'ab'[number % 2]}" for number in range(30))])
    with Path("tab/labels.csv").open("a") as file:
        file.write("\ngone.png,a")
    for name, key, named in (("cells", "skip_unreadable", "bad.png"), ("tab", "skip_missing", "missing file")):
        answer = lowres_ssl("init", name)
        assert f"{key}: true" in written(name)
        assert named in answer.err
        lowres_ssl(*command_in(answer), "method=random", "dry_run=true")


def test_what_is_no_image_of_the_set_is_left_out_by_the_config(lowres_ssl: Command) -> None:
    root = folder_of("set", "a", "b", "c")
    for number in range(12):
        Image.new("L", (32, 32)).save(root / "a" / f"{number}_mask.png")
    folder_of("set", "rare", "odd", images=1)
    (root / "c" / "0.png").write_bytes((root / "c" / "0.png").read_bytes()[:-500])  # its header is whole
    (root / "lost").mkdir()
    for number in range(3):
        (root / "lost" / f"{number}.png").write_bytes(b"no image")
    answer = lowres_ssl("init", "set", "name=s")
    assert re.search(r"^left out +12 masks: \*_mask\*; ", answer.out, re.MULTILINE)
    assert re.search(r"^unreadable +4 files, for one ", answer.out, re.MULTILINE)
    text = written("s")
    assert 'exclude: ["*_mask*"]   # 12 masks' in text
    assert "skip_unreadable: true   # 4 files" in text
    assert 'exclude_classes: ["lost"]' in text
    assert "min_class_images: 2" in text
    assert "2 classes: odd (1), rare (1) left out" in answer.err
    lowres_ssl(*command_in(answer), "dry_run=true")
    assert re.search(r"^all +35 ", lowres_ssl("data", "dataset=s", "prepare=true").out, re.MULTILINE)


def test_who_stands_in_the_folder_of_the_images_sees_none_of_the_runs(lowres_ssl: Command) -> None:
    folder_of(".", "dark", "light")
    words = command_in(lowres_ssl("init", ".", "name=s"))
    lowres_ssl(*without_sizes(words), "method=random", *UNTRAINED)
    assert list(Path("outputs").rglob("tsne.png"))
    again = lowres_ssl("data", "dataset=s")
    assert "outputs" not in again.out.split("pixels")[0].partition("\n")[2] + again.err
    assert re.search(r"^all +24 ", again.out, re.MULTILINE)


@pytest.mark.parametrize("place", ["", "p{}"])
def test_images_without_labels_are_trained_on_and_embedded_and_never_scored(lowres_ssl: Command, place: str) -> None:
    for number in range(16):
        paint(Path("set", place.format(number % 4), f"{number}.png"), 60 + number, seed=number, size=32)
    answer = lowres_ssl("init", "set", "name=s", "images=xray")
    words = command_in(answer)
    assert "labelled: false" in written("s")
    other = "if they are classes, type lowres-ssl init set name=s images=xray labelled=true force=true"
    assert (other in answer.err) == (place != "")
    assert not any(word.startswith("probe") for word in words)
    assert "lowres-ssl embed run=RUN images=set" in answer.out
    kept = without_sizes(words)
    done = lowres_ssl(*kept, "method=random", *UNTRAINED)
    assert not list(Path("outputs").rglob("result.json"))
    (line,) = re.findall(
        r"^set: no labels, so nothing is scored; for the features type lowres-ssl (.*)$", done.out, re.M
    )
    lowres_ssl(*shlex.split(line))
    for typed in (["benchmark", "dataset=s", "budget=1min"], [*kept, "method=supervised", *SMALL]):
        assert "no labels, which" in lowres_ssl(*typed, code=3).last_line


def test_what_is_typed_to_init_counts_more_than_its_guesses(lowres_ssl: Command) -> None:
    folder_of("set", "day1", "day2", "artefacts")
    lowres_ssl("init", "set", "name=s", "labelled=true", "exclude=[artefacts]")
    text = written("s")
    assert "24 images in 2 classes" in text
    assert 'exclude: ["artefacts"]   # 12 images' in text
    assert "labelled" not in text


def test_real_blood_cells_are_coloured_and_their_names_tell_no_patients(lowres_ssl: Command, shared: Path) -> None:
    answer = lowres_ssl("init", str(shared / "blood_cells"), "name=cells")
    assert {"dataset=cells", "batch_size=64", "probe.knn.k=22"} <= set(command_in(answer))
    assert "images: histology" in written("cells")
    assert "nothing in the names looks like patients" in answer.out
    assert " views (a view: one augmented image); fewer than 20,000" in answer.out


def test_patients_of_one_image_each_are_told(lowres_ssl: Command) -> None:
    folder_of("cells", "dark", "light")
    for number, path in enumerate(sorted(Path("cells").rglob("*.png"))):
        path.rename(path.with_name(f"patient{number:03}.png"))
    answer = lowres_ssl("init", "cells")
    told = "by the names of files an image each, such as patient000: each image is a patient of its own"
    assert re.search(rf"^patients +{told}$", answer.out, re.MULTILINE)
    assert re.search(r"^split +stratified: ", answer.out, re.MULTILINE)


def test_twelve_bits_in_sixteen_are_noticed_and_shown_whole_ever_after(lowres_ssl: Command) -> None:
    for number in range(40):
        pixels = np.random.default_rng(number).integers(0, 4096, (32, 32), dtype=np.uint16)
        path = Path("deep", "ab"[number % 2], f"{number}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            Image.fromarray(pixels).save(path)
    answer = lowres_ssl("init", "deep")
    assert "grey (40 of 40 looked at); 12 of 16 bits are in use" in answer.out
    assert "grey_range: [0, 4095]" in written("deep")
    lowres_ssl("pretrain", "method=random", "dataset=deep", *UNTRAINED, "baselines=false")
    (store,) = Path("outputs/stores").glob("deep-*/images.npy")
    assert np.load(store).max() > 200
    encoder = load_portable_encoder(find_run(Path("outputs"), the_run("*-random-s*").name))
    assert encoder.preprocessing.grey_range == (0, 4095)
