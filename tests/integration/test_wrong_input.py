"""Each wrong thing gets one line: what, got, wanted, what to type next; no traceback, nothing half-written."""

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from in_process import type_command
from PIL import Image
from small_runs import RESNET18, SMALL, paint
from typed import Command, be_in, refused, the_run

DATA = ("pretrain", "dataset=folder", *SMALL)
SNAPSHOT = Path(__file__).with_name("wrong_input.txt")
WORDS = {
    "FOLDER": ("dataset=folder", *SMALL),
    "RESNET18": ("dataset=folder", *RESNET18),
    "ASKED": ("dataset=folder", "methods=[dcl]", "budget=1h"),
}
# Typed where the images of `cells`, a finished run on them, and what `odd_folders` makes are. Most need the images.
CASES = """\
pretrain FOLDER batch_size=64
pretrain FOLDER probe.knn.k=1000
pretrain FOLDER dataset.root=missing
pretrain FOLDER views.grey=2
pretrain FOLDER split=patient
pretrain FOLDER split=official
pretrain FOLDER positives=patient
pretrain FOLDER precision=fp16
pretrain FOLDER dataset.options.group_pattern='('
pretrain FOLDER epochs=${oc.env:NOT_SET_HERE}
pretrain dataset=folder probe=[]
pretrain dataset=pneumonia
pretrain dataset=breast
pretrain dataset=colorectal
pretrain dataset=breast dataset.root=data/folder
pretrain FOLDER method=supervised label_fraction=[0.1,0.5]
pretrain FOLDER method=supervised label_fraction=[0]
pretrain FOLDER method=supervised pretrain_on=all
pretrain FOLDER method=dcl initial_weights=nothing
pretrain FOLDER method=dcl initial_weights=random,method:simclr
pretrain FOLDER recipe=released_code label_fraction=[0.5]
pretrain RESNET18 method=imagenet method.weights=IMAGENET1K_V7
pretrain FOLDER method=dino backbone.model=test_vit image_size=64
pretrain FOLDER method=dcl backbone.model=test_vit image_size=80 image_size_schedule=[[0.5,0.5],[0.5,1.0]] epochs=2
pretrain FOLDER method=vicreg probe=[knn,linear] probe.linear.settings_from=tuned
pretrain FOLDER output_dir=LONG
evaluate
evaluate run=
evaluate run=outputs/pretrain/none
evaluate run=RUN seed=3
evaluate run=RUN probe=[linear] probe.linear.settings_from=tuned
evaluate weights=none.safetensors dataset=folder probe.knn.k=5
tune recipe=tuned
tune filters.colour=red
tune probe=[knn]
tune batch_size=[1]
tune learning_rate=[0.1,0.1]
tune seeds=0
compare batch_size=1
compare batch_size=largest
compare draws=10
compare metric=auroc
compare reference=[]
compare reference=null
compare reference=[1]
compare methods=[dcl]
compare dataset=breast
report dataset=breast recipe=paper
report preface=none.txt
benchmark ASKED budget=soon
benchmark ASKED budget=30s
benchmark ASKED seed=1
benchmark ASKED methods=[random,dcl]
benchmark ASKED methods=[dcl,vicregg]
benchmark ASKED continued=[vicregg]
benchmark ASKED methods=[]
benchmark ASKED methods=[dcl,dcl]
benchmark ASKED pretrained=[resnet999]
benchmark ASKED seeds=0
benchmark ASKED pretrain_on=all
benchmark ASKED pretrain_on=half
benchmark ASKED chosen_by=linear probe=[knn]
benchmark ASKED baselines=false
init
init cells 'name=with space'
init cells name=breast
init cells images=ct
init cells exclude=[nothing]
init missing
init empty
init file
init volumes
init unreadable
init table
init set.tar.gz
init SET.ZIP
init scan.zip.png
"""


