"""What `lowres-ssl tune` chose: how it chooses, its files below `outputs/tuned/`, and the paper's Table 1 of them.

Reads and writes files alone; the training of the probes is in `evaluation/search.py`. Knows no torch.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import inf
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from lowres_ssl.console import log_warning, pluralise
from lowres_ssl.errors import ConfigError, DamagedError
from lowres_ssl.io.checksummed_json import FORMAT_VERSIONS, read_record, write_checked_json
from lowres_ssl.runs.run import Run, get_encoder_name

# Whose settings are whose: these must agree. An untrained encoder is the same under every recipe: null, any fits; so
# does a file of before `epochs` (of the pre-training) was written down.
MATCHING_KEYS = ("dataset", "entry", "recipe", "backbone", "image_size", "split_digest", "epochs")


def get_tuned_path(output_dir: Path, run: str) -> Path:
    return output_dir / "tuned" / f"{run}.json"


def read_tuned_settings(output_dir: Path, run: str) -> dict[str, Any] | None:
    """What was tuned for a run; None if nothing was. Raises `CheckpointError` if the file is damaged."""
    return read_record(get_tuned_path(output_dir, run), "tuned", f"type lowres-ssl tune run={run} force=true")


def iter_tuned_settings(output_dir: Path, run: str | None) -> Iterator[dict[str, Any]]:
    """A file that is damaged is named and left out; raises `CheckpointError` if it is that of `run`."""
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


def write_tuned_settings(output_dir: Path, content: Mapping[str, Any]) -> None:
    write_checked_json(get_tuned_path(output_dir, content["run"]), {"schema": FORMAT_VERSIONS["tuned"], **content})


def describe_tuned_run(run: Run) -> dict[str, Any]:
    """What a tuned file says of the run it is of, `SAME` among it."""
    description = run.description()
    trained = "batch_size" in description
    return {
        "run": run.name,
        "entry": get_encoder_name(description),
        "method": description["method"],
        "dataset": description["dataset"],
        "title": description["title"],
        "recipe": description["recipe"] if trained else None,
        "backbone": description["backbone"],
        "image_size": description["image_size"],
        "batch_size": description.get("batch_size"),
        "epochs": description.get("epochs_wanted"),
        "seed": description["seed"],
        "split": description["split"],
        "split_digest": description["split"]["digest"],
    }


def summarise_seeds(
    batch_size: int, learning_rate: float, epochs: int, fits: Sequence[tuple[float, float]]
) -> dict[str, Any]:
    """A line of the grid from the validation accuracy and loss of each seed; one that diverged: accuracy 0, loss inf.

    Spread is the standard deviation over seeds (n - 1), null where there is one. A loss that is not finite is null.
    """
    accuracies = [accuracy for accuracy, _ in fits]
    losses = [loss for _, loss in fits if loss != inf]
    whole = len(losses) == len(fits)
    return {
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "epochs": epochs,
        "accuracy": mean(accuracies),
        "accuracy_spread": stdev(accuracies) if len(fits) > 1 else None,
        "loss": mean(losses) if whole else None,
        "loss_spread": stdev(losses) if whole and len(fits) > 1 else None,
        "diverged": len(fits) - len(losses),
    }


def sort_by_preference(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Lines of a grid, the best first: highest mean validation accuracy, of equals the lower mean validation loss, then
    the smaller rate, then the smaller batch."""

    def rank(line: Mapping[str, Any]) -> tuple[float, ...]:
        loss = inf if line["loss"] is None else line["loss"]
        return (-round(line["accuracy"], 9), loss, line["learning_rate"], line["batch_size"])

    return sorted(lines, key=rank)


