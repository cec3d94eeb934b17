"""Runs on disk: what a run's folder holds, how it is named, written, found and read. Knows no torch.

`outputs/pretrain/<run>/` (and `outputs/evaluate/<run>/` for weights that came from elsewhere) holds

    run.json                    what the run is, and once it is finished its outcome (`records.RunRecord`)
    split.json                  which image trained, validated, tested
    history.csv                 a line an epoch
    encoder.safetensors         the encoder that `select_encoder` chose
    encoder-last.safetensors    that of the last epoch, where it was not the one chosen
    classifier.safetensors      what a supervised encoder was trained with
    checkpoint.pt               while it is unfinished, and the one before it: checkpoint-previous.pt
    features-*.safetensors      what the encoder makes of every image
    <probe>-<hash>/             result.json, predictions.npz and probe.safetensors, one folder a probe and its settings
    tsne.png
    tracker.json                what a tracker calls it (see tracking/session.py)
"""

import csv
import io
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from lowres_ssl.config.experiment_schema import ExperimentConfig
from lowres_ssl.config.overrides import format_command
from lowres_ssl.console import log_info, log_warning
from lowres_ssl.errors import CheckpointError, ConfigError, DamagedError, DataError, did_you_mean
from lowres_ssl.io.atomic import get_previous_path, remove_dead_temp_folders, write_text
from lowres_ssl.io.checksummed_json import Settings, hash_content, hash_file, read_record, write_record
from lowres_ssl.io.locks import Lock, lock
from lowres_ssl.runs.records import ResultRecord, RunIdentity, RunOutcome, RunRecord
from lowres_ssl.runs.result_io import read_result

RUN_KINDS = ("pretrain", "evaluate")
# Weights that another run started with, as they are: an encoder that is there already, under its own name.
WEIGHTS_PREFIX = "weights of "
CLASSIFIER_PROBE = "classifier"  # the "probe" that is the head a supervised encoder was trained with; nothing is fitted
EncoderChoice = Literal["selected", "last"]
MAX_LABEL_LENGTH = 60  # letters: with all of them a folder has a name that every file system takes
RETRAIN_HINT = "type its pretrain command again with force=true"


def retrain_command(record: RunRecord) -> str:
    """Format what makes a run again: its command, where `run.json` has it."""
    return format_typed_command(record, "force=true") or RETRAIN_HINT


def resume_command(record: RunRecord) -> str:
    """Format the command that continues a run, or makes anew what is missing of a finished one."""
    return format_typed_command(record) or "type its pretrain command again"


def format_typed_command(record: RunRecord, *more: str) -> str:
    typed = [word for word in record.typed if not word.startswith("force=")]
    return f"type {format_command(*typed, *more)}" if typed else ""


