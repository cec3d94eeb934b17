"""Train the encoder of a plan, or find it finished or resume it; then score it beside its baselines."""

import os
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from torch import nn

from lowres_ssl.config.check import PretrainConfig, read_config, switch_to_baseline
from lowres_ssl.config.experiment_schema import RANDOM_BASELINES
from lowres_ssl.console import log_info, log_warning
from lowres_ssl.data.label_subset import ALL_LABELS, select_labelled
from lowres_ssl.data.prepare import PreparedData, prepare_data
from lowres_ssl.device import get_fp32_precision
from lowres_ssl.encoders.weights_file import list_states, load_encoder_weights, load_weights, read_epochs_done
from lowres_ssl.environment import describe_environment
from lowres_ssl.errors import CheckpointError, ConfigError
from lowres_ssl.evaluate.encoder_runs import (
    InitialWeights,
    get_fixed_run,
    save_encoder,
    save_run_split,
    write_run_record,
)
from lowres_ssl.evaluate.feature_cache import build_probe_features, extract_rows
from lowres_ssl.evaluate.supervised_head import save_classifier
from lowres_ssl.experiment.estimate import estimate_run, measure_speed_if_cheap
from lowres_ssl.experiment.forecast import print_estimate
from lowres_ssl.experiment.plan import (
    TrainingSetup,
    build_training_setup,
    check_world_size_unchanged,
    identify_run,
    make_checked_split,
)
from lowres_ssl.experiment.step_options import choose_step_settings
from lowres_ssl.experiment.summary import score_and_print
from lowres_ssl.io.atomic import check_writable
from lowres_ssl.io.locks import Lock
from lowres_ssl.methods import build_method
from lowres_ssl.runs.collapse import RUN_MARKS, find_run_marks
from lowres_ssl.runs.expectation import describe_training
from lowres_ssl.runs.run import Run
from lowres_ssl.sweeps.objective import check_search_has_score, compute_objective
from lowres_ssl.tracking.session import NO_TRACKING, TrackingSession, build_tracking_session
from lowres_ssl.train.batch_reader import ReadBatch
from lowres_ssl.train.forward import reset_compiler
from lowres_ssl.train.history import EpochLog
from lowres_ssl.train.loop import pretrain
from lowres_ssl.train.setup import WEIGHTS_METHOD, init_encoder
from lowres_ssl.train.signals import get_preemption_signal, install_handler
from lowres_ssl.train.state import compute_chance_loss
from lowres_ssl.train.world import World


def run_worker_rank(cfg: DictConfig, processes: World) -> None:
    """What the other processes of a run do: once the first has everything ready, train along; write and say nothing."""
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        if processes.wait_for_main():
            plan = build_training_setup(read_config(cfg, PretrainConfig), processes)
            material = prepare_data(plan.config, partial(make_checked_split, plan))
            run, _ = identify_run(plan, material.outline)
            train_encoder(plan, material, run, None, NO_TRACKING)


def run_main_rank(cfg: DictConfig, processes: World) -> float | None:
    """What the first process does, or the only one."""
    config = read_config(cfg, PretrainConfig)
    watch = build_tracking_session(config)
    check_no_sweep(processes)
    check_search_has_score(config)
    plan = build_training_setup(config, processes)
    check_writable(Path(config.output_dir))
    install_handler(get_preemption_signal(config))
    if config.dry_run:
        print_estimate(estimate_run(plan))
        return None
    material = prepare_data(config, partial(make_checked_split, plan))
    with watch:
        return train_and_score(cfg, plan, material, watch)


def train_and_score(
    cfg: DictConfig, plan: TrainingSetup, material: PreparedData, watch: TrackingSession
) -> float | None:
    config, probe = plan.config, OmegaConf.to_container(cfg.probe)
    rows = []
    if plan.method.trains:
        rows.append((get_or_train(plan, material, probe, watch), config))
        if plan.source is not None:
            rows.append(get_fixed_row(switch_to_baseline(cfg, WEIGHTS_METHOD), plan, material, probe, plan.source))
    else:
        rows.append((get_fixed_run(config, material, plan.compute, probe, plan.encoder), config))
        watch.begin(rows[0][0], config, material, trains=False)
    if not config.evaluate:
        return None
    # The rows that every table needs: the encoder as it is initialised, scored the same way.
    for start in RANDOM_BASELINES:
        if config.method["name"] != start:
            rows.append(get_fixed_row(switch_to_baseline(cfg, start), plan, material, probe))
    return compute_objective(score_and_print(rows, material, plan.compute, plan.draws, watch, picture=config.picture))


def check_no_sweep(processes: World) -> None:
    """A sweep of jobs in these same processes: where one of them fails in one job, the others are lost for the next."""
    in_one_place = HydraConfig.get().runtime.choices.get("hydra/launcher") == "basic"
    if processes.size > 1 and in_one_place and HydraConfig.get().mode is RunMode.MULTIRUN:
        raise ConfigError("-m: not with several processes a run; type one torchrun command a run, without -m")


def get_fixed_row(
    cfg: DictConfig, plan: TrainingSetup, material: PreparedData, probe: Any, source: InitialWeights | None = None
) -> tuple[Run, PretrainConfig]:
    """The same experiment without training: an encoder as it is initialised, or with the weights of `source`."""
    config = read_config(cfg, PretrainConfig)
    encoder, _ = init_encoder(config)
    if source is not None:
        load_encoder_weights(encoder, load_weights(source.path), str(source.path))
    return get_fixed_run(config, material, plan.compute, probe, encoder, source), config


