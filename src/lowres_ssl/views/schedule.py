"""A schedule of image sizes: the views' size in each epoch. Small ones first cost a fraction of the arithmetic."""

import math
from collections.abc import Sequence

from lowres_ssl.errors import ConfigError


def sizes_by_epoch(stages: Sequence[Sequence[float]], *, epochs: int, image_size: int, smallest: int) -> list[int]:
    """The views' size in each epoch, in pixels, from the first to the last.

    stages: pairs (share of the epochs, share of `image_size`), in their order; the shares of the epochs add up to 1.
    The last stage ends at `image_size` itself, so that the encoder is left as that size needs it. A stage too short for
    an epoch has none, but the last has one at least. Cao and Wu, Rethinking Self-Supervised Learning: Small is
    Beautiful, 2021, arXiv 2103.13559. Raises `ConfigError` for what is no schedule.
    """
    got = [list(stage) for stage in stages]
    if not stages or any(len(stage) != 2 for stage in stages):
        raise refused(got, "pairs of a share of the epochs and a share of image_size")
    if any(not (share > 0 and 0 < scale <= 1) for share, scale in stages):
        raise refused(got, "shares above 0, and of image_size at most 1")
    if not math.isclose(math.fsum(share for share, _ in stages), 1.0, abs_tol=1e-6):
        raise refused(got, "shares of the epochs that add up to 1")
    if stages[-1][1] != 1.0:
        raise refused(got, "a last stage of the whole image_size")
    sizes = [round(scale * image_size) for _, scale in stages]
    if min(sizes) < smallest:
        raise refused(got, f"at least {smallest} pixels, got {min(sizes)} of image_size={image_size}")

    by_epoch: list[int] = []
    done = 0.0
    for (share, _), size in zip(stages, sizes, strict=True):
        done += share
        by_epoch += [size] * (round(done * epochs) - len(by_epoch))
    return [*by_epoch[: epochs - 1], image_size]


def refused(got: list[list[float]], wanted: str) -> ConfigError:
    return ConfigError(f"image_size_schedule={got}: wanted {wanted}, such as [[0.75,0.5],[0.25,1.0]]")
