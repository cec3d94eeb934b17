"""What `lowres-ssl tune` chose: how it chooses, and its files below `outputs/tuned/`.

Reads and writes files alone; the training of the probes is in `grid_search.py`. Knows no torch.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from statistics import mean, stdev
from typing import ClassVar, Self

from lowres_ssl.config.experiment_schema import ExperimentConfig, PretrainConfig
from lowres_ssl.console import log_warning, pluralise
from lowres_ssl.environment import Environment
from lowres_ssl.errors import ConfigError, DamagedError
from lowres_ssl.io.checksummed_json import Settings, read_record, write_record
from lowres_ssl.runs.records import SplitSummary


@dataclass(frozen=True)
class TunedEncoder:
    """The encoder that settings are tuned for. `recipe`, `batch_size`, `epochs`: of its pre-training, None without."""

    dataset: str
    entry: str
    recipe: str | None
    backbone: str
    image_size: int
    split: SplitSummary
    batch_size: int | None = None
    epochs: int | None = None

    @classmethod
    def build(cls, config: ExperimentConfig, entry: str, split: SplitSummary, training: PretrainConfig | None) -> Self:
        """`entry`: what tables call it; `training`: the config of its pre-training, if it had one."""
        size = config.scored_size or config.image_size
        recipe, *trained = (None,) if training is None else (training.recipe, training.batch_size, training.epochs)
        return cls(config.dataset.name, entry, recipe, config.backbone.title, size, split, *trained)

    def serves(self, wanted: Self) -> bool:
        """Whether what was tuned for this encoder may be taken for the `wanted` one: the same but for seed and batch
        size. An untrained encoder is the same under every recipe."""
        keys = ("dataset", "entry", "backbone", "image_size", "split")
        same = all(getattr(self, key) == getattr(wanted, key) for key in keys)
        return same and self.recipe in (None, wanted.recipe) and self.epochs in (None, wanted.epochs)


@dataclass(frozen=True)
class GridLine:
    """Batch size and learning rate, and how heads of several seeds did on the validation images after `epochs`.

    Spreads: standard deviation over seeds (n - 1), None of one. A loss that is not finite is None.
    """

    batch_size: int
    learning_rate: float
    epochs: int
    accuracy: float
    accuracy_spread: float | None
    loss: float | None
    diverged: int

    def format_cell(self) -> str:
        return format_tuned_cell({"batch_size": self.batch_size, "learning_rate": self.learning_rate})


@dataclass(frozen=True)
class TunedSettings:
    """What was chosen for a run, of `lines`. `asked`: a digest of the search. `settings`: the probe's others."""

    VERSION: ClassVar[int] = 3

    run: str
    title: str
    seed: int
    encoder: TunedEncoder
    asked: str
    rule: str
    seeds: int
    settings: Settings
    lines: tuple[GridLine, ...]
    chosen: GridLine
    seconds: float
    environment: Environment


def get_tuned_path(output_dir: Path, run: str) -> Path:
    return output_dir / "tuned" / f"{run}.json"


def read_tuned_settings(output_dir: Path, run: str) -> TunedSettings | None:
    """What was tuned for a run; None if nothing was. Raises `CheckpointError` if the file is damaged."""
    return read_record(get_tuned_path(output_dir, run), TunedSettings, f"type lowres-ssl tune run={run} force=true")


def iter_tuned_settings(output_dir: Path, run: str | None) -> Iterator[TunedSettings]:
    """Each file of `output_dir`. One that is damaged is left out with a warning, unless it is that of `run`, which
    raises `CheckpointError`."""
    for path in sorted((output_dir / "tuned").glob("*.json")):
        try:
            content = read_tuned_settings(output_dir, path.stem)
        except DamagedError as error:
            if path.stem == run:
                raise
            log_warning(f"{error}")
            continue
        if content is not None:
            yield content


def write_tuned_settings(output_dir: Path, tuned: TunedSettings) -> None:
    write_record(get_tuned_path(output_dir, tuned.run), tuned)


def summarise_seeds(
    batch_size: int, learning_rate: float, epochs: int, fits: Sequence[tuple[float, float]]
) -> GridLine:
    """A line of the grid from the validation accuracy and loss of each seed; of one that diverged 0 and inf."""
    accuracies = [accuracy for accuracy, _ in fits]
    losses = [loss for _, loss in fits if loss != inf]
    return GridLine(
        batch_size=batch_size,
        learning_rate=learning_rate,
        epochs=epochs,
        accuracy=mean(accuracies),
        accuracy_spread=stdev(accuracies) if len(fits) > 1 else None,
        loss=mean(losses) if len(losses) == len(fits) else None,
        diverged=len(fits) - len(losses),
    )


def sort_by_preference(lines: Sequence[GridLine]) -> list[GridLine]:
    """Lines of a grid, the best first: highest mean validation accuracy, of equals the lower mean validation loss, then
    the smaller rate, then the smaller batch."""

    def rank(line: GridLine) -> tuple[float, ...]:
        loss = inf if line.loss is None else line.loss
        return (-round(line.accuracy, 9), loss, line.learning_rate, line.batch_size)

    return sorted(lines, key=rank)


def find_tuned_settings(output_dir: Path, run: str | None, wanted: TunedEncoder) -> TunedSettings:
    """What was tuned for the `run`; else for an encoder like the `wanted` one.

    Of several that are like it (its other seeds) the one whose choice is the best, by the same rule; those of other
    batch sizes only where there is none of its own. Raises `ConfigError` if nothing was tuned for it.
    """
    fitting = [tuned for tuned in iter_tuned_settings(output_dir, run) if tuned.encoder.serves(wanted)]
    own = [tuned for tuned in fitting if tuned.run == run]
    if own:
        return own[0]
    if not fitting:
        recipe = "" if wanted.recipe is None else f"recipe {wanted.recipe}, "
        epochs = "" if wanted.epochs is None else f"{pluralise(wanted.epochs, 'epoch')}, "
        raise ConfigError(
            f"probe.linear.settings_from=tuned: nothing was tuned for {wanted.entry} on {wanted.dataset} "
            f"({wanted.backbone}, {wanted.image_size} px, {recipe}{epochs}"
            f"split {wanted.split.digest[:8]}); when its run is finished, type lowres-ssl tune "
            f"dataset={wanted.dataset} 'entry={wanted.entry}', or probe.linear.settings_from=paper"
        )
    fitting = [tuned for tuned in fitting if tuned.encoder.batch_size == wanted.batch_size] or fitting
    best = sort_by_preference([tuned.chosen for tuned in fitting])[0]
    return next(tuned for tuned in fitting if tuned.chosen == best)


def list_tuned_warnings(tuned: TunedSettings, settings: Settings) -> tuple[str, ...]:
    """What is doubtful of scoring with `settings` of the linear probe and what was `tuned`: it was with others."""
    searched = tuned.settings
    others = [key for key, value in settings.items() if key in searched and searched[key] != value]
    if not others:
        return ()
    chosen_with, scored_with = (", ".join(f"{key}={each[key]}" for key in others) for each in (searched, settings))
    return (
        f"probe.linear.settings_from=tuned: batch size and rate were chosen with {chosen_with}, and "
        f"score with {scored_with}; give lowres-ssl tune the same",
    )


def format_tuned_cell(chosen: Mapping[str, float]) -> str:
    """A cell as the paper writes it: batch size (learning rate)."""
    return f"{chosen['batch_size']} ({chosen['learning_rate']:g})"
