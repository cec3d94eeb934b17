"""`lowres-ssl pretrain`: an encoder from the training images, found finished, resumed or trained; then its scores."""

import os
import signal
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from torch import nn

from lowres_ssl.ahead.dry_run import foretell
from lowres_ssl.ahead.expectation import training_ahead
from lowres_ssl.ahead.forecast import tell
from lowres_ssl.ahead.pace import quick_speed
from lowres_ssl.artefacts import Source, describe_run, keep_encoder, keep_split, untrained_run
from lowres_ssl.checkpoint import epochs_in, load_encoder, load_weights, states_at
from lowres_ssl.config import PretrainConfig, read_config, without_training
from lowres_ssl.device import fp32_products
from lowres_ssl.errors import CheckpointError, ConfigError
from lowres_ssl.evaluation.classifier import keep_classifier
from lowres_ssl.evaluation.frozen import features_from, with_labels
from lowres_ssl.evaluation.labels import ALL_LABELS, drawn
from lowres_ssl.evaluation.scoring import score_and_show
from lowres_ssl.files.leases import Hold
from lowres_ssl.interruption import heed
from lowres_ssl.methods import Method, build_method
from lowres_ssl.planning.encoders import WEIGHTS, new_encoder
from lowres_ssl.planning.plan import Plan, divide, plan_of, refuse_other_number, run_of
from lowres_ssl.planning.preparation import Material, prepare
from lowres_ssl.planning.step import compute_for
from lowres_ssl.pretrain import pretrain
from lowres_ssl.provenance import provenance
from lowres_ssl.results.collapse import MARKS, marks_of
from lowres_ssl.runs import Run, check_writable
from lowres_ssl.schemas.experiment import RANDOM_STARTS
from lowres_ssl.sweeps.objective import objective, refuse_search_without_score
from lowres_ssl.terminal import say, warn
from lowres_ssl.training.distributed import Processes, joined
from lowres_ssl.training.forward import forget_compiled
from lowres_ssl.training.history import Line
from lowres_ssl.training.residence import Take
from lowres_ssl.training.state import Training
from lowres_ssl.watching import UNWATCHED, Watch, watch_of


def main(cfg: DictConfig) -> float | None:
    """The score that a search maximises; none of a run that was not scored by it."""
    with joined() as processes:
        if processes.leads:
            return lead(cfg, processes)
        follow(cfg, processes)
        return None


def follow(cfg: DictConfig, processes: Processes) -> None:
    """What the other processes of a run do: once the first has everything ready, train along; write and say nothing."""
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        if processes.is_called():
            plan = plan_of(read_config(cfg, PretrainConfig), processes)
            material = prepare(plan.config, partial(divide, plan))
            run, _ = run_of(plan, material.outline)
            train(plan, material, run, None, UNWATCHED)


def lead(cfg: DictConfig, processes: Processes) -> float | None:
    """What the first process does, or the only one."""
    config = read_config(cfg, PretrainConfig)
    watch = watch_of(config)
    refuse_sweep(processes)
    refuse_search_without_score(config)
    plan = plan_of(config, processes)
    check_writable(Path(config.output_dir))
    heed(preemption_of(config))
    if config.dry_run:
        tell(foretell(plan))
        return None
    material = prepare(config, partial(divide, plan))
    with watch:
        return run_and_score(cfg, plan, material, watch)


def run_and_score(cfg: DictConfig, plan: Plan, material: Material, watch: Watch) -> float | None:
    config, probe = plan.config, OmegaConf.to_container(cfg.probe)
    rows = []
    if plan.method.trains:
        rows.append((obtain(plan, material, probe, watch), config))
        if plan.source is not None:
            rows.append(untrained_row(without_training(cfg, WEIGHTS), plan, material, probe, plan.source))
    else:
        rows.append((untrained_run(config, material, plan.compute, probe, plan.encoder), config))
        watch.begin(rows[0][0], config, material, trains=False)
    if not config.evaluate:
        return None
    # The rows that every table needs: the encoder as it is initialised, scored the same way.
    for start in RANDOM_STARTS:
        if config.method["name"] != start:
            rows.append(untrained_row(without_training(cfg, start), plan, material, probe))
    return objective(score_and_show(rows, material, plan.compute, plan.draws, watch, picture=config.picture))