def odd_folders(folder: Path) -> None:
    (folder / "cells").symlink_to("data/folder")
    for name in ("volumes/1.nii.gz", "unreadable/a/x.png", "unreadable/b/x.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"no image")
    for name in ("file", "set.tar.gz", "SET.ZIP", "scan.zip.png"):
        (folder / name).touch()
    (folder / "empty").mkdir()
    paint(folder / "table" / "1.png", 100, seed=1)
    (folder / "table" / "t.csv").write_text("file,a,b\n1.png,1,2\n")


@pytest.fixture(scope="module")
def place(trained_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = Path(shutil.copytree(trained_once, tmp_path_factory.mktemp("place") / "here"))
    odd_folders(folder)
    return folder


@pytest.fixture(scope="module")
def said() -> Iterator[dict[str, str]]:
    """What is said to each case, in the end in `build/wrong_input.txt`: to be copied where a wording has changed."""
    lines: dict[str, str] = {}
    yield lines
    build = Path(__file__).resolve().parents[2] / "build"
    build.mkdir(exist_ok=True)
    (build / "wrong_input.txt").write_text("".join(f"{case}\t{line}\n" for case, line in lines.items()))


@pytest.mark.parametrize("case", CASES.splitlines())
def test_each_is_refused_by_its_line_in_the_snapshot_and_leaves_nothing(
    place: Path, said: dict[str, str], case: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    be_in(place, monkeypatch)
    monkeypatch.setattr("lowres_ssl.benchmark.runner.run_subprocess", lambda *_, **__: pytest.fail("one was run"))
    before = written_in(place)
    run, name = the_run("folder-simclr-*").name, 300 * "x"
    typed = [word for each in shlex.split(case) for word in WORDS.get(each, (each,))]
    code = type_command(*(word.replace("RUN", run).replace("LONG", name) for word in typed))
    printed = capsys.readouterr()
    line = printed.err.splitlines()[-1]
    said[case] = f"{code} {hide_versions(line.replace(run, 'RUN').replace(name, 'LONG'))}"
    assert "Traceback" not in printed.err
    assert line.startswith("lowres-ssl: ")
    assert not printed.out
    assert written_in(place) == before
    kept = dict(line.split("\t") for line in SNAPSHOT.read_text(encoding="utf-8").splitlines())
    assert said[case] == kept.get(case)


def hide_versions(line: str) -> str:
    """A line without timm's version, and without digests: of images, whose bytes are Pillow's."""
    return re.sub(r"\b[0-9a-f]{8}\b", "DIGEST", re.sub(r"timm \d[.\d]+", "timm VERSION", line))


def written_in(folder: Path) -> dict[Path, int]:
    """When each file was written, but for what is known of images, and splits, which are written again as they are."""
    files = [path for path in folder.rglob("*") if path.is_file() and "stores" not in path.parts]
    files = [path for path in files if path.name != "split.json"]
    return {path: path.stat().st_mtime_ns for path in files}


def truncate_jpeg(path: Path) -> None:
    """Write an image that can be opened and not decoded."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, quality=95)
    path.write_bytes(path.read_bytes()[:1500])


def test_run_without_an_image_that_cannot_be_decoded_is_scored_on_the_others(lowres_ssl: Command, cells: Path) -> None:
    truncate_jpeg(cells / "dark" / "truncated.jpeg")
    refused(lowres_ssl(*DATA, code=3), "truncated.jpeg", "not a readable image", "dataset.skip_unreadable=true")
    typed = (*DATA, "dataset.skip_unreadable=true")
    assert "1 unreadable images left out" in lowres_ssl(*typed).err
    run = the_run("*-simclr-*").name
    dry = lowres_ssl(*typed, "dry_run=true")
    assert run in dry.out
    assert "finished" in dry.out
    shutil.rmtree("outputs/stores")
    evaluate = ("evaluate", f"run={run}", "probe=logistic")
    assert "1 unreadable images left out" in lowres_ssl(*evaluate).err
    lowres_ssl("figures", "figure=samples")
    lowres_ssl("report")
    assert "not those of the run" not in Path("outputs/report.html").read_text(encoding="utf-8")
    paint(cells / "dark" / "new.png", 60, seed=99)
    refused(lowres_ssl(*evaluate, code=4), "the images of this run have changed")


def test_config_that_is_no_yaml_is_named_and_the_other_sets_are_listed(lowres_ssl: Command) -> None:
    Path("mine/dataset").mkdir(parents=True)
    Path("mine/dataset/bad.yaml").write_text("a: [")
    data = ("data", "--config-dir", "mine")
    refused(lowres_ssl(*data, "dataset=bad", code=2), "not YAML", "bad.yaml", "line ")
    answer = lowres_ssl(*data)
    assert "phantom" in answer.out
    assert "bad.yaml: cannot be composed" in answer.err


def test_damaged_random_run_costs_the_method_beside_it_nothing(lowres_ssl: Command, trained: Path) -> None:
    (random,) = trained.parent.glob("folder-random-*/run.json")
    random.write_text("{")
    answer = lowres_ssl("evaluate", f"run={trained}", "probe.knn.k=3")
    assert "run.json: cannot be read" in answer.err
    assert "random initialisation" in answer.out
    assert lowres_ssl("runs").err == ""


def test_lost_encoder_is_not_called_finished_and_a_split_is_written_again(lowres_ssl: Command, trained: Path) -> None:
    (trained / "split.json").write_text("{")
    answer = lowres_ssl("evaluate", f"run={trained}", code=4)
    typed = re.search(r"to have it written anew type lowres-ssl (pretrain .*)$", answer.last_line)
    assert typed is not None, answer.last_line
    lowres_ssl(*shlex.split(typed[1]))
    lowres_ssl("evaluate", f"run={trained}")
    (trained / "split.json").unlink()
    lowres_ssl(*DATA)
    assert (trained / "split.json").exists()
    (trained / "encoder.safetensors").unlink()
    refused(lowres_ssl(*DATA, code=4), "encoder.safetensors", "force=true")