def find_tuned_settings(output_dir: Path, run: str | None, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What was tuned for the `run`; else for one like it, with the values of `wanted` for each of `SAME`.

    Of several that are like it (its other seeds) the one whose choice is the best, by the same rule; those of other
    batch sizes only where there is none of its own. Raises `ConfigError` if nothing was tuned for it.
    """
    fitting = [tuned for tuned in iter_tuned_settings(output_dir, run) if matches_run(tuned, wanted)]
    own = [tuned for tuned in fitting if tuned["run"] == run]
    if own:
        return own[0]
    if not fitting:
        raise ConfigError(
            f"probe.linear.settings_from=tuned: nothing was tuned for {wanted['entry']} on {wanted['dataset']} "
            f"({wanted['backbone']}, {wanted['image_size']} px, recipe "
            f"{wanted['recipe']}, {format_epochs_prefix(wanted)}"
            f"split {wanted['split_digest'][:8]}); when its run is finished, type lowres-ssl tune "
            f"dataset={wanted['dataset']} 'entry={wanted['entry']}', or probe.linear.settings_from=paper"
        )
    return choose_best_tuned([tuned for tuned in fitting if tuned.get("batch_size") == wanted["batch_size"]] or fitting)


def format_epochs_prefix(wanted: Mapping[str, Any]) -> str:
    return "" if wanted["epochs"] is None else f"{pluralise(wanted['epochs'], 'epoch')}, "


def matches_run(tuned: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(
        tuned.get(key) == wanted[key] or (key in ("recipe", "epochs") and tuned.get(key) is None)
        for key in MATCHING_KEYS
    )


def choose_best_tuned(fitting: Sequence[dict[str, Any]]) -> dict[str, Any]:
    best = sort_by_preference([tuned["chosen"] for tuned in fitting])[0]
    return next(tuned for tuned in fitting if tuned["chosen"] == best)


def list_tuned_warnings(tuned: Mapping[str, Any], settings: Mapping[str, Any]) -> tuple[str, ...]:
    """What is doubtful of scoring with `settings` of the linear probe and what was `tuned`: it was with others."""
    searched = tuned.get("settings", {})
    others = [key for key, value in settings.items() if key in searched and searched[key] != value]
    if not others:
        return ()
    chosen_with, scored_with = (", ".join(f"{key}={each[key]}" for key in others) for each in (searched, settings))
    return (
        f"probe.linear.settings_from=tuned: batch size and rate were chosen with {chosen_with}, and "
        f"score with {scored_with}; give lowres-ssl tune the same",
    )


def format_tuned_cell(chosen: Mapping[str, Any] | None) -> str:
    """A cell as the paper writes it: batch size (learning rate)."""
    return "-" if chosen is None else f"{chosen['batch_size']} ({chosen['learning_rate']:g})"


def build_table_1(
    tuned: Sequence[dict[str, Any]], paper: Mapping[str, Any]
) -> list[tuple[str, list[str], list[list[str]]]]:
    """Table 1 of what was tuned, ours beside the paper's: for each way of pre-training a title, heads and rows.

    `paper`: batch size and learning rate by method and data set (`table_1` of conf/probe/linear.yaml).
    """
    trained = [each for each in tuned if each["recipe"] is not None] or list(tuned)
    tables = []
    for way in sorted({get_table_key(each) for each in trained}, key=str):
        own = [each for each in tuned if get_table_key(each, way[0]) == way]
        sets = {each["dataset"]: each["title"] for each in own}
        heads = ["", *(head for title in sets.values() for head in (title, "paper"))]
        rows = []
        for entry in dict.fromkeys(each["entry"] for each in own):
            cells = [entry]
            for dataset in sets:
                fitting = [each for each in own if (each["entry"], each["dataset"]) == (entry, dataset)]
                cells.append(format_tuned_cell(choose_best_tuned(fitting)["chosen"] if fitting else None))
                cells.append(format_tuned_cell(paper.get(entry, {}).get(dataset)))
            rows.append(cells)
        recipe, backbone, image_size, split, rule, seeds = way
        title = f"recipe {recipe or 'none'}, {backbone}, {image_size} px, split {split}; rule {rule}, "
        tables.append((f"{title}{seeds} seeds of the probe", heads, rows))
    return tables


def get_table_key(tuned: Mapping[str, Any], recipe: str | None = None) -> tuple[Any, ...]:
    """What the cells of one table agree in; untrained encoders stand in the table of every `recipe`."""
    split = f"{tuned['split']['kind']} (split_seed {tuned['split']['seed']})"
    return (tuned["recipe"] or recipe, tuned["backbone"], tuned["image_size"], split, tuned["rule"], tuned["seeds"])