def refuse_sweep(processes: Processes) -> None:
    """A sweep of jobs in these same processes: where one of them fails in one job, the others are lost for the next."""
    in_one_place = HydraConfig.get().runtime.choices.get("hydra/launcher") == "basic"
    if processes.size > 1 and in_one_place and HydraConfig.get().mode is RunMode.MULTIRUN:
        raise ConfigError("-m: not with several processes a run; type one torchrun command a run, without -m")


def untrained_row(
    cfg: DictConfig, plan: Plan, material: Material, probe: Any, source: Source | None = None
) -> tuple[Run, PretrainConfig]:
    """The same experiment without training: an encoder as it is initialised, or with the weights of `source`."""
    config = read_config(cfg, PretrainConfig)
    encoder, _ = new_encoder(config)
    if source is not None:
        load_encoder(encoder, load_weights(source.path), str(source.path))
    return untrained_run(config, material, plan.compute, probe, encoder, source), config


def obtain(plan: Plan, material: Material, probe: Any, watch: Watch) -> Run:
    """The finished run of this plan: found, resumed or trained from the start. `probe`: its settings as composed."""
    run, identity = run_of(plan, material.outline)
    with run.held() as hold:
        return obtain_held(plan, material, probe, run, identity, hold, watch)


def obtain_held(
    plan: Plan, material: Material, probe: Any, run: Run, identity: dict[str, Any], hold: Hold, watch: Watch
) -> Run:
    """The same, once no other process works on the run: it may have finished it."""
    config = plan.config
    if config.force:
        run.discard()
    description = None if config.force else run.read_to_go_on()
    if description and description["finished"]:
        run.checked_encoder()
        run.forget_checkpoints()  # of a process that was killed between the two
        note_history(run, description)
        keep_split(run, config, material)
        say(f"{run.name}: finished already; force=true trains it again")
        watch.begin(run, config, material)
        watch.stored(run)
        return run
    if description is None and not config.force:
        refuse_other_number(plan, identity)
    started = {} if plan.source is None else plan.source.handed_on()
    if description is None:
        describe_run(
            run,
            config,
            material,
            identity,
            plan.source,
            batch_size=config.batch_size,
            epochs_wanted=config.epochs,
            probe=probe,
            pretrain_on="all" if config.pretrain_on.name == "all" else started.get("pretrain_on", "training"),
            label_fraction=started.get("label_fraction") if plan.seen is None else plan.seen.fraction,
            label_draw=started.get("label_draw") if plan.seen is None else plan.seen.number,
        )
    watch.begin(run, config, material)
    outcome = train(plan, material, run, hold, watch)
    hold.check()
    keep_encoder(run.encoder(), plan.encoder.state_dict(), run, config, material)
    run.finish(**outcome)
    for key, is_marked in marks_of(run, run.description()).items():
        if is_marked:
            say(f"{run.name}: {MARKS[key].word}, {MARKS[key].meaning}; docs/runs.md has what to try")
    return run


