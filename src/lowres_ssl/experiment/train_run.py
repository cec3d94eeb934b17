"""Run `pretrain` end to end: find the run finished, resume or train it, then score it beside its baselines."""

import os
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from omegaconf import DictConfig
from torch import nn

from lowres_ssl.config.check import Experiment, read_config
from lowres_ssl.config.experiment_schema import WEIGHTS_METHOD, PretrainConfig
from lowres_ssl.config.overrides import format_command
from lowres_ssl.console import log_info, log_warning
from lowres_ssl.data.prepare import PreparedData, prepare_data, select_pretraining_images
from lowres_ssl.data.splits import ALL_LABELS
from lowres_ssl.encoders.fit_weights import load_encoder_weights
from lowres_ssl.environment import describe_environment
from lowres_ssl.errors import CheckpointError
from lowres_ssl.evaluate.encoder_runs import (
    ProbeSettings,
    get_fixed_run,
    save_encoder,
    save_run_split,
    start_run,
)
from lowres_ssl.evaluate.evaluate import save_classifier
from lowres_ssl.evaluate.features import EvaluationView, build_probe_features, extract_features
from lowres_ssl.experiment.estimate import estimate_run
from lowres_ssl.experiment.plan import (
    TrainingSetup,
    build_training_setup,
    choose_step_settings,
    identify_run,
    make_checked_split,
)
from lowres_ssl.experiment.scores import compute_objective, score_and_print
from lowres_ssl.io.locks import Lock
from lowres_ssl.methods.base import build_method
from lowres_ssl.runs.history import RUN_MARKS, find_run_marks
from lowres_ssl.runs.records import RunIdentity, RunOutcome, RunRecord
from lowres_ssl.runs.run import Run, find_runs_by_labels
from lowres_ssl.runs.run_hash import build_run_labels
from lowres_ssl.sweeps import check_sweep, print_estimate
from lowres_ssl.tracking.session import NO_TRACKING, TrackingSession, build_tracking_session
from lowres_ssl.train.checkpoint import list_states
from lowres_ssl.train.forward import reset_compiler
from lowres_ssl.train.history import EpochLog
from lowres_ssl.train.loop import pretrain
from lowres_ssl.train.signals import get_preemption_signal, install_handler
from lowres_ssl.train.state import Execution, ReadBatch, TrainingData, TrainingObserver
from lowres_ssl.train.world import World


def run_worker_rank(cfg: DictConfig, processes: World) -> None:
    """Non-main ranks: wait for rank 0, train, write and print nothing."""
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        if processes.wait_for_main():
            plan = build_training_setup(read_config(cfg, PretrainConfig), processes)
            material = prepare_data(plan.config, partial(make_checked_split, plan))
            train_encoder(plan, material, identify_run(plan, material.outline)[0], None, NO_TRACKING)


def run_main_rank(experiment: Experiment[PretrainConfig], processes: World) -> float | None:
    """Train and score in rank 0, or the only process; return the score that a search maximises, if there is one."""
    config = experiment.config
    check_sweep(config, processes.size)
    session = build_tracking_session(config)
    install_handler(get_preemption_signal(config))
    plan = build_training_setup(config, processes)
    if config.dry_run:
        print_estimate(estimate_run(plan))
        return None
    material = prepare_data(config, partial(make_checked_split, plan))
    if config.evaluate and not material.catalogue.records:
        config = replace(config, evaluate=False)
        plan = replace(plan, config=config)
    with session:
        rows = list_rows(experiment, plan, material, session)
        if not material.catalogue.records:
            features = format_command("embed", f"run={rows[0][0].name}", f"images={config.dataset.root}")
            print(f"{config.dataset.title}: no labels, so nothing is scored; for the features type {features}")
        if not config.evaluate:
            return None
        results = score_and_print(rows, material, plan.compute, plan.draws, session, picture=config.picture)
        return compute_objective(results)


