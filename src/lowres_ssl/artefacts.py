"""Encoders as runs: what is stored of each, and the two kinds that nothing is trained for: random and given weights."""

from pathlib import Path
from typing import Any

from torch import Tensor

from lowres_ssl.checkpoint import load_encoder, load_weights, save_tensors
from lowres_ssl.config import Experiment, plain
from lowres_ssl.data.splits import save_split
from lowres_ssl.device import Compute
from lowres_ssl.errors import CheckpointError
from lowres_ssl.evaluation import new_encoder
from lowres_ssl.identity import base_identity
from lowres_ssl.preparation import Material
from lowres_ssl.provenance import provenance
from lowres_ssl.runs import Run, file_hash, run_for
from lowres_ssl.terminal import count


def untrained_run(
    config: Experiment, material: Material, compute: Compute, probe: Any, weights: Path | None = None
) -> Run:
    """The run of an encoder as it is: randomly initialised from the seed, or the one in the file `weights`.

    Found if it is there, else made. `probe`: the settings of the probes as composed. Raises `CheckpointError` for a
    file that does not fit `config.backbone`.
    """
    identity = base_identity(config, material, compute.precision)
    if weights is not None:
        identity["weights"] = file_hash(weights)
    kind = "pretrain" if weights is None else "evaluate"
    labels = [config.dataset.name, config.method["name"], f"s{config.seed}"]
    run = run_for(Path(config.output_dir), kind, labels, identity)
    if config.force and kind == "pretrain":
        run.discard()
    if not is_whole(run, material):
        encoder, _ = new_encoder(config)
        if weights is not None:
            load_encoder(encoder, load_weights(weights), str(weights))
        source = None if weights is None else weights.name
        describe_run(run, config, material, identity, probe=probe, weights=source)
        keep_encoder(run.encoder(), encoder.state_dict(), run, config, material)
        run.finish(epochs=0, training_seconds=0.0, **provenance(compute.describe()))
    return run


def is_whole(run: Run, material: Material) -> bool:
    """Whether the run is finished and its encoder as it was written. A split that got lost is written down again."""
    description = run.read()
    if description is None or not description["finished"]:
        return False
    keep_split(run, material)
    try:
        run.checked_encoder()
    except CheckpointError:
        return False
    return True


def keep_split(run: Run, material: Material) -> None:
    """Write the split down, unless it is there: the run's identity covers its digest, so it is the same one."""
    if not run.split.exists():
        save_split(material.split, material.catalogue, run.split)


def describe_run(run: Run, config: Experiment, material: Material, identity: dict[str, Any], **more: Any) -> None:
    """Write down what the run is before anything is computed."""
    split = material.split
    keep_split(run, material)
    run.start(
        {
            "method": config.method["name"],
            "dataset": config.dataset.name,
            "title": config.dataset.title,
            "recipe": config.recipe,
            "seed": config.seed,
            "unlabelled_images": len(material.catalogue.unlabelled),
            "split": {"kind": split.kind, "seed": split.seed, "digest": split.digest},
            "backbone": config.backbone.name,
            "image_size": config.image_size,
            "precision": identity["precision"],
            "store": material.store.path.name,
            "identity": identity,
            "config": plain(config),
            **more,
        }
    )


def keep_encoder(path: Path, weights: dict[str, Tensor], run: Run, config: Experiment, material: Material) -> None:
    """Write an encoder with what is needed to use it elsewhere. The same run gives the same bytes."""
    metadata = {
        "run": run.name,
        "method": config.method["name"],
        "backbone": plain(config.backbone),
        "image_size": config.image_size,
        "mean": list(config.images.mean),
        "std": list(config.images.std),
        "data_digest": material.catalogue.digest,
        "split_digest": material.split.digest,
    }
    save_tensors(path, weights, metadata)


def row_name(description: dict[str, Any]) -> str:
    """How a run is called in a table, from what `run.json` says."""
    match description["method"]:
        case "random":
            return "random initialisation"
        case "weights":
            return f"weights of {description['weights']}"
        case method:
            marks = "" if description["pretrain_on"] == "training" else ", on all images"
            epochs = count(description["epochs_wanted"], "epoch")
            return f"{method}, batch size {description['batch_size']}, {epochs}{marks}"
