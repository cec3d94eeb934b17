"""Stored runs with made-up predictions, so that whatever reads results is tested without training."""

from collections.abc import Sequence
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lowres_ssl.config.experiment_schema import BackboneConfig, PretrainConfig, SplitKind
from lowres_ssl.data.decode import DECODER_VERSION
from lowres_ssl.data.splits import ALL_LABELS, LabelSubset
from lowres_ssl.environment import Environment
from lowres_ssl.evaluate.metrics import compute_metrics
from lowres_ssl.evaluate.tuned_settings import TunedEncoder, TunedSettings, summarise_seeds
from lowres_ssl.io.atomic import write_json
from lowres_ssl.io.checksummed_json import CHECKSUM_KEY, hash_content
from lowres_ssl.runs.records import ResultRecord, RunIdentity, RunOutcome, RunRecord, Scores, SplitSummary, SubsetSizes
from lowres_ssl.runs.result_io import write_result
from lowres_ssl.runs.run import Run, get_identified_run
from tests.in_process import compose_config

SETTINGS: dict[str, dict[str, Any]] = {
    "knn": {"k": 200, "vote": "uniform", "temperature": 0.1, "metric": "euclidean", "encoder": "selected"},
    "linear": {"hidden": 512, "epochs": 100, "encoder": "selected", "batch_size": 16, "learning_rate": 0.01},
    "logistic": {"strengths": [0.1, 1.0], "max_iterations": 1000},
    "classifier": {},
}
LABELS = {"knn": "KNN (k=200)", "linear": "linear (MLP)", "logistic": "logistic", "classifier": "end to end"}
UNTRAINED = ("random", "random_calibrated", "trivial", "imagenet", "pretrained", "weights")
FIXED = ("trivial", "imagenet", "pretrained", "weights")  # encoders that are the same for every seed
ENVIRONMENT = Environment(
    versions={"lowres-ssl": "0.1.0", "python": "3.11.2", "torch": "2.14.1"},
    device="cpu, fp32",
    system="Linux",
    commit="0123456789abcdef0123456789abcdef01234567",
)
SPLIT = SplitSummary("random", 0, "d" * 64)


@cache
def made_up_config() -> PretrainConfig:
    """The config of `lowres-ssl pretrain dataset=phantom`."""
    return compose_config("dataset=phantom", "probe=[knn]")


def made_up_identity(**settings: Any) -> RunIdentity:
    return RunIdentity("ab", DECODER_VERSION, (40, 3, 16, 16), SPLIT.digest, "fp32", {"seed": 0} | settings)


def made_up_record(**changes: Any) -> RunRecord:
    """A run record of a method without training, with `changes` to its fields."""
    known = {"entry": "dcl", "identity": made_up_identity(), "split": SPLIT, "config": made_up_config(), "store": "s"}
    return RunRecord(**known | changes)


def made_up_result(**changes: Any) -> ResultRecord:
    """A result of four test images, with `changes` to its fields."""
    scores = scored((0, 1, 0, 1), (0, 1, 0, 0), ("benign", "malignant"))
    known = {
        "run": "run",
        "probe": "knn",
        "label": LABELS["knn"],
        "encoder": "encoder.safetensors",
        "settings": SETTINGS["knn"],
        "details": {},
        "test": scores,
        "validation": scores,
        "classes": ("benign", "malignant"),
        "images": SubsetSizes(20, 4, 4),
        "labels": ALL_LABELS,
        "depends_on_seed": True,
        "split": SPLIT,
        "data_digest": "ab",
        "precision": "fp32",
        "seconds": 1.0,
        "config": made_up_config(),
        "environment": ENVIRONMENT,
    }
    return ResultRecord(**known | changes)


def made_up_tuned(
    batch_size: int = 16, learning_rate: float = 0.01, accuracy: float = 0.9, **changes: Any
) -> TunedSettings:
    """What was tuned for a run of SimCLR, with `changes` to its fields or to those of its encoder."""
    encoder = TunedEncoder("pneumonia", "simclr", "paper", "resnet18", 64, SPLIT, batch_size=64, epochs=10)
    names = {each.name for each in fields(TunedEncoder)}
    encoder = replace(encoder, **{key: changes.pop(key) for key in list(changes) if key in names})
    line = summarise_seeds(batch_size, learning_rate, 100, [(accuracy, 0.5)])
    known = {"run": "a", "title": "Pneumonia", "seed": 0, "encoder": encoder, "asked": "", "rule": "full", "seeds": 3}
    known |= {"settings": {"hidden": 512}, "lines": (line,), "chosen": line, "seconds": 1.0}
    return TunedSettings(**known | {"environment": ENVIRONMENT} | changes)


