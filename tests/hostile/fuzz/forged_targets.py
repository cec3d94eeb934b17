"""Fuzzed: stored files that are whole, sealed and of the right form, and say what no writer of ours says."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from damage import ANYTHING, changed, damaged_json, places
from hypothesis import strategies as st
from stored_runs import made_up_run
from stored_targets import folder_of
from tiny_training import CPU, SIMCLR, TRAINING, VIEWS, noise_store
from torch import Tensor, nn
from watching import Target, watched

from lowres_ssl.benchmark.plan import BenchmarkPlan, get_plan_path, read_benchmark_plan, write_benchmark_plan
from lowres_ssl.benchmark.schedule import BenchmarkCosts, BenchmarkSchedule
from lowres_ssl.benchmark.steps import plan_extra_steps, plan_final_steps, plan_training_steps
from lowres_ssl.benchmark.summary import format_plan
from lowres_ssl.data.decode import DECODER_VERSION
from lowres_ssl.device import DevicePrecision
from lowres_ssl.encoders.torchvision import build_backbone
from lowres_ssl.encoders.weights_file import load_state, load_tensors, save_state, save_tensors
from lowres_ssl.errors import Interrupted
from lowres_ssl.evaluate.features import digest_features, store_features
from lowres_ssl.inference.load import load_portable_encoder
from lowres_ssl.inference.predict import load_stored_probe
from lowres_ssl.io.checksummed_json import hash_file, write_checked_json
from lowres_ssl.methods import build_method
from lowres_ssl.runs.result_io import PROBE_FILE, read_result
from lowres_ssl.runs.run import Run
from lowres_ssl.train.history import EpochLog
from lowres_ssl.train.loop import pretrain

ASKED: dict[str, Any] = {"dataset": "cells", "methods": ["random", "dcl", "vicreg"], "budget": 600.0}
ASKED |= {"seeds": None, "epochs": None}
TYPED = ("dataset=cells",)


@cache
def plan_written() -> Any:
    study = BenchmarkPlan(
        path=get_plan_path(folder_of("plan"), ASKED),
        store_dir=Path("stores"),
        flags=(),
        asked=ASKED,
        methods=("random", "dcl"),
        typed=TYPED,
        fitted=("backbone=resnet18", "image_size=64", "batch_size=16", "probe.knn.k=20"),
        shown=("backbone=resnet18", "image_size=64"),
        costs=BenchmarkCosts(
            {"dcl": 3.5, "vicreg": 4.5}, 9.0, 2.0, 1.0, report=7.0, start=2.0, random_seed=0.5, extras={"labels": 2.0}
        ),
        views={"dcl": 321.5},
        device="a machine, fp32",
        allotment=BenchmarkSchedule(
            seeds=3, random_seeds=5, epochs=6, extras=("labels",), left_out=("vicreg",), seconds=500.25
        ),
        done={"seed 0": 31.5, "seed 1": 30.0, "seed 2": 30.0},
        dropped=("linear",),
        failed=("vicreg, seed 0: not finite",),
        spent=42.0,
    )
    write_benchmark_plan(study)
    return json.loads(study.path.read_bytes())


def read_plan(content: bytes, folder: Path) -> None:
    """A plan is refused, or every word that is typed for it is one of those that may be."""
    path = get_plan_path(folder, ASKED)
    path.parent.mkdir()
    path.write_bytes(content)
    with watched(folder):
        study = read_benchmark_plan(folder, folder / "stores", (), TYPED, ASKED)
        if study is None:
            return
        study.folder.mkdir()
        study = read_benchmark_plan(folder, folder / "stores", (), TYPED, ASKED)
        assert study is not None
        steps = [
            *plan_training_steps(study),
            *plan_extra_steps(study, ["knn"], [0.1]),
            *plan_final_steps(study, ["knn"]),
        ]
        for word in {word for step in steps for word in step.words}:
            key = word.partition("=")[0]
            assert key in WORDS, word
            assert word.isprintable()
        final = SimpleNamespace(backbone=SimpleNamespace(name="x"), image_size=1, batch_size=1, recipe="x", probe={})
        with patch("lowres_ssl.benchmark.summary.compose_training_config", lambda *_: final):
            nothing: Any = SimpleNamespace(title="x", records=[], classes=[], dataset=SimpleNamespace(title="x"))
            split: Any = SimpleNamespace(train=[], validation=[], test=[], kind="random")
            with patch("lowres_ssl.benchmark.summary.format_leakage_warnings", lambda *_: []):
                config = SimpleNamespace(fewer_labels=[0.1])
                question: Any = SimpleNamespace(config=config)
                format_plan(study, question, nothing, nothing, split)


WORDS = frozenset(
    [
        *("pretrain", "tables", "compare", "report", "-m", "method", "seed", "epochs", "dataset", "backbone"),
        *("image_size", "batch_size", "probe.knn.k", "picture", "output_dir", "store_dir", "label_fraction", "probe"),
        *("table", "figure", "file", "preface", "untrained_seed"),
    ]
)


@cache
def encoder_written() -> Path:
    """A finished run, whose encoder is three numbers: a file that fits would take half a second an example."""
    run = Run(folder_of("encoder"))
    run.start(
        {
            "method": "dcl",
            "precision": "fp32",
            "identity": {"decoder": DECODER_VERSION, "store": [40, 3, 24, 24], "images": {"digest": "ab"}},
            "config": {
                "method": {"name": "dcl", "temperature": 0.1},
                "images": {"name": "any", "colour": True, "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]},
                "backbone": {"name": "resnet18", "small_stem": False, "zero_init_residual": True},
                "image_size": 20,
                "seed": 0,
                "dataset": {"grey_range": [0.0, 4095.0]},
            },
        }
    )
    save_tensors(run.encoder(), {"weight": torch.zeros(3)}, {})
    run.finish()
    return run.folder


def open_forged(content: bytes, folder: Path) -> None:
    shutil.copytree(encoder_written(), folder / "run")
    (folder / "run" / "run.json").write_bytes(content)
    built = nn.Module()
    built.register_parameter("weight", nn.Parameter(torch.ones(3)))
    really = "lowres_ssl.train.setup.build_backbone"
    with watched(folder), patch(really, lambda name, **_: (built, 3) if name == "resnet18" else no_such(name)):
        load_portable_encoder(Run(folder / "run"), device="cpu")


def no_such(name: str) -> Any:
    return build_backbone(name, small_stem=False, zero_init_residual=False, seed=0)


def tiny(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def train(checkpoint: Path, epochs: int, on_epoch: Callable[[list[EpochLog]], None]) -> None:
    pretrain(
        encoder=tiny(0),
        method=build_method(SIMCLR, features=4, seed=0),
        store=noise_store(),
        rows=range(16),
        views=[VIEWS] * epochs,
        training=replace(TRAINING, epochs=epochs),
        compute=DevicePrecision(CPU, "fp32"),
        place="host",
        checkpoint=checkpoint,
        name="fuzzed",
        on_epoch=on_epoch,
        validate=lambda *_: 0.5,
    )


@cache
def state_written() -> dict[str, Any]:
    """After one of two epochs."""
    checkpoint = folder_of("resume") / "checkpoint.pt"
    with suppress(Interrupted):
        train(checkpoint, 2, lambda _: os.kill(os.getpid(), signal.SIGTERM))
    return load_state(checkpoint)


ODD_TENSORS = st.sampled_from(
    [
        torch.zeros(()),
        torch.zeros(0),
        torch.zeros(3, dtype=torch.int64),
        torch.full((4,), torch.nan),
        torch.zeros(2, 3, 4),
        torch.zeros(1, 2**10),
        torch.zeros(0, 2**20, 2**20),
        torch.zeros(4, dtype=torch.complex64),
        torch.zeros(4).to_sparse(),
    ]
)


@st.composite
def odd_state(draw: st.DrawFn) -> dict[str, Any]:
    """A training state at the end of an epoch or within one, with one value changed or gone."""
    state = dict(state_written())
    if draw(st.booleans()):
        meter = {"loss": torch.ones((), dtype=torch.float64)}
        state["meter"] = {
            "steps": 1,
            "seconds": 0.5,
            "compile_seconds": 0.0,
            "sums": meter,
            "embeddings": [torch.rand(8, 16)],
        }
    value = draw(st.one_of(ANYTHING, ODD_TENSORS))
    forged: dict[str, Any] = changed(state, draw(st.sampled_from(places(state))), value, draw(st.booleans()))
    return forged


def go_on(state: dict[str, Any], folder: Path) -> None:
    """From somebody else's checkpoint to the end of the training, and its history."""
    run = Run(folder / "run")
    save_state(run.checkpoint, state)
    with watched(folder):
        train(run.checkpoint, 2, run.write_history)
        assert len(run.read_history({})) == 2


