"""From the index to the cells of a table: which stored results may stand beside each other, and which are meant.

A column is one data set, one probe and one `split_seed`. What must not be mixed in it is refused with the key to type;
nothing is averaged but seeds, and a batch size is chosen on validation accuracy alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

import pandas as pd

from lowres_ssl.config.experiment_schema import RANDOM_BASELINES, SETTINGS_ORIGIN, TUNED_ORIGIN, BackboneConfig
from lowres_ssl.console import pluralise
from lowres_ssl.errors import ConfigError
from lowres_ssl.io.checksummed_json import to_json
from lowres_ssl.runs.filters import (
    ResultFilters,
    count_settings,
    format_settings_override,
    get_shared_settings,
    has_own_encoder,
    is_trained,
    list_differing_settings,
    parse_settings,
)
from lowres_ssl.runs.history import RUN_MARKS
from lowres_ssl.runs.index import SPECIAL_IMAGES
from lowres_ssl.runs.predictions import ResultCell
from lowres_ssl.runs.records import RunIdentity
from lowres_ssl.runs.result_io import read_result
from lowres_ssl.runs.run import Run

BatchSize = Literal["best"] | int


@dataclass(frozen=True)
class ResultColumn:
    """Hold results (rows of the index) that may stand beside each other. `rows` has at least one. `notes`: what was
    left out of them; every cell has these notes."""

    dataset: str
    probe: str
    split_seed: int
    rows: pd.DataFrame
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        labels = self.rows["label"].unique()
        return f"{self.dataset}, {labels[0] if len(labels) == 1 else self.probe}, split_seed {self.split_seed}"

    def entries(self, pattern: str = "*") -> list[str]:
        """List the entries that `pattern` ("dcl", "pretrained *") means, by name."""
        return sorted({entry for entry in self.rows["entry"] if fnmatchcase(entry, pattern)})

    def batch_sizes(self, entry: str) -> list[int]:
        """List the batch sizes of a trained entry; none of another."""
        return sorted({int(size) for size in self.rows.loc[self.rows["entry"] == entry, "batch_size"].dropna()})

    def cell(self, entry: str, batch_size: BatchSize = "best") -> ResultCell | None:
        """Return the results of an entry, a row a seed; None if there are none.

        "best": the batch size with the highest mean validation accuracy over the seeds, of equals the smallest. An
        entry that is not trained has none, whatever is asked. Raises `ConfigError` for a run that is there twice.
        """
        mine = self.rows[self.rows["entry"] == entry]
        what, sizes, notes = f"{self}: {entry}", self.batch_sizes(entry), list(self.notes)
        check_no_duplicates(mine, what)
        if sizes:
            if batch_size == "best":
                batch_size, more = choose_best_batch_size(mine, what)
                notes += more
            mine = mine[mine["batch_size"] == batch_size]
        if mine.empty:
            return None
        check_seeds_alike(mine, what)
        for key, mark in RUN_MARKS.items():
            if marked := int(mine[key].sum()):
                seeds = pluralise(len(mine), "seed")
                notes.append(f"{what} {mark.word} in {marked} of {seeds}, that is, {mark.meaning}")
        chosen = int(mine["batch_size"].iloc[0]) if sizes else None
        return ResultCell(entry, chosen, mine.sort_values("seed", ignore_index=True), tuple(notes))


def find_better_random(column: ResultColumn) -> str | None:
    """Find, of the random encoders that a column has, the one that every method has to beat: that with the higher mean
    validation accuracy over the seeds that both have, of equals the first of `RANDOM_BASELINES`. None if there is
    neither.

    Test scores are not looked at. Where one has no validation accuracy, the first that there is. Raises `ConfigError`
    for a run that is there twice.
    """
    for start in RANDOM_BASELINES:
        check_no_duplicates(column.rows[column.rows["entry"] == start], f"{column}: {start}")
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
    """Select the ordinary results that `filters` and the patterns `entries` mean, by data set, probe and split seed.

    Ordinary: finished, from all training labels, of encoders that saw training images only. Of several settings of the
    probe those that most results of trained encoders have are taken. Untrained encoders have no recipe: of theirs,
    those are taken that were built and scored like the trained ones. `trained_only`: no column of untrained encoders
    alone.

    Raises `ConfigError` if results disagree in anything else that would stand in one column.
    """
    rows = filters.apply(select_ordinary(frame))
    meant = rows["entry"].map(lambda entry: any(fnmatchcase(str(entry), pattern) for pattern in entries))
    columns = []
    for _, group in rows[meant.astype(bool)].groupby(["dataset", "probe", "split_seed"]):
        if trained_only and not is_trained(group).any():
            continue
        dataset, probe, split_seed = group[["dataset", "probe", "split_seed"]].iloc[0]
        where = str(ResultColumn(dataset, probe, int(split_seed), group))
        kept, notes = keep_usual_settings(group, where, filters.settings)
        kept = drop_other_recipes(kept)
        check_same_kind(kept, where)
        columns.append(ResultColumn(dataset, probe, int(split_seed), kept, notes))
    return columns


def select_ordinary(frame: pd.DataFrame) -> pd.DataFrame:
    whole = (frame["state"] == "finished") & frame["result"].notna() & (frame["label_fraction"] == 1.0)
    return frame[whole & ~frame["pretrain_on"].isin(SPECIAL_IMAGES)]


def keep_usual_settings(
    rows: pd.DataFrame, where: str, asked: str | None = None
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Keep the results of one probe with the settings that most of those of trained encoders have (of equals the first
    by name), and a note on the others. `asked`: settings that were typed, to be typed again beside those that choose.

    Raises `ConfigError` if the trained encoders are not of one kind.
    """
    check_same_kind(rows[is_trained(rows)], where)
    counted = rows[is_trained(rows)] if is_trained(rows).any() else rows
    settings = pd.Series([get_shared_settings(row) for row in rows.to_dict("records")], index=rows.index)
    counts = count_settings(counted)
    usual, *others = counts
    notes = []
    for other in others:
        _, differing = list_differing_settings([usual, other])
        typed = format_settings_override(", ".join(filter(None, [asked, differing or other])))
        run, results = counted.loc[settings == other, "run"].iloc[0], pluralise(counts[other], "result")
        notes.append(f"{where}: {results} with {differing or other} ({run}) left out; to choose such type {typed}")
    return rows[settings == usual], tuple(notes)


