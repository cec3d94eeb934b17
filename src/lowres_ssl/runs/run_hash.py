"""Build what identifies a run: everything that changes its numbers, and nothing that does not.

An allow-list: of a config only the keys that their schema marks as "numbers" count, and of those only the ones that are
not at the schema's default.
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from lowres_ssl.augment.from_config import build_size_schedule
from lowres_ssl.config.experiment_schema import ExperimentConfig, PretrainConfig, get_default, has_fact
from lowres_ssl.data.decode import DECODER_VERSION
from lowres_ssl.data.prepare import DataSummary
from lowres_ssl.data.splits import LabelSubset
from lowres_ssl.encoders.base import build_fixed_encoder
from lowres_ssl.io.checksummed_json import JSON, hash_file, to_json
from lowres_ssl.runs.records import RunIdentity
from lowres_ssl.train.optimizers import OPTIMIZERS, SHARED_SETTINGS


def build_base_identity(
    config: ExperimentConfig, outline: DataSummary, precision: str, weights: Path | None = None
) -> RunIdentity:
    """Build the identity of a fixed encoder: images, labels, split, encoder and seed, with the weights in the file
    `weights` if there is one. Not: paths, device, the name of the data set or of the recipe."""
    settings = dict(list_numeric_settings(config, ExperimentConfig))
    method = build_fixed_encoder(config.method)
    if method is not None and method.file is not None:
        settings["method.weights"] = hash_file(method.file)
    if method is not None and method.brings_architecture:
        settings = {key: value for key, value in settings.items() if not key.startswith("backbone.")}
    return RunIdentity(
        images=outline.catalogue.digest,
        decoder=DECODER_VERSION,
        store=outline.store_shape,
        split=outline.split.digest,
        precision=precision,
        settings=settings,
        weights=None if weights is None else hash_file(weights),
    )


def build_training_identity(
    config: PretrainConfig,
    outline: DataSummary,
    precision: str,
    initial_weights: Path | None,
    seen: LabelSubset | None,
    processes: int = 1,
) -> RunIdentity:
    """Build the identity of a training: `build_base_identity`, and how the encoder is trained: from the file
    `initial_weights` if it starts from one, on the labels `seen` by a supervised method. KNN's settings count where
    validation chooses the encoder, and the number of processes that share a batch where each has BatchNorm statistics
    of its own."""
    identity = build_base_identity(config, outline, precision)
    settings = {**identity.settings, **dict(list_numeric_settings(config, PretrainConfig))}
    taken = OPTIMIZERS[str(config.optimiser["name"])].__dataclass_fields__  # AdamW has no momentum
    settings = {key: value for key, value in settings.items() if key in taken or key not in SHARED_SETTINGS}
    sizes = build_size_schedule(
        config.image_size_schedule, epochs=config.epochs, image_size=config.image_size, smallest=1
    )
    if set(sizes) != {config.image_size}:  # one size throughout is no schedule, however it is written
        settings["image_size_schedule"] = sizes
    if config.select_encoder.name == "best_validation_knn":
        settings |= dict(flatten_setting("probe.knn", config.probe["knn"]))
    return replace(
        identity,
        settings=settings,
        initial_weights=None if initial_weights is None else hash_file(initial_weights),
        label_fraction=None if seen is None or seen.is_full else seen.fraction,
        processes=processes if processes > 1 and not config.sync_batch_norm else None,
    )


def list_numeric_settings(
    config: Any, schema: type, prefix: str = "", is_counted: bool = False
) -> Iterator[tuple[str, JSON]]:
    """List the keys of `schema` that change numbers (is_counted: all keys), those of sections with dots, but for values
    at the schema's default."""
    for each in fields(schema):
        value, counts = getattr(config, each.name), is_counted or has_fact(each, "numbers")
        if is_dataclass(value) and not isinstance(value, type):
            yield from list_numeric_settings(value, type(value), f"{prefix}{each.name}.", counts)
        elif counts and value != get_default(each):
            yield from flatten_setting(f"{prefix}{each.name}", to_json(value))


def flatten_setting(key: str, value: JSON) -> Iterator[tuple[str, JSON]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from flatten_setting(f"{key}.{name}", inner)
    else:
        yield key, value


def build_run_labels(config: PretrainConfig, method: str) -> list[str]:
    """Return the beginning of the name of a run of `method` with the data set, batch size and seed of `config`."""
    return [config.dataset.name, method, f"bs{config.batch_size}", f"s{config.seed}"]
