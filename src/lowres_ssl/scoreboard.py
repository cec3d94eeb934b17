"""What a run came to, as a table for the terminal: the method, random initialisation and the largest class."""

from collections.abc import Sequence
from typing import Any

from lowres_ssl.data.splits import Split

Results = Sequence[dict[str, Any]]
MARK_ALL = "Pre-trained on all images (pretrain_on=all): the encoder has seen the validation and test images."
COLUMNS = (("accuracy", "accuracy"), ("weighted_f1", "weighted F1"))


def scoreboard(rows: Sequence[tuple[str, Results]], title: str, split: Split, marks: Sequence[str] = ()) -> str:
    """A table: a line a row (its name, one result a probe, the same probes in each), two numbers a probe.

    The last line is the classifier that always answers with the largest class of the test set: what accuracy is worth
    nothing. `marks` are lines that must not be overlooked.
    """
    results = rows[0][1]
    largest = majority(results[0])
    lines = [(name, [[result["test"][key] for key, _ in COLUMNS] for result in own]) for name, own in rows]
    lines.append(("always the largest class", [largest] * len(results)))
    first = max(len(name) for name, _ in lines)
    width = max(len(heading) for _, heading in COLUMNS) + 2
    heads = [result["label"].center(len(COLUMNS) * width).rstrip() for result in results]
    pad = len(COLUMNS) * width
    images = results[0]["images"]
    held = f"{images['train']} train, {images['validation']} validate, {images['test']} test"
    text = [
        f"{title}: split {split.kind} (split_seed {split.seed}), {held}; scores are of the test images",
        "",
        " " * first + "".join(head.ljust(pad) for head in heads).rstrip(),
        " " * first + "".join(heading.rjust(width) for _ in results for _, heading in COLUMNS),
    ]
    for name, cells in lines:
        text.append(name.ljust(first) + "".join(f"{value:.3f}".rjust(width) for cell in cells for value in cell))
    return "\n".join([*text, *([""] if marks else []), *marks])


def majority(result: dict[str, Any]) -> list[float]:
    """Accuracy and weighted F1 of always answering with the class that has the most test images."""
    counts = [sum(row) for row in result["test"]["confusion_matrix"]]
    share = max(counts) / sum(counts)
    # Its precision is its share, its recall 1; every other class has an F1 of 0.
    return [share, share * 2 * share / (1 + share)]