def drop_other_recipes(group: pd.DataFrame) -> pd.DataFrame:
    """Drop the results of untrained encoders that belong to another recipe's trained ones.

    An untrained run is shared by the recipes that build the same encoder and store the images alike, under the name of
    the first. So not its recipe counts, but the `backbone` section of its config and the size of its stored images.
    """
    trained = is_trained(group)
    if not trained.any() or trained.all():
        return group
    built = [read_backbone(result) for result in group.loc[trained, "result"]]
    same = group["storage_size"].isin(group.loc[trained, "storage_size"])
    same &= has_own_encoder(group) | group["result"].map(lambda result: read_backbone(result) in built).astype(bool)
    return group[trained | same]


def read_backbone(result: str) -> BackboneConfig:
    return read_result(Path(result)).config.backbone


def choose_best_batch_size(rows: pd.DataFrame, what: str) -> tuple[int, list[str]]:
    """Choose the best batch size of an entry and notes on those that could not be compared. Test scores are not looked
    at."""
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


def check_same_kind(rows: pd.DataFrame, where: str) -> None:
    """Raises `ConfigError` if the rows are not of one kind, but for what may differ."""
    trained, own_encoder = is_trained(rows), has_own_encoder(rows)
    everywhere = trained | True
    checked = {"recipe": trained, "backbone": ~own_encoder, "image_size": everywhere, "epochs": trained}
    checked |= {"split": everywhere, "split_digest": everywhere, "storage_size": trained}
    differing = [key for key, among in checked.items() if rows.loc[among, key].nunique() > 1]
    if "split" in differing and "split_digest" in differing:
        differing.remove("split_digest")  # other kinds of split have others
    if "storage_size" in differing and {"recipe", "image_size"} & set(differing):
        differing.remove("storage_size")  # which depends on them
    if differing:
        raise_difference(differing, rows[checked[differing[0]]], where)