@cache
def probes_written() -> Path:
    """A result of each probe that stores what it has learnt in arrays alone."""
    folder = folder_of("probes")
    tensors: dict[str, dict[str, Tensor]] = {
        "logistic": {
            "mean": torch.zeros(8, dtype=torch.float64),
            "scale": torch.ones(8, dtype=torch.float64),
            "weight": torch.rand(1, 8, dtype=torch.float64),
            "bias": torch.zeros(1, dtype=torch.float64),
            "classes": torch.tensor([0, 1]),
        },
        "linear": {
            "first": torch.rand(1, 8, 4),
            "first_bias": torch.zeros(1, 4),
            "scale": torch.ones(1, 4),
            "shift": torch.zeros(1, 4),
            "last": torch.rand(1, 4, 2),
            "last_bias": torch.zeros(1, 2),
            "mean": torch.zeros(1, 4),
            "variance": torch.ones(1, 4),
        },
        "knn": {"labels": torch.arange(20) % 2},
    }
    settings = {"linear": {"hidden": 4, "weight_decay": 0.0, "epochs": 1}, "knn": {"k": 3}}
    for probe, own in tensors.items():
        result = made_up_run(folder, probe=probe, settings=settings.get(probe), images=12)
        save_tensors(result / PROBE_FILE, own, {"train": ""})
        store_features(Run(result.parent).features("selected", "fp32"), {"train": torch.rand(20, 8)}, "key")
        known = {"train": digest_features(load_tensors(Run(result.parent).features("selected", "fp32"))[0]["train"])}
        save_tensors(result / PROBE_FILE, own, known)
    return folder


