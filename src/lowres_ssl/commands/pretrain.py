"""`lowres-ssl pretrain`: an encoder from the training images, found finished, resumed or trained; then its scores."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import nn

from lowres_ssl.artefacts import Source, describe_run, keep_encoder, keep_split, source_of, untrained_run
from lowres_ssl.augmentation import view_makers
from lowres_ssl.checkpoint import load_encoder, load_weights
from lowres_ssl.classifier import keep_classifier
from lowres_ssl.config import PretrainConfig, read_config, without_training
from lowres_ssl.data.records import Catalogue
from lowres_ssl.data.splits import Split
from lowres_ssl.device import Compute, resolve
from lowres_ssl.encoders import WEIGHTS, new_encoder, starting_encoder
from lowres_ssl.errors import ConfigError
from lowres_ssl.evaluation import Evaluation, check_images, probes_of
from lowres_ssl.forward import forget_compiled
from lowres_ssl.frozen import features_from, with_labels
from lowres_ssl.identity import training_identity
from lowres_ssl.labels import ALL_LABELS, LabelDraw, drawn
from lowres_ssl.methods import Method, build_method
from lowres_ssl.preparation import Material, prepare, split_of
from lowres_ssl.pretrain import Training, pretrain
from lowres_ssl.provenance import provenance
from lowres_ssl.runs import Run, check_writable, run_for
from lowres_ssl.scoring import score_and_show
from lowres_ssl.terminal import say
from lowres_ssl.views.maker import ViewMaker


@dataclass(frozen=True)
class Plan:
    """A config with everything built that can be built without an image, and so checked."""

    config: PretrainConfig
    encoder: nn.Module
    width: int  # of its features
    method: Method
    training: Training
    views: list[ViewMaker]  # of each epoch
    evaluation: Evaluation
    compute: Compute
    source: Source | None  # of the weights that the encoder starts with
    draw: LabelDraw  # which labels a supervised method sees, and its probes


def main(cfg: DictConfig) -> None:
    config = read_config(cfg, PretrainConfig)
    plan = plan_of(config)
    check_writable(Path(config.output_dir))
    material = prepare(config, partial(divide, plan))
    probe = OmegaConf.to_container(cfg.probe)
    rows = []
    if plan.method.trains:
        rows.append((obtain(plan, material, probe), config))
        if plan.source is not None:
            rows.append(untrained_row(without_training(cfg, WEIGHTS), plan, material, probe, plan.source))
    else:
        rows.append((untrained_run(config, material, plan.compute, probe, plan.encoder), config))
    if config.evaluate:
        # The row that every table needs: the encoder as it is initialised, scored the same way.
        if config.method["name"] != "random":
            rows.append(untrained_row(without_training(cfg), plan, material, probe))
        score_and_show(rows, material, plan.compute, [plan.draw])


def untrained_row(
    cfg: DictConfig, plan: Plan, material: Material, probe: Any, source: Source | None = None
) -> tuple[Run, PretrainConfig]:
    """The same experiment without training: an encoder as it is initialised, or with the weights of `source`."""
    config = read_config(cfg, PretrainConfig)
    encoder, _ = new_encoder(config)
    if source is not None:
        load_encoder(encoder, load_weights(source.path), str(source.path))
    return untrained_run(config, material, plan.compute, probe, encoder, source), config


def plan_of(config: PretrainConfig) -> Plan:
    """Raises `ConfigError` for whatever is wrong with `config` and can be known without the images."""
    compute = resolve(config.device.name, config.precision.name, compile=config.compile.name)
    selects = config.select_encoder.name == "best_validation_knn"
    if selects and "knn" not in config.probe:
        raise ConfigError("select_encoder=best_validation_knn: wanted knn among the probes; type probe=[knn,linear]")
    encoder, width = starting_encoder(config)
    source = None
    if config.initial_weights is not None:
        source = source_of(config.initial_weights, Path(config.output_dir))
        load_encoder(encoder, load_weights(source.path), f"initial_weights={config.initial_weights}")
    training = Training(
        epochs=config.epochs,
        batch_size=config.batch_size,
        keep_last_batch=config.keep_last_batch,
        joint=config.forward.name == "joint",
        learning_rate=config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        decay_norm_and_bias=config.decay_norm_and_bias,
        schedule=config.schedule.name,
        warmup_epochs=config.warmup_epochs,
        checkpoint_every=config.checkpoint_every,
        seed=config.seed,
    )
    # The classes are known once the images are; until then a supervised method's classifier is a stand-in.
    method = build_method(config.method, features=width, classes=1, seed=config.seed)
    check_labels_are_used(config, method)
    return Plan(
        config=config,
        encoder=encoder,
        width=width,
        method=method,
        training=training,
        views=view_makers(config),
        evaluation=probes_of(config) if config.evaluate or selects else Evaluation({}, {}),
        compute=compute,
        source=source,
        draw=ALL_LABELS if config.label_fraction == 1 else LabelDraw(config.label_fraction, config.seed),
    )


def check_labels_are_used(config: PretrainConfig, method: Method) -> None:
    """Raises `ConfigError` for what says something of labels or weights that this method has no use for."""
    name = config.method["name"]
    if config.initial_weights is not None and not method.trains:
        raise ConfigError(
            f"initial_weights={config.initial_weights}: method={name} trains nothing; score weights as they are with "
            "lowres-ssl evaluate weights=FILE"
        )
    if config.label_fraction != 1 and not method.sees_labels:
        raise ConfigError(
            f"label_fraction={config.label_fraction}: method={name} sees no labels; type method=supervised, or score a "
            f"run with lowres-ssl evaluate run=RUN label_fraction=[{config.label_fraction}]"
        )
    if method.sees_labels and config.pretrain_on.name == "all":
        raise ConfigError("pretrain_on=all: method=supervised would see the test labels; leave it out")


def divide(plan: Plan, catalogue: Catalogue) -> Split:
    """The split. Raises `ConfigError` if the images will not do for this plan; says what is doubtful."""
    split = split_of(plan.config, catalogue)
    selects = plan.method.trains and plan.config.select_encoder.name == "best_validation_knn"
    check_images(plan.evaluation, catalogue, split, [plan.draw])
    if selects and not len(split.validation):
        raise ConfigError("select_encoder=best_validation_knn: there are no validation images; try last")
    if plan.method.sees_labels:
        plan.training.steps_per_epoch(len(drawn(catalogue.labels, split.train, split.validation, plan.draw)[0]))
    elif plan.method.trains:
        everything = plan.config.pretrain_on.name == "all"
        images = len(catalogue.records if everything else split.train) + len(catalogue.unlabelled)
        plan.training.steps_per_epoch(images)
    return split


def obtain(plan: Plan, material: Material, probe: Any) -> Run:
    """The finished run of this plan: found, resumed or trained from the start. `probe`: its settings as composed."""
    config = plan.config
    source = plan.source
    start = None if source is None else source.path
    identity = training_identity(config, material, plan.compute.precision, start)
    labels = [config.dataset.name, config.method["name"], f"bs{config.batch_size}", f"s{config.seed}"]
    run = run_for(Path(config.output_dir), "pretrain", labels, identity)
    if config.force:
        run.discard()
    description = run.read()
    if description and description["finished"]:
        run.checked_encoder()
        keep_split(run, material)
        say(f"{run.name}: finished already; force=true trains it again")
        return run
    if description is None:
        describe_run(
            run,
            config,
            material,
            identity,
            source,
            batch_size=config.batch_size,
            epochs_wanted=config.epochs,
            pretrain_on=config.pretrain_on.name,
            label_fraction=config.label_fraction if plan.method.sees_labels else None,
            probe=probe,
        )
    outcome = train(plan, material, run)
    keep_encoder(run.encoder(), plan.encoder.state_dict(), run, config, material)
    run.finish(**outcome, **provenance(plan.compute.describe()))
    return run


def train(plan: Plan, material: Material, run: Run) -> dict[str, Any]:
    """Train the plan's encoder in place; it ends as the one that `select_encoder` says. What is worth telling of it."""
    config = plan.config
    selects = config.select_encoder.name == "best_validation_knn"
    say(f"{run.name}: {config.method['name']} on {plan.compute.describe()}")
    catalogue, split, method = material.catalogue, material.split, plan.method
    rows, labels = material.pretraining_rows(config.pretrain_on.name), None
    if method.sees_labels:
        method = build_method(config.method, features=plan.width, classes=len(catalogue.classes), seed=config.seed)
        rows, labels = (
            split.train[drawn(catalogue.labels, split.train, split.validation, plan.draw)[0]],
            catalogue.labels,
        )
    try:
        trained = pretrain(
            encoder=plan.encoder,
            method=method,
            store=material.store,
            rows=rows.tolist(),
            labels=labels,
            views=plan.views,
            training=plan.training,
            compute=plan.compute,
            place=config.store.name,
            checkpoint=run.checkpoint,
            name=f"{config.method['name']} on {config.dataset.name}",
            on_epoch=run.write_history,
            validate=partial(validation_accuracy, plan, material) if selects else None,
        )
    finally:
        if plan.compute.compiled:
            forget_compiled()
    outcome: dict[str, Any] = {
        "epochs": len(trained.history),
        "training_seconds": sum(line["seconds"] for line in trained.history),
    }
    if trained.best is not None:
        keep_encoder(run.last_encoder, plan.encoder.state_dict(), run, config, material)
        load_encoder(plan.encoder, trained.best.encoder, run.name)
        if method.sees_labels:
            method.load_state_dict(trained.best.classifier)
        outcome |= {"selected_epoch": trained.best.epoch, "validation_knn_accuracy": trained.best.accuracy}
    if method.sees_labels:
        keep_classifier(run.classifier, method.state_dict())
    return outcome


def validation_accuracy(plan: Plan, material: Material, encoder: nn.Module) -> float:
    """Accuracy of the KNN probe on the validation images; the test images are not looked at."""
    split = material.split
    train, validation = (
        features_from(encoder, rows, plan.config, material, plan.compute) for rows in (split.train, split.validation)
    )
    sides = {"train": train, "validation": validation, "test": train[:0]}
    features = with_labels(sides, material, plan.compute, plan.draw)
    probe = plan.evaluation.probes["knn"].at_fraction(plan.draw.fraction)
    predicted = probe.fit_predict(features, seed=plan.config.seed).validation
    return float((predicted == features.validation_labels.cpu().numpy()).mean())