def check_single_value(key: str, rows: pd.DataFrame, where: str) -> None:
    """Raises `ConfigError` if the rows have not all the same `key`."""
    if rows[key].nunique() > 1:
        raise_difference([key], rows, where)


def raise_difference(keys: Sequence[str], rows: pd.DataFrame, where: str) -> None:
    """Raises `ConfigError` for results that differ in these keys, with what is to be typed of all of them at once."""
    firsts = rows.drop_duplicates(keys[0]).sort_values(keys[0]).to_dict("records")
    typed = " or ".join(
        " ".join(f"{key}={str(row[key])[: 8 if key == 'split_digest' else None]}" for key in keys if pd.notna(row[key]))
        for row in firsts
    )
    named = ", ".join(str(row["run"]) for row in firsts)
    raise ConfigError(
        f"{where}: {' and '.join(keys)} differ{'s' * (len(keys) == 1)}, as between {named}, wanted one of each in a "
        f"column; type {typed}"
    )


def check_seeds_alike(rows: pd.DataFrame, what: str) -> None:
    """Raises `ConfigError` if an entry's seeds were trained in other ways: their mean has no meaning."""
    check_single_value("optimiser", rows, what)
    made = rows[rows["made"].notna()].drop_duplicates("made")
    if len(made) > 1:
        one, other = (Run(Path(result).parent) for result in made["result"].iloc[:2])
        differing = list_identity_differences(one.read().identity, other.read().identity)
        raise ConfigError(
            f"{what}: its seeds were not trained alike: {one.name} and {other.name} differ in {', '.join(differing)}; "
            "move one of them out of output_dir"
        )
    starts = rows[rows["start"].notna()].drop_duplicates("start")
    if len(starts) > 1:
        runs = [Run(Path(result).parent) for result in starts["result"].iloc[:2]]
        named = [(run.name, run.read()) for run in runs]
        got = " and ".join(
            f"{name} with {record.training.initial_weights} (SHA-256 {str(record.identity.initial_weights)[:8]})"
            for name, record in named
            if record.training is not None
        )
        raise ConfigError(
            f"{what}: its seeds started with other weights: {got}; wanted one file, or runs that were made alike; move "
            "one of the two out of output_dir"
        )


def list_identity_differences(one: RunIdentity, other: RunIdentity) -> list[str]:
    """List what differs between two runs, but for seed and starting weights: "learning_rate (0.1, 0.01)"."""
    own, others = (
        to_json(each) | to_json(each.settings) | {"settings": None} for each in (one.drop_seed(), other.drop_seed())
    )
    keys = dict.fromkeys([*own, *others])
    return [f"{key} ({own.get(key)}, {others.get(key)})" for key in keys if own.get(key) != others.get(key)]


def check_no_duplicates(rows: pd.DataFrame, what: str) -> None:
    """Raises `ConfigError` if an entry has two results of a batch size and seed."""
    for _, same in rows.groupby(["batch_size", "seed"], dropna=False):
        if len(same) == 1:
            continue
        batch_size, seed = same["batch_size"].iloc[0], same["seed"].iloc[0]
        size = "" if pd.isna(batch_size) else f", batch size {batch_size}"
        where = f"{what}{size}, seed {seed} is there twice"
        for key in ("precision", "recipe", "backbone", "optimiser"):
            check_single_value(key, same, where)
        first, second = same["result"].iloc[:2]
        # Settings that were tuned are a run's own: to ask for one's rate would leave the other runs out.
        tuned = all(parse_settings(text).get(SETTINGS_ORIGIN) == TUNED_ORIGIN for text in same["settings"])
        choices = [] if tuned else list(filter(None, list_differing_settings(list(same["settings"]))))
        hint = "".join(f"type {format_settings_override(each)}, or " for each in choices)
        one, other = (Run(Path(result).parent).read().identity for result in (first, second))
        differences = list_identity_differences(one, other)
        differing = f" differ in {', '.join(differences)}" if differences else ""
        raise ConfigError(f"{where}: {first} and {second}{differing}; {hint}move one of the two out of output_dir")
