"""Predictions -> numbers: scikit-learn's, with its conventions. The only reader of test labels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, multilabel_confusion_matrix, recall_score, roc_auc_score

from lowres_ssl.runs.records import Scores

ClassArray = NDArray[np.int64]


def compute_metrics(
    labels: ClassArray, predictions: ClassArray, scores: NDArray[np.floating[Any]], names: Sequence[str]
) -> Scores:
    """Compute the metrics of one set of predictions.

    labels, predictions: int64 [n], n at least 1, places in `names`; scores: float [n, C], rows that sum to 1.

    `accuracy` and `weighted_f1` are the ICIP paper's. `weighted_f1`, `macro_f1` and `balanced_accuracy` are over the
    classes that have an image here; a class never predicted has an F1 of 0. `auroc` is the area under the ROC curve,
    for two classes that of the second, for more the mean of one class against the rest; None if a class has no image
    here. `sensitivity` and `specificity`: of each class against the rest, None where there is nothing to divide by.
    `confusion_matrix`: counts, a row a true class, a column a predicted one. `n`: images.
    """
    classes = range(len(names))
    present = np.unique(labels)
    tables = multilabel_confusion_matrix(labels, predictions, labels=classes)  # [C, 2, 2]
    matrix = np.zeros((len(names), len(names)), dtype=np.int64)
    np.add.at(matrix, (labels, predictions), 1)
    return Scores(
        n=len(labels),
        accuracy=float(accuracy_score(labels, predictions)),
        weighted_f1=float(f1_score(labels, predictions, labels=present, average="weighted", zero_division=0.0)),
        macro_f1=float(f1_score(labels, predictions, labels=present, average="macro", zero_division=0.0)),
        balanced_accuracy=float(recall_score(labels, predictions, labels=present, average="macro")),
        auroc=compute_auc(labels, scores) if len(present) == len(names) else None,
        sensitivity={name: compute_share(one[1, 1], one[1, 0]) for name, one in zip(names, tables, strict=True)},
        specificity={name: compute_share(one[0, 0], one[0, 1]) for name, one in zip(names, tables, strict=True)},
        confusion_matrix=matrix.tolist(),
    )


def compute_auc(labels: ClassArray, scores: NDArray[np.floating[Any]]) -> float:
    if scores.shape[1] == 2:
        return float(roc_auc_score(labels, scores[:, 1]))
    rows = scores.astype(np.float64)
    # scikit-learn wants rows that sum to 1 in float64; a softmax in float32 misses that by the last digits.
    return float(roc_auc_score(labels, rows / rows.sum(axis=1, keepdims=True), multi_class="ovr", average="macro"))


def compute_share(right: np.integer[Any], wrong: np.integer[Any]) -> float | None:
    """right / (right + wrong); None if there are none of either."""
    total = int(right + wrong)
    return int(right) / total if total else None
