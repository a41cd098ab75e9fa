"""Confusion matrix, precision and recall, worked out by hand."""

from __future__ import annotations

import random

from nodewise.analysis.confusion import accuracy_of, class_scores, confusion_matrix, mixups, worst_classes
from nodewise.analysis.score_words import quality_sentence, speed_sentence
from nodewise.specs.results import ScoreResult

CLASSES = ("cat", "dog", "emu")
# Eight cats, of which two are taken for dogs; four dogs, one taken for a cat; no emu, but one dog is taken for one.
COUNTS = {(0, 0): 6, (0, 1): 2, (1, 0): 1, (1, 1): 2, (1, 2): 1}
MATRIX = ((6, 2, 0), (1, 2, 1), (0, 0, 0))


def a_result(**changes: object) -> ScoreResult:
    facts = {
        "records": 12,
        "accuracy": 8 / 12,
        "predictions_path": "predictions",
        "seconds": 2.0,
        "start_up_seconds": 1.0,
        "records_per_s": 900.0,
        "split": "test",
        "batch_size": 32,
        "forward_records_per_s": 1000.0,
        "classes": class_scores(CLASSES, MATRIX),
        "confusion": MATRIX,
    }
    return ScoreResult(**{**facts, **changes})  # type: ignore[arg-type]


def test_rows_are_labels_and_columns_are_predictions() -> None:
    assert confusion_matrix(3, COUNTS) == MATRIX
    assert confusion_matrix(2, {}) == ((0, 0), (0, 0))


def test_accuracy_is_the_diagonal_over_all() -> None:
    assert accuracy_of(MATRIX) == 8 / 12
    assert accuracy_of(((0, 0), (0, 0))) is None


def test_precision_is_by_column_and_recall_by_row() -> None:
    cat, dog, emu = class_scores(CLASSES, MATRIX)
    assert (cat.name, cat.records, cat.precision, cat.recall) == ("cat", 8, 6 / 7, 6 / 8)
    assert (dog.records, dog.precision, dog.recall) == (4, 2 / 4, 2 / 4)
    # One dog was taken for an emu, and there is no emu.
    assert (emu.records, emu.precision, emu.recall) == (0, 0.0, None)


def test_a_class_that_nothing_was_predicted_to_be_has_no_precision() -> None:
    scores = class_scores(("a", "b"), ((3, 0), (1, 0)))
    assert [(one.precision, one.recall) for one in scores] == [(3 / 4, 1.0), (None, 0.0)]


def test_precision_and_recall_agree_with_counting_records_one_by_one() -> None:
    draw = random.Random(5)
    pairs = [(draw.randrange(7), draw.randrange(7)) for _ in range(500)]
    matrix = confusion_matrix(7, {pair: pairs.count(pair) for pair in set(pairs)})
    for number, score in enumerate(class_scores(tuple("abcdefg"), matrix)):
        of_class = [predicted for label, predicted in pairs if label == number]
        taken_for_it = [label for label, predicted in pairs if predicted == number]
        assert score.recall == of_class.count(number) / len(of_class)
        assert score.precision == taken_for_it.count(number) / len(taken_for_it)


def test_the_worst_class_comes_first_and_one_without_records_not_at_all() -> None:
    assert [one.name for one in worst_classes(class_scores(CLASSES, MATRIX), 5)] == ["dog", "cat"]
    assert [one.name for one in worst_classes(class_scores(CLASSES, MATRIX), 1)] == ["dog"]


def test_mixups_are_ordered_by_how_many_there_are() -> None:
    found = [(one.label, one.predicted, one.records, one.share) for one in mixups(CLASSES, MATRIX, 5)]
    assert found == [("cat", "dog", 2, 2 / 8), ("dog", "cat", 1, 1 / 4), ("dog", "emu", 1, 1 / 4)]
    assert len(mixups(CLASSES, MATRIX, 1)) == 1


def test_a_sentence_names_the_worst_class_and_the_most_frequent_error() -> None:
    expected = "Recognised least: dog (50 % of 4); most frequent error: cat taken for dog (2 of 8)."
    assert quality_sentence(a_result()) == expected


def test_nothing_is_said_of_a_model_that_is_always_right() -> None:
    matrix = ((5, 0), (0, 7))
    assert quality_sentence(a_result(classes=class_scores(("a", "b"), matrix), confusion=matrix)) == ""


def test_the_rate_is_held_against_the_network_alone() -> None:
    expected = "That is 0.90 of the 1,000 images/s that the network alone does with images in memory, in batches of 32."
    assert speed_sentence(a_result()) == expected
    assert speed_sentence(a_result(forward_records_per_s=None)) == ""
