"""Write the table of runs and scores that `lowres-ssl runs` prints; remove leftovers."""

import shutil
import sys
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lowres_ssl.console import count_bytes, format_bytes, format_table
from lowres_ssl.runs.cleanup import find_leftovers, remove_leftover
from lowres_ssl.runs.collapse import RUN_MARKS
from lowres_ssl.runs.comparability import parse_settings

RUN_TABLE_COLUMNS = ["run", "title", "state", "split", "recipe", "backbone", "image_size", "epochs"]


def format_run_table(frame: pd.DataFrame) -> str:
    """Show a line a run: accuracy / weighted F1 of each probe that was fitted on all training labels.

    Scores with fewer labels are several draws of several fractions; a note lists them and where to see them.
    """
    frame = frame.assign(column=list_scoring_columns(frame))
    labels = list(frame["column"].dropna().unique())
    # An encoder that has seen the test images is never shown without saying so.
    shown = [*RUN_TABLE_COLUMNS, "pretrain_on"] if (frame["pretrain_on"] == "all").any() else RUN_TABLE_COLUMNS
    rows = []
    for _, group in frame.groupby("run", sort=True):
        first = group.iloc[0].copy()
        first["state"] += "".join(f", {mark.word}" for key, mark in RUN_MARKS.items() if first[key])
        if group["column"].isna().all() and (parts := format_label_fractions(group)):
            first["state"] += f", scored with {parts} only"
        described = ["-" if pd.isna(first[key]) else str(first[key]) for key in shown]
        rows.append([*described, *[format_run_scores(group[group["column"] == label]) for label in labels]])
    heads = [*(head.replace("_", " ") for head in shown), *labels]
    common = ""
    if sys.stdout.isatty() and len(rows) > 1 and is_wider_than_terminal(heads, rows):
        heads, rows, common = drop_constant_columns(heads, rows, set(range(1, len(shown))))
    note = common + (
        "Scores: accuracy / weighted F1 on the test images. More: format=csv or format=json. "
        "Score one again: lowres-ssl evaluate run=RUN"
    )
    if parts := format_label_fractions(frame):
        note += (
            f"\nNot shown: scores with {parts}. Each draw: format=csv. Their means: lowres-ssl figures figure=[labels]"
        )
    for key, mark in RUN_MARKS.items():
        if frame[key].any():
            note += f"\n{mark.word.capitalize()}: {mark.meaning}."
    return format_table(heads, rows) + f"\n\n{note}"


def list_scoring_columns(frame: pd.DataFrame) -> list[Any]:
    """Name the column of each result; None for a run without results, and for a result with fewer labels.

    One column is one way of scoring: a label that stands for several settings is distinguished by them.
    """
    results = frame.assign(label=frame["label"].where(frame["label_fraction"] == 1)).to_dict("records")
    ways: dict[Any, set[str]] = defaultdict(set)
    for result in results:
        if not pd.isna(result["label"]):
            ways[result["label"]].add(result["settings"])
    return [
        ", ".join([result["label"], *list_distinct_settings(result["settings"], ways[result["label"]])])
        if result["label"] in ways
        else None
        for result in results
    ]


def format_run_scores(results: pd.DataFrame) -> str:
    """Show the result of one run and way of scoring; several are of several precisions, each with its name."""
    several = len(results) > 1
    return (
        "; ".join(
            f"{row.accuracy:.3f} / {row.weighted_f1:.3f}" + (f" ({row.precision})" if several else "")
            for row in results.itertuples()
        )
        or "-"
    )


def format_label_fractions(frame: pd.DataFrame) -> str:
    """Name the label fractions below 1 that were scored: "1%, 10% of the labels"; "" if there are none."""
    below = sorted({float(each) for each in frame["label_fraction"].dropna() if each < 1})
    return f"{', '.join(f'{100 * each:g}%' for each in below)} of the labels" if below else ""


def is_wider_than_terminal(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether lines of the table would be broken by the terminal."""
    return max(map(len, format_table(heads, rows).splitlines())) > shutil.get_terminal_size().columns


def drop_constant_columns(
    heads: list[str], rows: list[list[str]], places: set[int]
) -> tuple[list[str], list[list[str]], str]:
    """Without those columns among `places` in which all rows agree; these as a line."""
    alike = {place for place in places if len({row[place] for row in rows}) == 1}
    kept = [place for place in range(len(heads)) if place not in alike]
    line = ", ".join(f"{heads[place]} {rows[0][place]}" for place in sorted(alike))
    return [heads[k] for k in kept], [[row[k] for k in kept] for row in rows], f"All: {line}.\n" if line else ""


def list_distinct_settings(settings: str, ways: Collection[str]) -> list[str]:
    """Those of the settings ("k=5, vote=uniform") that not all of `ways` have."""
    common = set.intersection(*(set(parse_settings(way).items()) for way in ways))
    return [f"{key}={value}" for key, value in parse_settings(settings).items() if (key, value) not in common]


def remove_leftovers(output_dir: Path, store_dir: Path) -> None:
    """Show what can go, then remove it."""
    found = find_leftovers(output_dir, store_dir)
    if not found:
        print(f"nothing to remove below {output_dir}")
        return
    sizes = [count_bytes(leftover.path) for leftover in found]
    rows = [[str(leftover.path), format_bytes(size), leftover.why] for leftover, size in zip(found, sizes, strict=True)]
    print(format_table(["removed", "", ""], rows), flush=True)
    for leftover in found:
        remove_leftover(leftover)
    print(f"{format_bytes(sum(sizes))} freed")
