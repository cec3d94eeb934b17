"""Describe the training that a command is about to do, with its time where stored runs show their speed."""

from lowres_ssl.console import format_duration
from lowres_ssl.errors import CheckpointError
from lowres_ssl.runs.records import RunRecord
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