def open_stored(example: tuple[str, str, Any], folder: Path) -> None:
    """A stored probe of which one tensor, or what its result says, is another; whole by its checksums."""
    probe, name, value = example
    shutil.copytree(probes_written(), folder / "outputs")
    (result,) = (folder / "outputs" / "pretrain").glob(f"*/{probe}-*")
    content = json.loads((result / "result.json").read_text())
    if name == "result.json":
        (result / name).write_bytes(value)
    else:
        tensors, known = load_tensors(result / PROBE_FILE)
        if value is None:
            tensors.pop(name, None)
        else:
            tensors[name] = value
        save_tensors(result / PROBE_FILE, tensors, known)
        write_checked_json(result / "result.json", content | {"fitted_sha256": hash_file(result / PROBE_FILE)})
    run = Run(result.parent)
    with watched(folder):
        said = read_result(result)
        if said is not None:
            load_stored_probe(run, result, said, 8)(torch.rand(2, 8))


def result_of(probe: str) -> Any:
    return json.loads(next(probes_written().glob(f"*/*/{probe}-*/result.json")).read_bytes())


KINDS = ("logistic", "linear", "knn")
NAMES = ("mean", "scale", "weight", "bias", "classes", "first", "first_bias", "shift", "last", "variance", "labels")
DENSE = ODD_TENSORS.filter(lambda tensor: tensor.layout is torch.strided)
PROBES = st.one_of(
    st.tuples(st.sampled_from(KINDS), st.sampled_from(NAMES), st.one_of(st.none(), DENSE)),
    *(
        damaged_json(result_of(probe)).map(lambda content, probe=probe: (probe, "result.json", content))
        for probe in KINDS
    ),
)

TARGETS = {
    "benchmark": Target(read_plan, damaged_json(plan_written()), enough=100),
    "encoder": Target(open_forged, damaged_json(json.loads((encoder_written() / "run.json").read_bytes())), enough=60),
    "resume": Target(go_on, odd_state(), enough=40),
    "probe": Target(open_stored, PROBES, enough=40),
}
