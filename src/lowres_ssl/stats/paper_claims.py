"""What the paper claims, as differences between cells, and what the stored results say of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lowres_ssl.stats.paired_tests import Difference, MethodCounts, compute_contrast, pool_seed_spread

# An entry and its batch size; None for one that is not trained.
CellKey = tuple[str, int | None]
ScoredCells = Mapping[CellKey, MethodCounts]

CONTRASTIVE = ("simclr", "dcl")
NON_CONTRASTIVE = ("simsiam", "vicreg")
SMALL_BATCH, MEDIUM_BATCH, LARGE_BATCH = 16, 32, 64  # the paper's batch sizes
GAP_METRICS = {"accuracy": 1.0, "weighted_f1": -1.0}


@dataclass(frozen=True)
class ClaimContrast:
    """Mean over the cells of `plus` minus mean over those of `minus`, of the sum of `metrics` with their factors.

    A claim says that it is above 0.
    """

    text: str
    plus: Sequence[CellKey]
    minus: Sequence[CellKey]
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class ClaimVerdict:
    """`verdict`: "supported", "contradicted", "cannot tell" or "no runs for it"; then `missing` says which.

    `found`: each difference of the claim in words, with its interval.
    """

    claim: str
    verdict: str
    found: tuple[tuple[str, Difference], ...] = ()
    missing: tuple[str, ...] = ()


def judge_claims(cells: ScoredCells, chosen: Mapping[str, CellKey], name: str, *, imagenet: str) -> list[ClaimVerdict]:
    """The five claims on one data set and probe, by the metric `name`; of the last the metrics are the claim's own.

    `cells`: whatever is stored, at every batch size; `chosen`: of each entry the cell that tables show. `imagenet`: the
    entry that stands for frozen ImageNet features. The loss that the released code calls DCL is `dclw`: it stands for
    `dcl` where there is no such entry.
    """
    entries = {entry for entry, _ in cells}
    names = {"dcl": "dclw"} if "dcl" not in entries and "dclw" in entries else {}
    contrastive = [names.get(entry, entry) for entry in CONTRASTIVE]
    methods = [*contrastive, *NON_CONTRASTIVE]
    own = [chosen[entry] for entry in methods if entry in chosen]
    mean = f"mean of {', '.join(entry for entry, _ in own)}"
    frozen = chosen.get(imagenet, (imagenet, None))
    of_each = [{size for entry, size in cells if entry == method and size is not None} for method in methods]
    smallest = min([size for size in set.intersection(*of_each) if size <= SMALL_BATCH], default=SMALL_BATCH)
    score = {name: 1.0}
    vicreg, simsiam = (
        {size: (entry, size) for size in (SMALL_BATCH, MEDIUM_BATCH, LARGE_BATCH)} for entry in ("vicreg", "simsiam")
    )
    between = ClaimContrast(
        f"mean of {', '.join(NON_CONTRASTIVE)} minus mean of {', '.join(contrastive)} at batch size {smallest}",
        [(entry, smallest) for entry in NON_CONTRASTIVE],
        [(entry, smallest) for entry in contrastive],
        score,
    )
    claims = {
        "self-supervised methods beat frozen ImageNet features": [
            ClaimContrast(f"{mean} minus {imagenet}", own, [frozen], score)
        ],
        "non-contrastive methods beat contrastive ones at small batches": [between],
        "VICReg improves with the batch size": [compare_batch_sizes(vicreg[LARGE_BATCH], vicreg[SMALL_BATCH], score)],
        "SimSiam peaks in between": [
            compare_batch_sizes(simsiam[MEDIUM_BATCH], simsiam[size], score) for size in (SMALL_BATCH, LARGE_BATCH)
        ],
        "accuracy minus weighted F1 is smaller for self-supervised methods than for ImageNet features": [
            ClaimContrast(f"that of {imagenet} minus the {mean}", [frozen], own, GAP_METRICS)
        ],
    }
    return [judge_claim(claim, contrasts, cells) for claim, contrasts in claims.items()]


def compare_batch_sizes(plus: CellKey, minus: CellKey, metrics: Mapping[str, float]) -> ClaimContrast:
    """One method at two batch sizes."""
    return ClaimContrast(f"{plus[0]} at batch size {plus[1]} minus {minus[1]}", [plus], [minus], metrics)


def judge_claim(claim: str, contrasts: Sequence[ClaimContrast], cells: ScoredCells) -> ClaimVerdict:
    """Supported if the whole interval of each difference is above 0, contradicted if that of one is below.

    A claim of two differences needs no correction: to be supported both must hold, and to be contradicted by chance
    each has 2.5%, the lower half of what a 95% interval leaves. The seeds of all `cells` are pooled. From one seed of a
    method nothing can be told: the interval is then all that the metrics allow.
    """
    keys = list(dict.fromkeys(key for each in contrasts for key in [*each.plus, *each.minus]))
    missing = [format_cell_key(key) for key in keys if key not in cells]
    if not all(each.plus and each.minus for each in contrasts):
        missing.insert(0, "any self-supervised method")
    if missing:
        return ClaimVerdict(claim, "no runs for it", missing=tuple(missing))
    found = []
    for each in contrasts:
        parts = {key: cell.make_part(**each.metrics) for key, cell in cells.items()}
        terms = [(1 / len(each.plus), parts[key]) for key in each.plus]
        terms += [(-1 / len(each.minus), parts[key]) for key in each.minus]
        found.append((each.text, compute_contrast(terms, pool_seed_spread(list(parts.values())))))
    if all(difference.low > 0 for _, difference in found):
        verdict = "supported"
    elif any(difference.high < 0 for _, difference in found):
        verdict = "contradicted"
    else:
        verdict = "cannot tell"
    return ClaimVerdict(claim, verdict, tuple(found))


def format_cell_key(key: CellKey) -> str:
    entry, size = key
    return entry if size is None else f"{entry} at batch size {size}"