def list_rows(
    experiment: Experiment[PretrainConfig], plan: TrainingSetup, material: PreparedData, session: TrackingSession
) -> list[tuple[Run, PretrainConfig]]:
    """Return the run asked for, trained if it has to be, and those it is compared with, each with its config."""
    config, compute, probe = plan.config, plan.compute, experiment.probe_settings
    rows = []
    if plan.method is not None:
        rows.append((get_or_train(plan, material, probe, session), config))
        if plan.source is not None and config.evaluate and config.baselines:
            own = experiment.fixed[WEIGHTS_METHOD]
            rows.append((get_fixed_run(own, material, compute, probe, source=plan.source), own))
    else:
        rows.append((get_fixed_run(config, material, compute, probe, encoder=plan.encoder), config))
        session.begin(rows[0][0], config, material, trains=False)
    for name in plan.baselines:  # every table needs them
        if config.evaluate and config.baselines and config.method["name"] != name:
            own = experiment.fixed[name]
            rows.append((get_fixed_run(own, material, compute, probe), own))
    return rows


def get_or_train(plan: TrainingSetup, material: PreparedData, probe: ProbeSettings, session: TrackingSession) -> Run:
    """Return the finished run of this plan: found, resumed or trained. `probe`: its settings as composed."""
    config = plan.config
    run, identity = identify_run(plan, material.outline)
    with run.lock() as lock:  # another process may have finished it
        if config.force:
            run.discard()
        record = None if config.force else run.find_record_to_resume()
        if record is None:
            check_world_size_unchanged(plan, run, identity)
            save_run_split(run, config, material)
            start_run(run, config, material, identity, probe, plan.source, plan.seen)
        elif record.outcome is not None:
            check_finished_run(run, record)
            save_run_split(run, config, material)
            session.begin(run, config, material)
            session.stored(run)
            return run
        session.begin(run, config, material)
        outcome = train_encoder(plan, material, run, lock, session)
        lock.check()
        save_encoder(plan.encoder.state_dict(), run, config, material)
        assert outcome is not None, "rank 0 has one"
        run.finish(outcome)
    for key, is_marked in find_run_marks(run, run.read()).items():
        if is_marked:
            log_info(f"{run.name}: {RUN_MARKS[key].word}, {RUN_MARKS[key].meaning}; docs/runs.md has what to try")
    return run


def check_finished_run(run: Run, record: RunRecord) -> None:
    """Raise `CheckpointError` if the encoder is damaged; warn of a damaged history."""
    run.get_checked_encoder()
    run.remove_checkpoints()  # of a process that was killed between the two
    try:
        if run.has_history(record):
            run.check_file(run.history, record)
    except CheckpointError as error:
        log_warning(str(error))
    log_info(f"{run.name}: finished already; force=true trains it again")


def check_world_size_unchanged(plan: TrainingSetup, run: Run, identity: RunIdentity) -> None:
    """Raise `CheckpointError` if another number of processes began this run and did not finish it, unless it is forced.

    Where BatchNorm sees the whole batch it is the same run, and its checkpoint refuses them.
    """
    if plan.config.sync_batch_norm or plan.config.force:
        return
    labels = build_run_labels(plan.config, plan.config.method["name"])
    for other in find_runs_by_labels(run.folder.parents[1], "pretrain", labels):
        record = other.find_record_to_resume() if other.checkpoint.exists() else None
        if other != run and record and replace(record.identity, processes=identity.processes) == identity:
            size = record.identity.processes or 1
            launcher = "lowres-ssl" if size == 1 else f"torchrun --nproc-per-node={size} -m lowres_ssl"
            raise CheckpointError(
                f"{other.name}: begun by {size} process{'' if size == 1 else 'es'}, got {plan.processes.size}, whose "
                f"BatchNorm statistics would be of other images; go on with {launcher} pretrain and the same keys, or "
                "begin anew with force=true"
            )


