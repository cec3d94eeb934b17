"""Settings that fit a set by its numbers alone: neighbours, batch size, image size. Pure functions."""

PAPER_NEIGHBOURS = 200
LARGEST_BATCH, SMALLEST_BATCH = 64, 8
FEWEST_STEPS = 10  # an epoch; fewer are few chances to learn, and momentum averages over about ten
PAPER_SIZE, CPU_SIZE, SMALLEST_SIZE = 224, 64, 24


def neighbours(smallest_class: int) -> int:
    """k for KNN, from the training images of the smallest class (at least 1).

    A fifth of them, so that a class that is looked for in the right place can win the vote by far; at least 5 where
    there are so many, and at most the paper's 200.
    """
    return min(smallest_class, max(5, smallest_class // 5), PAPER_NEIGHBOURS)


def batch_size(images: int) -> int:
    """Images a step, from those of an epoch (at least 2): the largest power of two from 64 down that leaves 10 steps.

    Never below 8 unless there are not so many, since these methods compare the images of a batch.
    """
    size = LARGEST_BATCH
    while size > SMALLEST_BATCH and images < FEWEST_STEPS * size:
        size //= 2
    while size > 2 and images < size:
        size //= 2
    return size


def image_size(shorter_side: int, *, gpu: bool) -> int:
    """The side in pixels to train at, from the median shorter side of the images: the paper's 224 on a GPU, 64 for a
    first try on a CPU; not above the images, in steps of 8 and at least 24."""
    wanted = PAPER_SIZE if gpu else CPU_SIZE
    return max(SMALLEST_SIZE, min(wanted, shorter_side // 8 * 8))
