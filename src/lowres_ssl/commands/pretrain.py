"""`lowres-ssl pretrain`: an encoder from the training images, found finished, resumed or trained; then its scores."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import nn

from lowres_ssl.artefacts import describe_run, keep_encoder, keep_split, untrained_run
from lowres_ssl.augmentation import view_makers
from lowres_ssl.checkpoint import load_encoder
from lowres_ssl.config import PretrainConfig, read_config, with_method_random
from lowres_ssl.data.records import Catalogue
from lowres_ssl.data.splits import Split
from lowres_ssl.device import Compute, resolve
from lowres_ssl.errors import ConfigError
from lowres_ssl.evaluation import Evaluation, check_images, features_from, new_encoder, probes_of, with_labels
from lowres_ssl.forward import forget_compiled
from lowres_ssl.identity import training_identity
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
    method: Method
    training: Training
    views: list[ViewMaker]  # of each epoch
    evaluation: Evaluation
    compute: Compute


def main(cfg: DictConfig) -> None:
    config = read_config(cfg, PretrainConfig)
    plan = plan_of(config)
    check_writable(Path(config.output_dir))
    material = prepare(config, partial(divide, plan))
    probe = OmegaConf.to_container(cfg.probe)
    rows = []
    if plan.method.trains:
        rows.append((obtain(plan, material, probe), config))
        # The row that every table needs: the encoder this one starts from, scored the same way.
        config = read_config(with_method_random(cfg), PretrainConfig)
    if plan.config.evaluate or not plan.method.trains:
        rows.append((untrained_run(config, material, plan.compute, probe), config))
    if plan.config.evaluate:
        score_and_show(rows, material, plan.compute)


def plan_of(config: PretrainConfig) -> Plan:
    """Raises `ConfigError` for whatever is wrong with `config` and can be known without the images."""
    compute = resolve(config.device.name, config.precision.name, compile=config.compile.name)
    selects = config.select_encoder.name == "best_validation_knn"
    if selects and "knn" not in config.probe:
        raise ConfigError("select_encoder=best_validation_knn: wanted knn among the probes; type probe=[knn,linear]")
    encoder, width = new_encoder(config)
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
    return Plan(
        config=config,
        encoder=encoder,
        method=build_method(config.method, features=width, seed=config.seed),
        training=training,
        views=view_makers(config),
        evaluation=probes_of(config) if config.evaluate or selects else Evaluation({}, {}),
        compute=compute,
    )


def divide(plan: Plan, catalogue: Catalogue) -> Split:
    """The split. Raises `ConfigError` if the images will not do for this plan; says what is doubtful."""
    split = split_of(plan.config, catalogue)
    selects = plan.method.trains and plan.config.select_encoder.name == "best_validation_knn"
    check_images(plan.evaluation, catalogue, split)
    if selects and not len(split.validation):
        raise ConfigError("select_encoder=best_validation_knn: there are no validation images; try last")
    if plan.method.trains:
        everything = plan.config.pretrain_on.name == "all"
        images = len(catalogue.records if everything else split.train) + len(catalogue.unlabelled)
        plan.training.steps_per_epoch(images)
    return split


def obtain(plan: Plan, material: Material, probe: Any) -> Run:
    """The finished run of this plan: found, resumed or trained from the start. `probe`: its settings as composed."""
    config = plan.config
    identity = training_identity(config, material, plan.compute.precision)
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
            batch_size=config.batch_size,
            epochs_wanted=config.epochs,
            pretrain_on=config.pretrain_on.name,
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
    try:
        trained = pretrain(
            encoder=plan.encoder,
            method=plan.method,
            store=material.store,
            rows=material.pretraining_rows(config.pretrain_on.name).tolist(),
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
        outcome |= {"selected_epoch": trained.best.epoch, "validation_knn_accuracy": trained.best.accuracy}
    return outcome


def validation_accuracy(plan: Plan, material: Material, encoder: nn.Module) -> float:
    """Accuracy of the KNN probe on the validation images; the test images are not looked at."""
    split, labels = material.split, material.catalogue.labels
    train, validation = (
        features_from(encoder, rows, plan.config, material, plan.compute) for rows in (split.train, split.validation)
    )
    sides = {"train": train, "validation": validation, "test": train[:0]}
    features = with_labels(sides, material, plan.compute)
    predicted = plan.evaluation.probes["knn"].fit_predict(features, seed=plan.config.seed).validation
    return float((predicted == labels[split.validation]).mean())