def train_encoder(
    plan: TrainingSetup, material: PreparedData, run: Run, lock: Lock | None, session: TrackingSession
) -> RunOutcome | None:
    """Train the plan's encoder in place, to the one that `select_encoder` names; None on a rank but the main one."""
    config, observer = plan.config, RunObserver(plan, material, run, lock, session)
    catalogue, split, method = material.catalogue, material.split, plan.method
    rows, labels = select_pretraining_images(catalogue, split, config.pretrain_on.name, plan.seen), None
    if plan.seen is not None:
        method = build_method(config.method, features=plan.width, classes=len(catalogue.classes), seed=config.seed)
        labels = catalogue.labels
    assert method is not None
    if method.separates_images:
        method = build_method(config.method, features=plan.width, images=len(rows), seed=config.seed)
        labels = np.zeros(len(material.store.ids), dtype=np.int64)
        labels[rows] = np.arange(len(rows))
    groups = catalogue.groups if config.positives.name == "patient" else None
    resumed = bool(list_states(run.checkpoint))
    compute = choose_step_settings(plan, len(rows), time_layouts=not resumed)
    together = "" if plan.processes.size == 1 else f"{plan.processes.size} x "
    log_info(f"{run.name}: {config.method['name']} on {together}{compute.describe()}")
    if plan.processes.is_main:
        if not resumed:
            run.history.unlink(missing_ok=True)  # of a process that was killed before it wrote a checkpoint
        done = min(config.epochs, run.count_epochs())
        views = plan.training.views_per_epoch(len(rows)) * (config.epochs - done)
        log_info(f"{run.name}: epochs {done + 1} to {config.epochs}, {views:,} views")
    try:
        with plan.processes.connected(plan.compute.device, run.name):
            trained = pretrain(
                encoder=plan.encoder,
                method=method,
                data=TrainingData(material.store, rows, plan.views, config.store.name, labels, groups),
                options=plan.training,
                execution=Execution(compute, plan.processes, config.sync_batch_norm, get_preemption_signal(config)),
                checkpoint=run.checkpoint,
                name=f"{config.method['name']} on {config.dataset.name}",
                observer=observer,
            )
    finally:
        if compute.compiled:
            reset_compiler()
    if not plan.processes.is_main:
        return None
    observer.record(trained.history)  # it may be damaged, if nothing but this was left to do
    if trained.encoder is not plan.encoder:  # a teacher, where the method keeps one
        plan.encoder.load_state_dict(trained.encoder.state_dict())
    outcome = RunOutcome(
        epochs=len(trained.history),
        training_seconds=sum(line["seconds"] for line in trained.history),
        environment=describe_environment(trained.compute.describe()),
        processes=plan.processes.size,
        compile_seconds=sum(line["compile_seconds"] for line in trained.history),
        layout=trained.compute.layout,
        chance_loss=trained.chance_loss,
    )
    if trained.best is not None:
        save_encoder(plan.encoder.state_dict(), run, config, material, run.last_encoder)
        load_encoder_weights(plan.encoder, trained.best.encoder, run.name)
        if method.sees_labels:
            method.load_state_dict(trained.best.classifier)
        outcome = replace(outcome, selected_epoch=trained.best.epoch)
    if method.sees_labels:
        save_classifier(run.classifier, method.state_dict())
    return outcome


class RunObserver(TrainingObserver):
    """Write a run's history while its encoder trains, under the run's lock, and score the encoder after each epoch
    where validation chooses it."""

    def __init__(
        self, plan: TrainingSetup, material: PreparedData, run: Run, lock: Lock | None, session: TrackingSession
    ) -> None:
        self.plan, self.material, self.run, self.lock, self.session = plan, material, run, lock, session

    def check_may_save(self) -> None:
        if self.lock is not None:
            self.lock.check()

    def record(self, history: list[EpochLog]) -> None:
        self.check_may_save()
        if history:
            self.run.write_history(history)
        else:  # the checkpoint is of the first epoch
            self.run.history.unlink(missing_ok=True)
        self.session.history(history)

    def validate(self, encoder: nn.Module, read: ReadBatch) -> float | None:
        """Compute the accuracy of the KNN probe on the validation images; test images are not read."""
        plan, material, split = self.plan, self.material, self.material.split
        if not plan.selects_epoch:
            return None
        train, validation = (
            extract_features(encoder, read, rows, EvaluationView.from_config(plan.config), plan.compute)
            for rows in (split.train, split.validation)
        )
        features = {"train": train, "validation": validation, "test": train[:0]}
        subset = plan.seen or ALL_LABELS
        given = build_probe_features(features, material, plan.compute, subset)
        probe = plan.evaluation.probes["knn"].at_fraction(subset.fraction)
        scores = probe.fit_probe(given, seed=plan.config.seed).scores(given.validation)
        return float((scores.argmax(axis=1) == given.validation_labels.cpu().numpy()).mean())
