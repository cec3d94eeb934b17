"""Judge the paper's claims by the stored results: each is one or two differences between cells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lowres_ssl.stats.paired_tests import Difference, MethodCounts, compute_contrast, pool_seed_spread

CellKey = tuple[str, int | None]  # an encoder and its batch size; None for one that is not trained
ScoredCells = Mapping[CellKey, MethodCounts]

CONTRASTIVE = ("simclr", "dcl")
NON_CONTRASTIVE = ("simsiam", "vicreg")
SMALL_BATCH, MEDIUM_BATCH, LARGE_BATCH = 16, 32, 64  # the paper's batch sizes
GAP_METRICS = {"accuracy": 1.0, "weighted_f1": -1.0}


@dataclass(frozen=True)
class ClaimContrast:
    """Define a difference: the mean over the cells of `plus` minus that over those of `minus`, of the sum of `metrics`
    with their factors. A claim states that it is above 0."""

    text: str
    plus: Sequence[CellKey]
    minus: Sequence[CellKey]
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class ClaimVerdict:
    """Hold what became of a claim. `verdict`: "supported", "contradicted", "cannot tell" or "no runs for it", which
    `missing` then lists. `found`: each difference of the claim with its description."""

    claim: str
    verdict: str
    found: tuple[tuple[str, Difference], ...] = ()
    missing: tuple[str, ...] = ()


def judge_claims(cells: ScoredCells, chosen: Mapping[str, CellKey], name: str, *, imagenet: str) -> list[ClaimVerdict]:
    """Judge the five claims on one data set and probe, by the metric `name` (the last by its own metrics).

    cells: all that is stored, at every batch size; chosen: the cell of each encoder that tables show; imagenet: the
    encoder that stands for frozen ImageNet features. `dclw`, the released code's DCL, stands for `dcl` where there is
    none.
    """
    encoders = {encoder for encoder, _ in cells}
    contrastive = [
        "dclw" if each == "dcl" and each not in encoders and "dclw" in encoders else each for each in CONTRASTIVE
    ]
    methods = [*contrastive, *NON_CONTRASTIVE]
    own = [chosen[method] for method in methods if method in chosen]
    mean = f"mean of {', '.join(method for method, _ in own)}"
    frozen = chosen.get(imagenet, (imagenet, None))
    of_each = [{size for encoder, size in cells if encoder == method and size is not None} for method in methods]
    smallest = min([size for size in set.intersection(*of_each) if size <= SMALL_BATCH], default=SMALL_BATCH)
    score = {name: 1.0}

    def compare_sizes(method: str, plus: int, minus: int) -> ClaimContrast:
        text = f"{method} at batch size {plus} minus {minus}"
        return ClaimContrast(text, [(method, plus)], [(method, minus)], score)

    claims = {
        "self-supervised methods beat frozen ImageNet features": [
            ClaimContrast(f"{mean} minus {imagenet}", own, [frozen], score)
        ],
        "non-contrastive methods beat contrastive ones at small batches": [
            ClaimContrast(
                f"mean of {', '.join(NON_CONTRASTIVE)} minus mean of {', '.join(contrastive)} at batch size {smallest}",
                [(method, smallest) for method in NON_CONTRASTIVE],
                [(method, smallest) for method in contrastive],
                score,
            )
        ],
        "VICReg improves with the batch size": [compare_sizes("vicreg", LARGE_BATCH, SMALL_BATCH)],
        "SimSiam peaks in between": [
            compare_sizes("simsiam", MEDIUM_BATCH, size) for size in (SMALL_BATCH, LARGE_BATCH)
        ],
        "accuracy minus weighted F1 is smaller for self-supervised methods than for ImageNet features": [
            ClaimContrast(f"that of {imagenet} minus the {mean}", [frozen], own, GAP_METRICS)
        ],
    }
    return [judge_claim(claim, contrasts, cells) for claim, contrasts in claims.items()]


def judge_claim(claim: str, contrasts: Sequence[ClaimContrast], cells: ScoredCells) -> ClaimVerdict:
    """Judge a claim: supported if the whole interval of each difference is above 0, contradicted if that of one is
    below.

    A claim of two differences needs no correction: to be supported both must hold, and to be contradicted by chance
    each has 2.5%, the lower half of what a 95% interval leaves. The seeds of all `cells` are pooled.
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
    verdict = "cannot tell"
    if all(difference.low > 0 for _, difference in found):
        verdict = "supported"
    elif any(difference.high < 0 for _, difference in found):
        verdict = "contradicted"
    return ClaimVerdict(claim, verdict, tuple(found))


def format_cell_key(key: CellKey) -> str:
    encoder, size = key
    return encoder if size is None else f"{encoder} at batch size {size}"
