"""Define what a run's `run.json` and a result's `result.json` hold, as frozen dataclasses."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self, TypeAlias, cast

from lowres_ssl.config.experiment_schema import SCORED_SIZE, EvaluateConfig, ExperimentConfig, PretrainConfig
from lowres_ssl.console import pluralise
from lowres_ssl.data.splits import LabelSubset
from lowres_ssl.environment import Environment
from lowres_ssl.io.checksummed_json import Settings, hash_content, to_json

# What tables call a baseline.
BASELINE_TITLES = {
    "random": "random initialisation",
    "random_calibrated": "random, BatchNorm calibrated",
    "trivial": "mean colour and size",
    "imagenet": "ImageNet, frozen",
}
StoredConfig: TypeAlias = ExperimentConfig | EvaluateConfig | PretrainConfig


@dataclass(frozen=True)
class SplitSummary:
    """Hold kind, seed and digest of a split; `kind` is never "auto"."""

    kind: str
    seed: int
    digest: str


@dataclass(frozen=True)
class RunIdentity:
    """Hold everything that changes the numbers of a run, and nothing that does not.

    `images`, `split`: digests. `store`: shape of the decoded images, [N, C, R, R]. `settings`: the keys of the config
    that change numbers, with dots. `initial_weights`, `weights`: hash of the file that a training starts with, or that
    an encoder has as it is. `processes`: where each has BatchNorm statistics of its own. What is None is left out of
    the hash, so that a field that is new here changes the name of no run that is without it.
    """

    images: str
    decoder: int
    store: tuple[int, ...]
    split: str
    precision: str
    settings: Settings
    initial_weights: str | None = None
    weights: str | None = None
    label_fraction: float | None = None
    processes: int | None = None

    @property
    def digest(self) -> str:
        """Compute the hex SHA-256."""
        return hash_content({key: value for key, value in to_json(self).items() if value is not None})

    @property
    def is_trained(self) -> bool:
        return "batch_size" in self.settings

    def drop_seed(self) -> Self:
        """Return how the run was made, which its other seeds share: a run starts with another file for each seed."""
        settings = {key: value for key, value in self.settings.items() if key != "seed"}
        return replace(self, settings=settings, initial_weights=None)


@dataclass(frozen=True)
class RunOutcome:
    """Hold what a finished run came to; `encoders` and `files`: SHA-256 of each file by its name.

    `epochs`: trained, 0 of a fixed encoder. `selected_epoch`: of the encoder, where validation chose it. `chance_loss`:
    the loss when all images look alike to the encoder, where the method has one.
    """

    epochs: int
    training_seconds: float
    environment: Environment
    processes: int = 1
    compile_seconds: float = 0.0
    layout: str | None = None
    chance_loss: float | None = None
    selected_epoch: int | None = None
    encoders: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RunRecord:
    """Describe what a run is: `run.json`.

    `entry`: what tables call it: its method, and where its weights came from, if that was elsewhere. `store`: folder of
    the decoded images. `typed`: the command that made it. `probe`: settings of the probes as composed, before they are
    resolved. `pretrain_on`: None of a fixed encoder. `labels`: those that the encoder was trained on, None if it saw
    none. `outcome`: None of an unfinished run.
    """

    VERSION: ClassVar[int] = 3

    entry: str
    identity: RunIdentity
    split: SplitSummary
    config: StoredConfig
    store: str
    unlabelled_images: int = 0
    typed: tuple[str, ...] = ()
    probe: Mapping[str, Settings] = field(default_factory=dict)
    pretrain_on: str | None = None
    labels: LabelSubset | None = None
    outcome: RunOutcome | None = None

    @property
    def method(self) -> str:
        return str(self.config.method["name"])

    @property
    def training(self) -> PretrainConfig | None:
        """Return the config of a run whose encoder was trained; None of a fixed encoder."""
        return self.config if self.identity.is_trained and isinstance(self.config, PretrainConfig) else None

    @property
    def encoders(self) -> Mapping[str, str]:
        """Return the SHA-256 of each encoder that the finished run wrote, by the file's name; none of another."""
        return {} if self.outcome is None else self.outcome.encoders

    @property
    def row_name(self) -> str:
        """Return the name of the run in a table on the terminal."""
        training = self.training
        if training is None:
            return BASELINE_TITLES.get(self.entry, self.entry)
        marks = {"half": ", on half of the images", "all": ", on all images"}.get(self.pretrain_on or "", "")
        return f"{self.entry}, batch size {training.batch_size}, {pluralise(training.epochs, 'epoch')}{marks}"


@dataclass(frozen=True)
class Scores:
    """Hold the metrics of one set of predictions, as `evaluate.metrics.compute_metrics` explains them."""

    n: int
    accuracy: float
    weighted_f1: float
    macro_f1: float
    balanced_accuracy: float
    auroc: float | None
    sensitivity: Mapping[str, float | None]
    specificity: Mapping[str, float | None]
    confusion_matrix: list[list[int]]


@dataclass(frozen=True)
class SubsetSizes:
    """Count how many images trained, validated and tested a probe."""

    train: int
    validation: int
    test: int


@dataclass(frozen=True)
class ResultRecord:
    """Describe what a probe scored: `result.json`.

    `label`: the probe's name in tables. `encoder`: name of the encoder's file. `settings`: of the probe; `details`:
    what it chose. `labels`: those that the probe was fitted on. `predictions_sha256`, `fitted_sha256`: of the files
    beside it; None where the probe was not stored.
    """

    VERSION: ClassVar[int] = 3

    run: str
    probe: str
    label: str
    encoder: str
    settings: Settings
    details: Settings
    test: Scores
    validation: Scores | None
    classes: tuple[str, ...]
    images: SubsetSizes
    labels: LabelSubset
    depends_on_seed: bool
    split: SplitSummary
    data_digest: str
    precision: str
    seconds: float
    config: StoredConfig
    environment: Environment
    predictions_sha256: str = ""
    fitted_sha256: str | None = None

    @property
    def scored_size(self) -> int | None:
        """Return the pixels a side of the images that were scored; None: the size of the training."""
        return cast("int | None", self.settings.get(SCORED_SIZE))