def train(plan: Plan, material: Material, run: Run, hold: Hold | None, watch: Watch) -> dict[str, Any]:
    """Train the plan's encoder in place; it ends as the one that `select_encoder` says. What is worth telling of it."""

    def keep_history(lines: list[Line]) -> None:
        if hold is not None:
            hold.check()
        if lines:
            run.write_history(lines)
        else:
            run.history.unlink(missing_ok=True)
        watch.history(lines)

    config = plan.config
    selects = config.select_encoder.name == "best_validation_knn"
    catalogue, split, method = material.catalogue, material.split, plan.method
    rows, labels = material.pretraining_rows(config.pretrain_on.name), None
    if plan.seen is not None:
        method = build_method(config.method, features=plan.width, classes=len(catalogue.classes), seed=config.seed)
        rows, labels = (
            split.train[drawn(catalogue.labels, split.train, split.validation, plan.seen)[0]],
            catalogue.labels,
        )
    compute = compute_for(plan, len(rows), time_layouts=not states_at(run.checkpoint))
    together = "" if plan.processes.size == 1 else f"{plan.processes.size} x "
    say(f"{run.name}: {config.method['name']} on {together}{compute.describe()}")
    if plan.processes.leads:
        views = plan.training.views_per_epoch(len(rows))
        done = min(config.epochs, epochs_in(run.checkpoint))
        timed = partial(quick_speed, replace(plan, compute=compute), material.outline)
        say(f"{run.name}: {training_ahead(run, config.epochs, done, views, compute.describe(), timed)}")
        if not states_at(run.checkpoint):
            keep_history([])  # it is of a process that was killed before it wrote a checkpoint
    plan.processes.connect(plan.compute.device, run.name)
    try:
        trained = pretrain(
            encoder=plan.encoder,
            method=method,
            store=material.store,
            rows=rows.tolist(),
            labels=labels,
            preemption=preemption_of(config),
            views=plan.views,
            training=plan.training,
            compute=compute,
            place=config.store.name,
            checkpoint=run.checkpoint,
            name=f"{config.method['name']} on {config.dataset.name}",
            on_epoch=keep_history,
            before_saving=None if hold is None else hold.check,
            validate=partial(validation_accuracy, plan, material) if selects else None,
            processes=plan.processes,
            sync_batch_norm=config.sync_batch_norm,
        )
    finally:
        if compute.compiled:
            forget_compiled()
    plan.processes.disconnect()
    if not plan.processes.leads:
        return {}
    keep_history(trained.history)  # it may be damaged, if nothing but this was left to do
    outcome: dict[str, Any] = {
        "processes": plan.processes.size,
        "epochs": len(trained.history),
        "training_seconds": sum(line["seconds"] for line in trained.history),
        "compile_seconds": sum(line["compile_seconds"] for line in trained.history),
        "layout": trained.compute.layout,
        "fp32": fp32_products(compute.device),
        **provenance(trained.compute.describe()),
        "chance_loss": chance_loss_of(method, plan.training, len(rows)),
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


def chance_loss_of(method: Method, training: Training, images: int) -> float | None:
    """The mean over an epoch's batches, the last of which may be smaller, of `Method.chance_loss`."""
    full, rest = divmod(images, training.batch_size)
    sizes = [training.batch_size] * full + [rest] * (training.steps_per_epoch(images) - full)
    losses = [loss for size in sizes if (loss := method.chance_loss(size)) is not None]
    return mean(losses) if losses else None


def preemption_of(config: PretrainConfig) -> signal.Signals | None:
    name = config.preemption_signal.name
    return None if name == "none" else signal.Signals[f"SIG{name}"]


def note_history(run: Run, description: dict[str, Any]) -> None:
    """Say so where the history is damaged: it tells of the training, and whether the run collapsed."""
    try:
        run.checked(run.history, description)
    except CheckpointError as error:
        warn(str(error))


def validation_accuracy(plan: Plan, material: Material, encoder: nn.Module, take: Take) -> float:
    """Accuracy of the KNN probe on the validation images, which `take` reads; the test images are not looked at."""
    split = material.split
    train, validation = (
        features_from(encoder, rows, plan.config, material, plan.compute, take=take)
        for rows in (split.train, split.validation)
    )
    sides = {"train": train, "validation": validation, "test": train[:0]}
    draw = plan.seen or ALL_LABELS
    features = with_labels(sides, material, plan.compute, draw)
    probe = plan.evaluation.probes["knn"].at_fraction(draw.fraction)
    predicted = probe.fit_predict(features, seed=plan.config.seed).validation
    return float((predicted == features.validation_labels.cpu().numpy()).mean())
