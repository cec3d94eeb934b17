"""The images that every method gets wrong, and those that the methods disagree about."""

from dataclasses import dataclass

import numpy as np

from lowres_ssl.report import Integers, Probed


@dataclass(frozen=True)
class Hard:
    """Places of test images, int64. all_wrong: no method's vote is right. disputed: the votes differ, the most evenly
    divided first. `methods`: whose votes."""

    probe: str
    label: str
    methods: tuple[str, ...]
    all_wrong: Integers
    disputed: Integers


def hard_images(probed: Probed) -> Hard:
    """By the votes of the compared methods' seeds (see `Method.vote`). One method has no one to disagree with."""
    methods = probed.judged()
    labels, classes = methods[0].tested.labels, len(methods[0].tested.classes)
    votes = np.stack([method.vote()[0] for method in methods])  # [M, n]
    wrong = (votes != labels).all(axis=0)
    for_class = (votes[:, :, None] == np.arange(classes)).sum(axis=0)  # [n, C]
    most = for_class.max(axis=1)
    disputed = np.flatnonzero(most < len(methods))
    return Hard(
        probe=probed.probe,
        label=probed.label,
        methods=tuple(method.name for method in methods),
        all_wrong=np.flatnonzero(wrong).astype(np.int64),
        disputed=disputed[np.argsort(most[disputed], kind="stable")].astype(np.int64),
    )