def reseal(path: Path, content: dict[str, Any]) -> None:
    """Write the content of a record with a checksum that fits, as anybody can who hands a file on."""
    content = {key: value for key, value in content.items() if key != CHECKSUM_KEY}
    write_json(path, content | {CHECKSUM_KEY: hash_content(content)})


def change_record(folder: Path, **changes: Any) -> None:
    """Change fields of the run in `folder`."""
    Run(folder).start(replace(Run(folder).read(), **changes))


OUTCOME = RunOutcome(epochs=0, training_seconds=0.0, environment=ENVIRONMENT)


def fairly_certain(guessed: NDArray[np.int64], classes: int) -> NDArray[np.float32]:
    return np.eye(classes, dtype=np.float32)[guessed] * 0.8 + 0.2 / classes


@cache  # scikit-learn takes longer than all the rest, and the same runs are made up again and again
def scored(labels: tuple[int, ...], guessed: tuple[int, ...], classes: tuple[str, ...]) -> Scores:
    own, predicted = np.array(labels, dtype=np.int64), np.array(guessed, dtype=np.int64)
    return compute_metrics(own, predicted, fairly_certain(predicted, len(classes)), classes)


def made_up_run(
    output_dir: Path,
    *,
    method: str = "dcl",
    entry: str | None = None,
    dataset: str = "phantom",
    title: str | None = None,
    recipe: str = "paper",
    backbone: str = "resnet18",
    zero_init_residual: bool = True,
    image_size: int = 64,
    storage_size: int = 128,
    batch_size: int = 64,
    epochs: int = 250,
    learning_rate: float = 0.01,
    optimiser: str = "sgd",
    seed: int = 0,
    split: str = "stratified",
    split_seed: int = 0,
    split_digest: str | None = None,
    pretrain_on: str = "training",
    precision: str = "fp32",
    finished: bool = True,
    probe: str = "knn",
    settings: dict[str, Any] | None = None,
    label_fraction: float = 1.0,
    label_draw: int = 0,
    classes: Sequence[str] = ("benign", "malignant"),
    images: int = 120,
    groups: Sequence[str] | None = None,
    labels: ArrayLike | None = None,
    predictions: ArrayLike | None = None,
    accuracy: float = 0.8,
    validation_accuracy: float | None = None,
    embedding_std: float | None = None,
    loss: float = 1.0,
    chance_loss: float | None = None,
    training_seconds: float = 60.0,
) -> Path:
    """Write a run and one result of it; the folder of the result. The same run with another probe gets one more.

    An untrained method (`UNTRAINED`) has no batch size and no epochs, whatever is given. `settings` are laid over those
    of the probe. `images` test images (half as many validate) in groups of three, unless `groups` (one an image, or
    fewer, in turn) says otherwise; `labels` and `predictions` (places in `classes`) are of them. Without `predictions`
    the share `accuracy` of them is right, at random by method, seed and batch size; of the validation images it is the
    share `validation_accuracy`, if given exactly, else `accuracy`. `embedding_std` and `loss`: of the one epoch in its
    history, which there is where the first is given.
    """
    trained = method not in UNTRAINED
    split_digest = split_digest or hash_content([dataset, split, split_seed, images])
    random = np.random.default_rng([*f"{method} {entry} {dataset} {recipe}".encode(), seed, batch_size, image_size])
    usual = made_up_config()
    config = replace(
        usual,
        method={"name": method},
        optimiser={"name": optimiser},
        dataset=replace(usual.dataset, name=dataset, title=title or dataset.capitalize()),
        backbone=BackboneConfig(backbone, small_stem=False, zero_init_residual=zero_init_residual),
        recipe=recipe,
        split=SplitKind[split],
        split_seed=split_seed,
        seed=seed,
        image_size=image_size,
        batch_size=batch_size,
        epochs=epochs,
        learning_rate=learning_rate,
    )
    training: dict[str, Any] = {"batch_size": batch_size, "epochs": epochs, "learning_rate": learning_rate}
    training |= {"optimiser.name": optimiser} if optimiser != "sgd" else {}
    # Recipes differ in more than is made up here, so their runs do; an untrained encoder they share.
    settings_of_run = (training | {"recipe": recipe, "pretrain_on": pretrain_on}) if trained else {}
    settings_of_run |= {"seed": seed, "image_size": image_size, "method.name": method, "method.entry": entry}
    settings_of_run |= {f"backbone.{key}": value for key, value in vars(config.backbone).items()}
    typed = {"dataset": dataset, "method": method, "recipe": recipe, "backbone": backbone, "image_size": image_size}
    typed |= {"epochs": epochs} if epochs != 250 else {}
    typed |= {"split": split, "batch_size": batch_size, "seed": seed}
    record = made_up_record(
        entry=entry or method,
        identity=RunIdentity(
            images=hash_content([dataset, images]),
            decoder=DECODER_VERSION,
            store=(3 * images, 3, storage_size, storage_size),
            split=split_digest,
            precision=precision,
            settings=settings_of_run,
        ),
        split=SplitSummary(split, split_seed, split_digest),
        config=config,
        typed=("pretrain", *(f"{key}={value}" for key, value in typed.items())),
        probe={probe: SETTINGS[probe] for probe in ("knn", "linear")},
        pretrain_on=pretrain_on if trained else None,
    )
    names = [dataset, method, *([f"bs{batch_size}"] if trained else []), f"s{seed}"]
    run = get_identified_run(output_dir, "pretrain", names, record.identity)
    run.start(record)
    if embedding_std is not None:
        run.write_history([{"epoch": 1, "loss": loss, "embedding_std": embedding_std, "effective_rank": 20.0}])
    if finished:
        trained_for = (epochs, training_seconds) if trained else (0, 0.0)
        run.finish(RunOutcome(*trained_for, ENVIRONMENT, chance_loss=chance_loss if trained else None))

    sides = {}
    for side, count in (("test", images), ("validation", images // 2)):
        own = np.arange(count) % len(classes)
        guessed = right_for(own, len(classes), random, accuracy)
        if side == "validation" and validation_accuracy is not None:
            guessed = right_for(own, len(classes), random, validation_accuracy)
        in_turn = groups or [f"patient{place // 3:03}" for place in range(count)]
        sides[side] = (own, guessed, [in_turn[place % len(in_turn)] for place in range(count)])
    if labels is not None:
        own = np.asarray(labels, dtype=np.int64)
        sides["test"] = (own, right_for(own, len(classes), random, accuracy), sides["test"][2])
    if predictions is not None:
        sides["test"] = (sides["test"][0], np.asarray(predictions, dtype=np.int64), sides["test"][2])
    arrays: dict[str, NDArray[Any]] = {}
    scores = {}
    for side, (own, guessed, named) in sides.items():
        certain = fairly_certain(guessed, len(classes))
        scores[side] = scored(tuple(own.tolist()), tuple(guessed.tolist()), tuple(classes))
        arrays |= {
            f"{side}_ids": np.array([f"{side}{place:04}.png" for place in range(len(own))], dtype=np.str_),
            f"{side}_groups": np.array(named, dtype=np.str_),
            f"{side}_labels": own,
            f"{side}_predictions": guessed,
            f"{side}_scores": certain,
        }
    settings = SETTINGS[probe] | (settings or {})
    folder = run.result_folder(
        probe, {"settings": settings, "precision": precision, "labels": [label_fraction, label_draw]}
    )
    result = made_up_result(
        run=run.name,
        probe=probe,
        label=f"KNN (k={settings['k']})" if probe == "knn" else LABELS[probe],
        settings=settings,
        labels=LabelSubset(label_fraction, label_draw),
        depends_on_seed=method not in FIXED or probe == "linear",
        test=scores["test"],
        validation=scores["validation"],
        classes=tuple(classes),
        images=SubsetSizes(4 * images, len(sides["validation"][0]), len(sides["test"][0])),
        split=record.split,
        data_digest=record.identity.images,
        precision=precision,
        config=config,
    )
    write_result(folder, result, arrays)
    return folder


def right_for(labels: NDArray[np.int64], classes: int, random: np.random.Generator, share: float) -> NDArray[np.int64]:
    """Predictions of which `share`, to the nearest image, is right; the others are the next class."""
    wrong = random.permutation(len(labels))[round(share * len(labels)) :]
    predictions = labels.copy()
    predictions[wrong] = (labels[wrong] + 1) % classes
    return predictions
