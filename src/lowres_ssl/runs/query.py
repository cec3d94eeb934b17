"""From the index to the cells of a table: which stored results may stand beside each other, and which are meant.

A column is one data set, one probe and one `split_seed`. What must not be mixed in it is refused with the key to type;
nothing is averaged but seeds, and a batch size is chosen on validation accuracy alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, Self

import pandas as pd

from lowres_ssl.config.experiment_schema import RANDOM_BASELINES, BackboneConfig
from lowres_ssl.console import pluralise
from lowres_ssl.errors import ConfigError
from lowres_ssl.runs.collapse import RUN_MARKS
from lowres_ssl.runs.comparability import (
    check_no_duplicates,
    check_same_kind,
    check_seeds_alike,
    get_shared_settings,
    has_own_encoder,
    is_trained,
    parse_settings,
)
from lowres_ssl.runs.result_io import read_result
from lowres_ssl.runs.run import Run

BatchSize = Literal["best"] | int


# Filters that are no value which a column of the index has to have.
SPECIAL_FILTERS = frozenset(["entry", "seed", "untrained_seed", "split_digest", "settings"])


@dataclass(frozen=True)
class ResultFilters:
    """Which results are meant; None: whatever there is, as long as it agrees.

    `recipe` and `epochs` are of trained encoders, `backbone` not of those that bring one of their own ("trivial",
    "pretrained NAME"). `entry`: names or patterns ("pretrained *"), or one. `split_digest` is its beginning. `settings`
    is a list such as "k=200, vote=uniform"; it does not limit probes without such a setting. `seed` is one, or a
    list of them; `untrained_seed` likewise, instead of it for encoders that nothing was trained for.
    """

    entry: Sequence[str] | str | None = None
    dataset: str | None = None
    probe: str | None = None
    recipe: str | None = None
    backbone: str | None = None
    image_size: int | None = None
    storage_size: int | None = None
    epochs: int | None = None
    split: str | None = None
    split_seed: int | None = None
    split_digest: str | None = None
    precision: str | None = None
    settings: str | None = None
    seed: int | Sequence[int] | None = None
    untrained_seed: int | Sequence[int] | None = None

    @classmethod
    def of(cls, config: Any) -> Self:
        """From the config of a command, by the names of its keys; those that it does not have are None.

        Raises `ConfigError` for seeds that are no whole numbers.
        """
        filters = cls(**{field.name: getattr(config, field.name, None) for field in fields(cls)})
        for key in ("seed", "untrained_seed"):
            asked = getattr(filters, key)
            whole = [type(each) is int for each in to_list(asked)]
            if asked is not None and not (whole and all(whole)):
                raise ConfigError(f"{key}={asked}: wanted a whole number, or a list such as {key}=[0,1,2]")
        return filters

    def seeds(self) -> list[int]:
        """Those that are meant; none where none was named."""
        return to_list(self.seed)

    @property
    def entries(self) -> Sequence[str] | None:
        return (self.entry,) if isinstance(self.entry, str) else self.entry

    def means(self, entry: str) -> bool:
        """Whether an entry is meant."""
        return self.entries is None or any(fnmatchcase(entry, pattern) for pattern in self.entries)

    def apply(self, frame: pd.DataFrame) -> pd.DataFrame:
        keep = pd.Series(True, index=frame.index)
        trained, own_encoder = is_trained(frame), has_own_encoder(frame)
        exempt = {"recipe": ~trained, "epochs": ~trained, "backbone": own_encoder}
        for key in {field.name for field in fields(self)} - SPECIAL_FILTERS:
            if (wanted := getattr(self, key)) is not None:
                same = frame[key].eq(wanted).fillna(False).astype(bool)
                keep &= same | exempt[key] if key in exempt else same
        keep &= frame["entry"].map(lambda entry: self.means(str(entry))).astype(bool)
        for seeds, among in ((self.seed, trained | (self.untrained_seed is None)), (self.untrained_seed, ~trained)):
            if seeds is not None:
                keep &= frame["seed"].isin(to_list(seeds)) | ~among
        if self.split_digest is not None:
            keep &= frame["split_digest"].astype(str).str.startswith(self.split_digest)
        if self.settings is not None:
            asked = parse_settings(self.settings)
            check_known_settings(asked, frame)
            keep &= frame["settings"].map(lambda text: matches_settings(parse_settings(text), asked)).astype(bool)
        return frame[keep]


def to_list(asked: int | Sequence[int] | None) -> list[int]:
    return list(asked) if isinstance(asked, Sequence) else [] if asked is None else [asked]


@dataclass(frozen=True)
class ResultColumn:
    """Results (rows of the index) that may stand beside each other. `rows` has at least one. `asked`: the settings
    that were typed to choose them."""

    dataset: str
    probe: str
    split_seed: int
    rows: pd.DataFrame
    asked: str | None = None

    def __str__(self) -> str:
        labels = self.rows["label"].unique()
        return f"{self.dataset}, {labels[0] if len(labels) == 1 else self.probe}, split_seed {self.split_seed}"

    def entries(self, pattern: str = "*") -> list[str]:
        """The entries that `pattern` ("dcl", "pretrained *") means, by name."""
        return sorted({entry for entry in self.rows["entry"] if fnmatchcase(entry, pattern)})

    def batch_sizes(self, entry: str) -> list[int]:
        """Of a trained entry; none of another."""
        return sorted({int(size) for size in self.rows.loc[self.rows["entry"] == entry, "batch_size"].dropna()})

    def cell(self, entry: str, batch_size: BatchSize = "best") -> "ResultCell | None":
        """The results of an entry, a row a seed; None if there are none.

        "best": the batch size with the highest mean validation accuracy over the seeds, of equals the smallest. An
        entry that is not trained has none, whatever is asked. Raises `ConfigError` for a run that is there twice.
        """
        mine = self.rows[self.rows["entry"] == entry]
        sizes = self.batch_sizes(entry)
        check_no_duplicates(mine, f"{self}: {entry}", self.asked)
        notes: list[str] = []
        if sizes:
            if batch_size == "best":
                batch_size, notes = choose_best_batch_size(mine, f"{self}: {entry}")
            mine = mine[mine["batch_size"] == batch_size]
        if mine.empty:
            return None
        check_seeds_alike(mine, f"{self}: {entry}")
        chosen = int(mine["batch_size"].iloc[0]) if sizes else None
        for key, mark in RUN_MARKS.items():
            if marked := int(mine[key].sum()):
                notes.append(
                    f"{self}: {entry} {mark.word} in {marked} of "
                    f"{pluralise(len(mine), 'seed')}, that is, {mark.meaning}"
                )
        return ResultCell(entry, chosen, mine.sort_values("seed", ignore_index=True), tuple(notes))


@dataclass(frozen=True)
class ResultCell:
    """The results of one entry in one column at one batch size: rows of the index, a row a seed, by seed."""

    entry: str
    batch_size: int | None
    rows: pd.DataFrame
    notes: tuple[str, ...] = ()

    @property
    def marks(self) -> dict[str, int]:
        """How many of the runs have each of `RUN_MARKS`."""
        return {key: int(self.rows[key].sum()) for key in RUN_MARKS}

    @property
    def seeds(self) -> list[int]:
        return [int(seed) for seed in self.rows["seed"]]


def find_better_random(column: ResultColumn) -> str | None:
    """Of the random encoders that a column has, the one that every method has to beat: that with the higher mean
    validation accuracy over the seeds that both have, of equals the first of `RANDOM_BASELINES`. None if there is
    neither.

    Test scores are not looked at. Where one has no validation accuracy, the first that there is. Raises `ConfigError`
    for a run that is there twice.
    """
    for start in RANDOM_BASELINES:
        check_no_duplicates(column.rows[column.rows["entry"] == start], f"{column}: {start}", column.asked)
    scores = {entry: own.set_index("seed")["validation_accuracy"] for entry, own in column.rows.groupby("entry")}
    there = [start for start in RANDOM_BASELINES if start in scores]
    shared = pd.concat([scores[start] for start in there], axis=1, join="inner").astype(float) if there else None
    if shared is None or shared.empty or shared.isna().any(axis=None):
        return there[0] if there else None
    means = shared.mean().round(12)
    return there[int(means.to_numpy().argmax())]


def select_columns(
    frame: pd.DataFrame, filters: ResultFilters, entries: Sequence[str] = ("*",), *, trained_only: bool = False
) -> list[ResultColumn]:
    """The ordinary results that `filters` and the patterns `entries` mean, by data set, probe and split seed.

    Ordinary: finished, from all training labels, of encoders that saw training images only. Untrained encoders have no
    recipe: of theirs, those are taken that were built and scored like the trained ones. `trained_only`: no column of
    untrained encoders alone.

    Raises `ConfigError` if results disagree that would stand in one column, `CheckpointError` for one with a metric
    that is no number.
    """
    rows = filters.apply(select_ordinary(frame))
    meant = rows["entry"].map(lambda entry: any(fnmatchcase(str(entry), pattern) for pattern in entries))
    columns = []
    for _, group in rows[meant.astype(bool)].groupby(["dataset", "probe", "split_seed"]):
        if trained_only and not is_trained(group).any():
            continue
        dataset, probe, split_seed = group[["dataset", "probe", "split_seed"]].iloc[0]
        column = ResultColumn(dataset, probe, int(split_seed), drop_other_recipes(group), filters.settings)
        check_same_kind(column.rows, f"{column}", filters.settings)
        columns.append(column)
    return columns


def select_ordinary(frame: pd.DataFrame) -> pd.DataFrame:
    whole = (frame["state"] == "finished") & frame["result"].notna() & (frame["label_fraction"] == 1.0)
    return frame[whole & (frame["pretrain_on"] != "all")]


def check_known_settings(asked: dict[str, str], frame: pd.DataFrame) -> None:
    """Raises `ConfigError` for a setting that no stored result has: it would choose nothing, without a message."""
    known = {key for text in frame["settings"].dropna() for key in parse_settings(text)}
    unknown = sorted(asked.keys() - known)
    if unknown and known:
        raise ConfigError(
            f"settings={unknown[0]}=...: no stored result has such a setting; there is {', '.join(sorted(known))}"
        )


def matches_settings(settings: dict[str, str], asked: dict[str, str]) -> bool:
    return all(settings[key] == value for key, value in asked.items() if key in settings)


def drop_other_recipes(group: pd.DataFrame) -> pd.DataFrame:
    """The group without results of untrained encoders that belong to another recipe's trained ones.

    An untrained run is shared by the recipes that build the same encoder and store the images alike, under the name of
    the first, and is scored as each of them sets. So not its recipe counts, but the `backbone` section of its config,
    the size of its stored images, and the probe's settings.
    """
    trained = is_trained(group)
    if not trained.any() or trained.all():
        return group
    settings = {get_shared_settings(row) for row in group[trained].to_dict("records")}
    built = [read_backbone(result) for result in group.loc[trained, "result"]]
    same = pd.Series([get_shared_settings(row) in settings for row in group.to_dict("records")], index=group.index)
    same &= has_own_encoder(group) | group["result"].map(lambda result: read_backbone(result) in built).astype(bool)
    stored = [read_store_shape(result) for result in group.loc[trained, "result"]]
    same &= group["result"].map(lambda result: read_store_shape(result) in stored).astype(bool)
    return group[trained | same]


def read_backbone(result: str) -> BackboneConfig:
    return read_result(Path(result)).config.backbone


def read_store_shape(result: str) -> tuple[int, ...]:
    """The shape of the decoded images that the run of a result saw."""
    return Run(Path(result).parent).read().identity.store


def choose_best_batch_size(rows: pd.DataFrame, what: str) -> tuple[int, list[str]]:
    """The best batch size of an entry and notes on those that could not be compared. Test scores are not looked at."""
    sizes = sorted({int(size) for size in rows["batch_size"]})
    seeds = {size: frozenset(rows.loc[rows["batch_size"] == size, "seed"]) for size in sizes}
    most = max(seeds.values(), key=len)
    compared = [size for size in sizes if seeds[size] >= most]
    notes = [
        f"{what}: batch size {size} has {len(own & most)} of {len(most)} seeds, so it was left out of the choice"
        for size, own in seeds.items()
        if size not in compared
    ]
    if len(compared) == 1:
        return compared[0], notes
    means = {}
    for size in compared:
        accuracies = rows.loc[rows["batch_size"] == size, "validation_accuracy"].astype(float)
        if accuracies.isna().any():
            typed = " or ".join(f"batch_size={size}" for size in compared)
            raise ConfigError(f"{what}: no validation accuracy, so no batch size is the best one; type {typed}")
        means[size] = round(float(accuracies.mean()), 12)
    return max(compared, key=lambda size: (means[size], -size)), notes
