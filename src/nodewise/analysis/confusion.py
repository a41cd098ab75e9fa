"""What a classifier takes for what: the confusion matrix, and what follows from it for each class.

A matrix has a row per label and a column per predicted class: ``matrix[label][predicted]`` records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nodewise.specs.results import ClassScore

__all__ = ["Matrix", "Mixup", "accuracy_of", "class_scores", "confusion_matrix", "mixups", "worst_classes"]

Matrix = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixup:
    """Records of one class that were taken for another.

    Attributes:
        of: All records of the class ``label``.
    """

    label: str
    predicted: str
    records: int
    of: int

    @property
    def share(self) -> float:
        """Of the records of the class, 0 to 1."""
        return self.records / self.of


def confusion_matrix(num_classes: int, counts: Mapping[tuple[int, int], int]) -> Matrix:
    """The matrix of counts by label and predicted class; pairs that are missing count 0."""
    classes = range(num_classes)
    return tuple(tuple(counts.get((label, predicted), 0) for predicted in classes) for label in classes)


def accuracy_of(matrix: Matrix) -> float | None:
    """Share of the records that were predicted right; None if there are none."""
    total = sum(map(sum, matrix))
    return sum(row[label] for label, row in enumerate(matrix)) / total if total else None


def class_scores(classes: Sequence[str], matrix: Matrix) -> tuple[ClassScore, ...]:
    """Precision and recall of each class, in the order of the classes.

    precision = right / predicted to be of it; recall = right / of it. Each is None where nothing is divided by.
    """
    predicted = [sum(column) for column in zip(*matrix, strict=True)]
    return tuple(
        ClassScore(
            name=name,
            records=sum(matrix[number]),
            precision=matrix[number][number] / predicted[number] if predicted[number] else None,
            recall=matrix[number][number] / sum(matrix[number]) if any(matrix[number]) else None,
        )
        for number, name in enumerate(classes)
    )


def worst_classes(scores: Sequence[ClassScore], count: int) -> list[ClassScore]:
    """The classes of which the smallest share was recognised, the worst first; none that has no records."""
    known = [one for one in scores if one.recall is not None]
    # Of two that are equally bad, the one with more records is the better known.
    return sorted(known, key=lambda one: (one.recall or 0.0, -one.records))[:count]


def mixups(classes: Sequence[str], matrix: Matrix, count: int) -> list[Mixup]:
    """What is taken for what most often, by the number of records, the most frequent first."""
    found = [
        (records, label, predicted)
        for label, row in enumerate(matrix)
        for predicted, records in enumerate(row)
        if records and label != predicted
    ]
    found.sort(key=lambda one: (-one[0], one[1], one[2]))
    return [
        Mixup(label=classes[label], predicted=classes[predicted], records=records, of=sum(matrix[label]))
        for records, label, predicted in found[:count]
    ]
