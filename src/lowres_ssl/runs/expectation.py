"""Describe what a command is about to do, and how long it takes as far as stored runs have been timed."""

from collections.abc import Sequence
from pathlib import Path

from lowres_ssl.console import format_duration, pluralise
from lowres_ssl.errors import CheckpointError
from lowres_ssl.runs.records import RunRecord
from lowres_ssl.runs.result_io import read_result
from lowres_ssl.runs.run import Run
from lowres_ssl.train.state import TrainingOptions

TIME_SHOWN_LATER = "how long is shown after the first steps"


def describe_training(run: Run, training: TrainingOptions, images: int, device: str) -> str:
    """Describe a training: "epochs 3 to 12, 10,752 views, about 3 min (523 views/s in ...)". The time is left out where
    no stored run has a speed."""
    done = min(training.epochs, run.count_epochs())
    views = training.views_per_epoch(images) * (training.epochs - done)
    text = f"epochs {done + 1} to {training.epochs}, {views:,} views"
    known = find_known_speed(run, device)
    if known is None:
        return f"{text}; {TIME_SHOWN_LATER}"
    speed, source = known
    return f"{text}, about {format_duration(views / speed)} ({speed:,.0f} views/s {source})"


def find_known_speed(run: Run, device: str) -> tuple[float, str] | None:
    """Views a second of this run so far, else of the last run like it on such a device; and whose they are."""
    if (own := compute_run_speed(run)) is not None:
        return own, "so far"
    try:
        wanted = get_speed_key(run.read())
        others = run.folder.parent.glob(f"*-{wanted[0]}-*/run.json")
        for path in sorted(others, key=lambda path: path.stat().st_mtime, reverse=True):
            other = Run(path.parent)
            record = other.read()
            there = record.outcome is not None and record.outcome.environment.device == device
            if there and get_speed_key(record) == wanted and (speed := compute_run_speed(other)) is not None:
                return speed, f"in {other.name}"
    except (OSError, CheckpointError):  # what is damaged, or goes away, does not count
        pass
    return None


def get_speed_key(record: RunRecord) -> tuple[object, ...]:
    """What has to be the same in another run for its speed to be this one's."""
    settings, config = record.identity.settings, record.config
    return record.method, config.backbone, config.image_size, record.identity.precision, settings.get("batch_size")


def compute_run_speed(run: Run) -> float | None:
    """Views a second over the whole history."""
    try:
        lines = run.read_history(run.read())
        seconds = sum(line["seconds"] for line in lines)
        views = sum(line["seconds"] * line["views_per_second"] for line in lines)
    except (CheckpointError, KeyError):
        return None
    return views / seconds if seconds > 0 and views > 0 else None


def describe_scoring(wanted: Sequence[tuple[Run, Path]], labels: Sequence[str], data_digest: str) -> str:
    """What is scored with the probes `labels`: `wanted` has the folder of each result to be."""
    missing = [(run, folder) for run, folder in wanted if not (folder / "result.json").exists()]
    runs = pluralise(len({run.name for run, _ in wanted}), "encoder")
    there = f"{len(wanted) - len(missing)} of {pluralise(len(wanted), 'result')} stored"
    text = f"scoring {runs} with {', '.join(labels)}: {there}"
    known = [find_scoring_seconds(run, folder, data_digest) for run, folder in missing]
    told = [each for each in known if each is not None]
    if not told or len(told) < len(known):
        return text
    return f"{text}, the others about {format_duration(sum(told))} once the features are there (as in other runs)"


def find_scoring_seconds(run: Run, folder: Path, data_digest: str) -> float | None:
    """How long the same probe took on the same images in another run."""
    for path in sorted(run.folder.parent.glob(f"*/{folder.name}/result.json")):
        try:
            result = read_result(path.parent)
        except CheckpointError:
            continue
        if result.data_digest == data_digest:
            return result.seconds
    return None
