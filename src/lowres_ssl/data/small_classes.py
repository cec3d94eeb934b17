"""Find the classes that are too small to be divided, name them all at once, and leave them out on request."""

from collections.abc import Mapping
from dataclasses import replace

from lowres_ssl.data.catalogue import Catalogue
from lowres_ssl.errors import DataError

FEWEST_TO_DIVIDE = 2  # an image to train and one to test
MAX_NAMED_CLASSES = 3


def find_small_classes(catalogue: Catalogue, fewest: int) -> dict[str, int]:
    """Find the classes of fewer than so many images of different bytes, the smallest first, with their numbers."""
    distinct = {(record.label, record.sha256) for record in catalogue.records}
    counts = dict.fromkeys(catalogue.classes, 0)
    for label, _ in distinct:
        counts[label] += 1
    return dict(sorted(((name, n) for name, n in counts.items() if n < fewest), key=lambda each: (each[1], each[0])))


def leave_out_small_classes(catalogue: Catalogue, fewest: int) -> Catalogue:
    """Leave out the classes of fewer than so many distinct images, with a note. Raises `DataError` if less than two
    classes are left."""
    small = find_small_classes(catalogue, fewest)
    if not small:
        return catalogue
    if len(catalogue.classes) - len(small) < 2:
        raise DataError(
            f"dataset.min_class_images={fewest}: got {format_classes(small)}, wanted at least two classes of so many "
            "distinct images; add images, or type a smaller number"
        )
    kept = tuple(record for record in catalogue.records if record.label not in small)
    note = f"{format_classes(small)} left out: fewer than {fewest} distinct images (dataset.min_class_images)"
    return replace(catalogue, records=kept, notes=(*catalogue.notes, note))


def format_classes(counts: Mapping[str, int]) -> str:
    """Name classes with their numbers, a few of many: "class vasc (1)", "5 classes: df (1), vasc (1), a (2) and 2
    more"."""
    named = ", ".join(f"{name} ({number:,})" for name, number in list(counts.items())[:MAX_NAMED_CLASSES])
    more = len(counts) - MAX_NAMED_CLASSES
    head = "class " if len(counts) == 1 else f"{len(counts):,} classes: "
    return f"{head}{named}" + (f" and {more:,} more" if more > 0 else "")