@dataclass(frozen=True)
class Run:
    """Read and write a run's folder. Reading raises `CheckpointError` where a file is damaged."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    @property
    def split(self) -> Path:
        return self.folder / "split.json"

    @property
    def history(self) -> Path:
        return self.folder / "history.csv"

    @property
    def tsne(self) -> Path:
        return self.folder / "tsne.png"

    @property
    def classifier(self) -> Path:
        return self.folder / "classifier.safetensors"

    def encoder(self, which: EncoderChoice = "selected") -> Path:
        """Return the file of the encoder chosen, or of the last epoch's."""
        is_apart = which == "last" and self.last_encoder.exists()
        return self.last_encoder if is_apart else self.folder / "encoder.safetensors"

    @property
    def last_encoder(self) -> Path:
        """Return where the last epoch's encoder is kept, if it is not the one chosen."""
        return self.folder / "encoder-last.safetensors"

    def get_scored_encoder(self, result: ResultRecord) -> EncoderChoice:
        """Get which of the two a result is of."""
        return "last" if result.encoder == self.last_encoder.name else "selected"

    def features(self, which: EncoderChoice, precision: str, size: int | None = None) -> Path:
        """Return the file of its features, of images of `size` pixels a side; None: of the training's."""
        name = f"features-{self.encoder(which).stem}-{precision}"
        return self.folder / f"{name if size is None else f'{name}-{size}px'}.safetensors"

    def lock(self) -> AbstractContextManager[Lock]:
        """Lock the run: within the block no other process works on it. Waits until none does."""
        return lock(self.folder, self.name)

    def find_record(self) -> RunRecord | None:
        """Read `run.json`; None if there is none."""
        return read_record(self.folder / "run.json", RunRecord, RETRAIN_HINT)

    def find_record_to_resume(self) -> RunRecord | None:
        """Read `run.json` as `find_record` does; None as well, with a note, where `run.json` is damaged and a
        checkpoint shows that the run is unfinished: it is written again, and nothing of the training is lost."""
        try:
            return self.find_record()
        except DamagedError:
            if not (self.checkpoint.exists() or get_previous_path(self.checkpoint).exists()):
                raise
        log_warning(f"{self.folder / 'run.json'}: damaged; written anew, and the run goes on from its checkpoint")
        return None

    def read(self) -> RunRecord:
        """Read `run.json`. Raises `CheckpointError` if there is none."""
        record = self.find_record()
        if record is None:
            raise CheckpointError(
                f"{self.folder}: no run.json there, wanted a run's folder or name; see them with lowres-ssl runs"
            )
        return record

    def read_finished(self) -> RunRecord:
        """Read `run.json`. Raises `CheckpointError` if there is none, or the run is not finished."""
        record = self.read()
        if record.outcome is None:
            raise CheckpointError(f"{self.folder}: this run is not finished; to go on with it {resume_command(record)}")
        return record

    def start(self, record: RunRecord) -> None:
        """Write down what the run is. Without an outcome it counts as unfinished."""
        write_record(self.folder / "run.json", record)

    def finish(self, outcome: RunOutcome) -> None:
        """Write down that the run is finished, since its encoder is there, and remove what only resuming needed."""
        encoders = sorted(self.folder.glob("encoder*.safetensors"))
        files = [path for path in (self.history, self.classifier) if path.exists()]
        hashes = [{path.name: hash_file(path, RETRAIN_HINT) for path in own} for own in (encoders, files)]
        self.start(replace(self.read(), outcome=replace(outcome, encoders=hashes[0], files=hashes[1])))
        self.remove_checkpoints()

    def remove_checkpoints(self) -> None:
        """Remove what a finished run has no use for, and what a process that was killed left of it."""
        remove_dead_temp_folders(self.checkpoint)
        for path in (self.checkpoint, get_previous_path(self.checkpoint)):
            path.unlink(missing_ok=True)

    def check_file(self, path: Path, record: RunRecord) -> Path:
        """Check a file and return it: an encoder, the history or the classifier of a finished run. Raises
        `CheckpointError` if it is gone, or not as it was written."""
        repair, outcome = retrain_command(record), record.outcome
        written = {} if outcome is None else {**outcome.encoders, **outcome.files}
        if outcome is not None and hash_file(path, repair) != written.get(path.name):
            raise CheckpointError(f"{path}: not what this run wrote, or damaged; {repair}")
        return path

    def get_checked_encoder(self, which: EncoderChoice = "selected") -> Path:
        """Return the encoder's file. Raises as `check_file`."""
        return self.check_file(self.encoder(which), self.read_finished())

    def get_encoder_hash(self, path: Path) -> str | None:
        """Return the SHA-256 of the encoder in the file `path`, as the finished run wrote it; None if it wrote none
        there."""
        outcome = self.read().outcome
        return None if outcome is None else outcome.encoders.get(path.name)

    def discard(self) -> None:
        """Remove everything in it: `force=true`. Raises `OSError`.

        What the run is stays, as of an unfinished one: other processes read it at any time. Results go before that, so
        that none is left in a run that is made again, whenever this process dies.
        """
        results = self.result_folders()
        if named := ", ".join(folder.name for folder in results):
            log_info(f"{self.name}: its results are removed as well ({named}); lowres-ssl evaluate makes others again")
        for folder in results:
            shutil.rmtree(folder)
        self.remove_checkpoints()
        try:
            record = self.find_record()
        except CheckpointError:  # a damaged one is of no use to others
            record = None
        if record is not None:
            self.start(replace(record, outcome=None))
        for path in self.folder.iterdir() if self.folder.exists() else ():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != "run.json" or record is None:
                path.unlink()

    def write_history(self, lines: Sequence[Mapping[str, float]]) -> None:
        """Write a row an epoch; numbers as Python writes them, to the last digit."""
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(lines[-1]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
        write_text(self.history, text.getvalue())

    def read_history(self, record: RunRecord) -> list[dict[str, float]]:
        """Read `history.csv`, an epoch a line; none if the run of this `record` has none. Raises `CheckpointError` if
        it cannot be read, or is not as it was written."""
        if not self.has_history(record):
            return []
        try:
            self.check_file(self.history, record)
            with self.history.open(encoding="utf-8", newline="") as file:
                return [{key: float(value) for key, value in line.items()} for line in csv.DictReader(file)]
        except (OSError, ValueError, TypeError, csv.Error) as error:
            raise CheckpointError(f"{self.history}: cannot be read ({error!r}); {retrain_command(record)}") from error

    def has_history(self, record: RunRecord) -> bool:
        """Whether it is there, or should be."""
        return self.history.exists() or (record.outcome is not None and self.history.name in record.outcome.files)

    def count_epochs(self) -> int:
        """Count the epochs in `history.csv`."""
        try:
            return max(0, len(self.history.read_bytes().splitlines()) - 1)
        except OSError:
            return 0

    def result_folder(self, probe: str, settings: Settings) -> Path:
        """Return where the result of a probe with these settings belongs."""
        return self.folder / f"{probe}-{hash_content(settings)[:8]}"

    def result_folders(self) -> list[Path]:
        """List where there is a result, by name."""
        return [path.parent for path in sorted(self.folder.glob("*/result.json"))]

    def results(self) -> Iterator[tuple[Path, ResultRecord]]:
        """Read each result; yield its folder and it."""
        for folder in self.result_folders():
            yield folder, read_result(folder)


def get_identified_run(output_dir: Path, kind: str, labels: Sequence[str], identity: RunIdentity) -> Run:
    """Get the run with this `identity`; `labels` (data set, method, ...) are for the reader of its name."""
    return Run(output_dir / kind / f"{build_name_prefix(labels)}-{identity.digest[:8]}")


def find_runs_by_labels(output_dir: Path, kind: str, labels: Sequence[str]) -> list[Run]:
    """Find the runs whose names begin with these labels, by name."""
    named = f"{build_name_prefix(labels)}-{'[0-9a-f]' * 8}"
    return [Run(path.parent) for path in sorted((output_dir / kind).glob(f"{named}/run.json"))]


def build_name_prefix(labels: Sequence[str]) -> str:
    return "-".join(re.sub(r"[^A-Za-z0-9._]+", "_", label)[:MAX_LABEL_LENGTH] for label in labels)


def find_runs(output_dir: Path) -> list[Run]:
    """Find every run below `output_dir`, by name; empty if there is none."""
    return [Run(path.parent) for kind in RUN_KINDS for path in sorted((output_dir / kind).glob("*/run.json"))]


def find_run(output_dir: Path, named: str) -> Run:
    """Find a run by its folder, or by its name as `lowres-ssl runs` shows it. Raises `DataError` if there is none."""
    if not named.strip():
        raise ConfigError("run: got nothing, wanted a run's folder or name; see them with lowres-ssl runs")
    below = [output_dir / kind / named for kind in RUN_KINDS]
    there = next((folder for folder in (Path(named), *below) if (folder / "run.json").exists()), None)
    if there is None:
        hint = did_you_mean(Path(named).name, [run.name for run in find_runs(output_dir)])
        raise DataError(f"{named}: no such run, here or below {output_dir}; see them with lowres-ssl runs{hint}")
    return Run(there)


def relocate_path(run: Run, config: ExperimentConfig, path: str) -> str:
    """Return a path of the run's stored `config` as it has to be typed here.

    A relative one was relative to the folder where the command was typed, and so was `output_dir`, below which the run
    is. Where that leads to nothing, `path` as it is.
    """
    outputs = Path(config.output_dir)
    if outputs.is_absolute() or Path(path).is_absolute() or Path(path).exists():
        return path
    place, depth = run.folder.resolve().parents[1], len(outputs.parts)
    if depth and place.parts[-depth:] != outputs.parts:
        return path
    there = (place.parents[depth - 1] if depth else place) / path
    return str(there) if there.exists() else path
