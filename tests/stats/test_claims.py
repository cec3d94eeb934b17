"""Each claim on made-up cells where it holds, where its contrary does, and where nothing can be said."""

import numpy as np
import pytest

from lowres_ssl.stats.paired_tests import MethodCounts
from lowres_ssl.stats.paper_claims import CellKey, ClaimVerdict, judge_claims

BEATS, SMALL_BATCH, GROWS, PEAKS, GAP = range(5)
METHODS = ("simclr", "dcl", "simsiam", "vicreg")


def scored(*right: tuple[int, int], seeds: int = 3, depends_on_seed: bool = True) -> MethodCounts:
    """Two classes, each of so many images that are recognised and so many that are not, each image a group."""
    confusion = [[right[0][0], right[0][1]], [right[1][1], right[1][0]]]
    places = [(label, guess) for label in (0, 1) for guess in (0, 1) for _ in range(confusion[label][guess])]
    counts = np.zeros((seeds, len(places), 2, 2), dtype=np.int64)
    for group, (label, guess) in enumerate(places):
        counts[:, group, label, guess] = 1
    return MethodCounts(counts, depends_on_seed)


def cell(share: float, seeds: int = 3, *, depends_on_seed: bool = True) -> MethodCounts:
    """100 images of each class, the given share of each recognised."""
    right = round(100 * share)
    return scored((right, 100 - right), (right, 100 - right), seeds=seeds, depends_on_seed=depends_on_seed)


def cells(**right: float) -> dict[CellKey, MethodCounts]:
    """ "dcl_16": its share of recognised images; an entry without a batch size depends on no seed."""
    made: dict[CellKey, MethodCounts] = {}
    for name, share in right.items():
        entry, _, size = name.partition("_")
        key = (entry, int(size) if size else None)
        made[key] = cell(share) if size else cell(share, 1, depends_on_seed=False)
    return made


def judged(made_up: dict[CellKey, MethodCounts], which: int, imagenet: str = "imagenet") -> ClaimVerdict:
    """The largest batch size is the chosen one."""
    chosen = {key[0]: key for key in sorted(made_up, key=lambda key: (key[0], key[1] or 0))}
    return judge_claims(made_up, chosen, "accuracy", imagenet=imagenet)[which]


def test_methods_beat_imagenet_or_are_beaten_or_neither() -> None:
    methods = {f"{method}_64": 0.8 for method in METHODS}
    verdicts = [judged(cells(**methods, imagenet=share), BEATS).verdict for share in (0.6, 0.95, 0.8)]
    assert verdicts == ["supported", "contradicted", "cannot tell"]
    found = judged(cells(dcl_64=0.9, vicreg_64=0.8, imagenet=0.6), BEATS).found
    assert [(text, difference.value) for text, difference in found] == [
        ("mean of dcl, vicreg minus imagenet", pytest.approx(0.25))
    ]


@pytest.mark.parametrize(("non_contrastive", "verdict"), [(0.9, "supported"), (0.6, "contradicted")])
def test_small_batches_are_the_smallest_there_are(non_contrastive: float, verdict: str) -> None:
    small = {f"{method}_{size}": 0.75 for method in ("simclr", "dcl") for size in (8, 64)}
    small |= {f"{method}_8": non_contrastive for method in ("simsiam", "vicreg")}
    assert judged(cells(**small), SMALL_BATCH).verdict == verdict


def test_dclw_stands_for_dcl_where_there_is_none() -> None:
    rest = {"simclr_16": 0.7, "simsiam_16": 0.9, "vicreg_16": 0.9}
    assert judged(cells(**rest, dclw_16=0.7), SMALL_BATCH).verdict == "supported"
    assert judged(cells(**rest, dclw_16=0.7, dcl_64=0.7), SMALL_BATCH).missing == ("dcl at batch size 16",)


def test_vicreg_improves_from_16_to_64() -> None:
    assert judged(cells(vicreg_16=0.7, vicreg_64=0.9), GROWS).verdict == "supported"
    assert judged(cells(vicreg_16=0.9, vicreg_64=0.7), GROWS).verdict == "contradicted"
    assert judged(cells(vicreg_64=0.9), GROWS).missing == ("vicreg at batch size 16",)


@pytest.mark.parametrize(
    ("at_16", "at_32", "at_64", "verdict"),
    [
        (0.7, 0.9, 0.7, "supported"),
        (0.7, 0.9, 0.9, "cannot tell"),
        (0.5, 0.7, 0.9, "contradicted"),
        (0.8, 0.8, 0.8, "cannot tell"),
    ],
)
def test_simsiam_peaks_only_if_32_is_above_both(at_16: float, at_32: float, at_64: float, verdict: str) -> None:
    got = judged(cells(simsiam_16=at_16, simsiam_32=at_32, simsiam_64=at_64), PEAKS)
    assert (got.verdict, len(got.found)) == (verdict, 2)


def test_gap_is_that_of_accuracy_and_weighted_f1_whatever_the_metric() -> None:
    """Of 160 and 40 images: always the first class has accuracy 0.8 and weighted F1 0.71; 20 wrong of each class."""
    lopsided = scored((160, 0), (0, 40), seeds=1, depends_on_seed=False)
    holds = judged({("dcl", 64): scored((140, 20), (20, 20)), ("imagenet", None): lopsided}, GAP)
    assert holds.verdict == "supported"
    # accuracy 0.8 each; weighted F1 0.8 * 8/9 of the one, that of 7/8 and 1/2 of the other
    gap = 0.8 - 0.8 * 2 * 0.8 / 1.8
    assert holds.found[0][1].value == pytest.approx(gap - (0.8 - (0.8 * 0.875 + 0.2 * 0.5)))


def test_one_seed_supports_and_contradicts_nothing() -> None:
    for right in (0.95, 0.05):
        got = judged(cells(imagenet=0.5) | {("dcl", 64): cell(right, 1)}, BEATS)
        assert got.verdict == "cannot tell"
        assert got.found[0][1].is_of_one_seed
