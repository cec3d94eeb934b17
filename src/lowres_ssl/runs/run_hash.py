"""What makes a run that run: everything that changes its numbers, and nothing that does not."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from lowres_ssl.augment.from_config import build_size_schedule
from lowres_ssl.config.check import ExperimentConfig, PretrainConfig, to_plain
from lowres_ssl.data.decode import DECODER_VERSION
from lowres_ssl.data.label_subset import LabelSubset
from lowres_ssl.data.prepare import DataSummary
from lowres_ssl.encoders.base import build_fixed_encoder
from lowres_ssl.io.checksummed_json import hash_file

IDENTITY_VERSION = 1
# What a `PretrainConfig` has beyond an `Experiment` says how to train, but for these; the schedule counts by its sizes.
TRAINING_KEYS = sorted(
    {field.name for field in fields(PretrainConfig)}
    - {field.name for field in fields(ExperimentConfig)}
    - {
        "checkpoint_seconds",
        "evaluate",
        "picture",
        "dry_run",
        "store",
        "compile",
        "preemption_signal",
        "deterministic",
        "image_size_schedule",
        "initial_weights",
        "sync_batch_norm",
        "tracker",
    }
)


def build_base_identity(config: ExperimentConfig, outline: DataSummary, precision: str) -> dict[str, Any]:
    """Images, labels, split, encoder and seed. Not: paths, device, the name of the data set or of the recipe."""
    values = to_plain(config)
    method = build_fixed_encoder(config.method)
    if method is not None and method.file is not None:
        values["method"]["weights"] = hash_file(method.file)
    return {
        "version": IDENTITY_VERSION,
        "images": {"digest": outline.catalogue.digest, **{key: values["images"][key] for key in ("mean", "std")}},
        "store": list(outline.store_shape),
        "decoder": DECODER_VERSION,
        "split": outline.split.digest,
        "image_size": config.image_size,
        "backbone": {} if method is not None and method.brings_architecture else values["backbone"],
        "method": values["method"],
        "seed": config.seed,
        "precision": precision,
    }


def build_training_identity(
    config: PretrainConfig,
    outline: DataSummary,
    precision: str,
    initial_weights: Path | None,
    seen: LabelSubset | None,
    processes: int = 1,
) -> dict[str, Any]:
    """`base_identity`, and how the encoder is trained: from the file `initial_weights` if it starts from one, on the
    labels `seen` by a supervised method. KNN's settings count where validation chooses the encoder,
    and the number of processes that share a batch where each has BatchNorm statistics of its own."""
    values = to_plain(config)
    identity = build_base_identity(config, outline, precision)
    identity["training"] = {key: values[key] for key in TRAINING_KEYS}
    sizes = build_size_schedule(
        config.image_size_schedule, epochs=config.epochs, image_size=config.image_size, smallest=1
    )
    if set(sizes) != {config.image_size}:  # one size throughout is no schedule, however it is written
        identity["training"]["image_sizes"] = sizes
    if initial_weights is not None:
        identity["initial_weights"] = hash_file(initial_weights)
    if seen is not None and not seen.is_full:
        identity["label_fraction"] = seen.fraction
    if processes > 1 and not config.sync_batch_norm:
        identity["processes"] = processes
    if values["select_encoder"] == "best_validation_knn":
        identity["validation"] = values["probe"]["knn"]
    return identity


def build_run_labels(config: PretrainConfig, method: str) -> list[str]:
    """Return the beginning of the name of a run of `method` with the data set, batch size and seed of `config`."""
    return [config.dataset.name, method, f"bs{config.batch_size}", f"s{config.seed}"]