def get_or_train(plan: TrainingSetup, material: PreparedData, probe: Any, watch: TrackingSession) -> Run:
    """The finished run of this plan: found, resumed or trained from the start. `probe`: its settings as composed."""
    run, identity = identify_run(plan, material.outline)
    with run.lock() as hold:
        return get_or_train_locked(plan, material, probe, run, identity, hold, watch)


def get_or_train_locked(
    plan: TrainingSetup,
    material: PreparedData,
    probe: Any,
    run: Run,
    identity: dict[str, Any],
    hold: Lock,
    watch: TrackingSession,
) -> Run:
    """The same, once no other process works on the run: it may have finished it."""
    config = plan.config
    if config.force:
        run.discard()
    description = None if config.force else run.read_to_resume()
    if description and description["finished"]:
        run.get_checked_encoder()
        run.remove_checkpoints()  # of a process that was killed between the two
        warn_of_damaged_history(run, description)
        save_run_split(run, config, material)
        log_info(f"{run.name}: finished already; force=true trains it again")
        watch.begin(run, config, material)
        watch.stored(run)
        return run
    if description is None and not config.force:
        check_world_size_unchanged(plan, identity)
    started = {} if plan.source is None else plan.source.get_inherited_record()
    if description is None:
        write_run_record(
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
    outcome = train_encoder(plan, material, run, hold, watch)
    hold.check()
    save_encoder(run.encoder(), plan.encoder.state_dict(), run, config, material)
    run.finish(**outcome)
    for key, is_marked in find_run_marks(run, run.description()).items():
        if is_marked:
            log_info(f"{run.name}: {RUN_MARKS[key].word}, {RUN_MARKS[key].meaning}; docs/runs.md has what to try")
    return run


def train_encoder(
    plan: TrainingSetup, material: PreparedData, run: Run, hold: Lock | None, watch: TrackingSession
) -> dict[str, Any]:
    """Train the plan's encoder in place; it ends as the one that `select_encoder` says. What is worth telling of it."""

    def keep_history(lines: list[EpochLog]) -> None:
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
            split.train[select_labelled(catalogue.labels, split.train, split.validation, plan.seen)[0]],
            catalogue.labels,
        )
    compute = choose_step_settings(plan, len(rows), time_layouts=not list_states(run.checkpoint))
    together = "" if plan.processes.size == 1 else f"{plan.processes.size} x "
    log_info(f"{run.name}: {config.method['name']} on {together}{compute.describe()}")
    if plan.processes.is_main:
        views = plan.training.views_per_epoch(len(rows))
        done = min(config.epochs, read_epochs_done(run.checkpoint))
        timed = partial(measure_speed_if_cheap, replace(plan, compute=compute), material.outline)
        log_info(f"{run.name}: {describe_training(run, config.epochs, done, views, compute.describe(), timed)}")
        if not list_states(run.checkpoint):
            keep_history([])  # it is of a process that was killed before it wrote a checkpoint
    plan.processes.connect(plan.compute.device, run.name)
    try:
        trained = pretrain(
            encoder=plan.encoder,
            method=method,
            store=material.store,
            rows=rows.tolist(),
            labels=labels,
            preemption=get_preemption_signal(config),
            views=plan.views,
            training=plan.training,
            compute=compute,
            place=config.store.name,
            checkpoint=run.checkpoint,
            name=f"{config.method['name']} on {config.dataset.name}",
            on_epoch=keep_history,
            before_saving=None if hold is None else hold.check,
            validate=partial(compute_validation_accuracy, plan, material) if selects else None,
            processes=plan.processes,
            sync_batch_norm=config.sync_batch_norm,
        )
    finally:
        if compute.compiled:
            reset_compiler()
    plan.processes.disconnect()
    if not plan.processes.is_main:
        return {}
    keep_history(trained.history)  # it may be damaged, if nothing but this was left to do
    outcome: dict[str, Any] = {
        "processes": plan.processes.size,
        "epochs": len(trained.history),
        "training_seconds": sum(line["seconds"] for line in trained.history),
        "compile_seconds": sum(line["compile_seconds"] for line in trained.history),
        "layout": trained.compute.layout,
        "fp32": get_fp32_precision(compute.device),
        **describe_environment(trained.compute.describe()),
        "chance_loss": compute_chance_loss(method, plan.training, len(rows)),
    }
    if trained.best is not None:
        save_encoder(run.last_encoder, plan.encoder.state_dict(), run, config, material)
        load_encoder_weights(plan.encoder, trained.best.encoder, run.name)
        if method.sees_labels:
            method.load_state_dict(trained.best.classifier)
        outcome |= {"selected_epoch": trained.best.epoch, "validation_knn_accuracy": trained.best.accuracy}
    if method.sees_labels:
        save_classifier(run.classifier, method.state_dict())
    return outcome


def warn_of_damaged_history(run: Run, description: dict[str, Any]) -> None:
    """Say so where the history is damaged: it tells of the training, and whether the run collapsed."""
    try:
        run.checked(run.history, description)
    except CheckpointError as error:
        log_warning(str(error))


def compute_validation_accuracy(
    plan: TrainingSetup, material: PreparedData, encoder: nn.Module, take: ReadBatch
) -> float:
    """Accuracy of the KNN probe on the validation images, which `take` reads; the test images are not looked at."""
    split = material.split
    train, validation = (
        extract_rows(encoder, rows, plan.config, material, plan.compute, take=take)
        for rows in (split.train, split.validation)
    )
    sides = {"train": train, "validation": validation, "test": train[:0]}
    draw = plan.seen or ALL_LABELS
    features = build_probe_features(sides, material, plan.compute, draw)
    probe = plan.evaluation.probes["knn"].at_fraction(draw.fraction)
    predicted = probe.fit_predict(features, seed=plan.config.seed).validation
    return float((predicted == features.validation_labels.cpu().numpy()).mean())
