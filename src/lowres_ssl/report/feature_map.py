"""Where the test images lie in a method's feature space: two coordinates for the eye, and the true neighbours."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowres_ssl.errors import UserError
from lowres_ssl.figures.tsne import embed, features_of, shown_of, silhouette
from lowres_ssl.report import Chapter, Integers
from lowres_ssl.terminal import say

NEIGHBOURS = 5


@dataclass(frozen=True)
class FeatureMap:
    """dots: float [m, 2], t-SNE. neighbours: int64 [m, k], places among the m, the nearest first, by the features."""

    entry: str
    name: str
    seed: int
    silhouette: float | None
    dots: NDArray[np.floating[Any]]
    neighbours: Integers


def maps_of(chapter: Chapter) -> tuple[list[FeatureMap], list[str]]:
    """One an entry, of one seed, the same for all where they have one in common; and a line for each without."""
    maps, problems = [], []
    entries = chapter.entries()
    shared = set.intersection(*(set(each.cell.seeds) for each in entries.values()))
    for entry, method in entries.items():
        seed = min(shared or method.cell.seeds)
        rows = method.cell.rows
        result = Path(rows.loc[rows["seed"] == seed, "result"].iloc[0])
        say(f"{chapter.title}: map of {method.name}")
        try:
            features = features_of(result)
        except UserError as error:
            problems.append(str(error))
            continue
        if len(features) != len(method.tested.labels):
            problems.append(f"{result.parent}: features of {len(features)} test images, wanted those that it predicted")
            continue
        shown = shown_of(len(features))
        features, labels = features[shown], method.tested.labels[shown]
        maps.append(
            FeatureMap(entry, method.name, seed, silhouette(features, labels), embed(features), nearest(features))
        )
    return maps, problems


def nearest(features: NDArray[np.float32], count: int = NEIGHBOURS) -> Integers:
    """For each row [m, D] its nearest other rows by Euclidean distance, int64 [m, min(count, m - 1)]; ties in order."""
    rows = features.astype(np.float64)
    squares = (rows**2).sum(axis=1)
    distances = squares[:, None] + squares[None, :] - 2 * rows @ rows.T
    np.fill_diagonal(distances, np.inf)
    return np.argsort(distances, axis=1, kind="stable")[:, : min(count, max(0, len(rows) - 1))].astype(np.int64)
