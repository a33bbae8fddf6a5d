"""The audit in words: what is urgent is said to be, and what to do about it."""

import numpy as np

from pipeline.audit import report
from pipeline.audit.duplicates import DuplicatePair
from pipeline.audit.label_errors import LabelIssue
from pipeline.audit.leakage import SeparabilityResult
from pipeline.evaluation.intervals import Interval


def pair(first, second):
    return DuplicatePair(first=first, second=second, view="plain", bits=0, similarity=1.0, exact=False)


def separability(low, estimate, high):
    return SeparabilityResult(
        auc=Interval(estimate, low, high), scores=np.zeros((2, 2)), field_aucs={"width": estimate}
    )


def test_a_picture_with_two_labels_is_more_urgent_than_one_across_folds(dataset_of):
    dataset = dataset_of(np.ones((6, 2)), [0, 0, 1, 1])
    conflict = report.assess_duplicates([pair(0, 2), pair(0, 1), pair(1, 5)], dataset)
    assert (
        conflict.level == report.LEVEL_ACT and "1 two labels" in conflict.said and "1 train and test" in conflict.said
    )
    assert "labels" in conflict.advice
    assert "--grouped" in report.assess_duplicates([pair(0, 1)], dataset).advice
    assert report.assess_duplicates([], dataset).level == report.LEVEL_FINE


def test_a_leak_is_told_with_the_field_that_carries_it_and_chance_is_not():
    assert report.assess_metadata(separability(0.47, 0.5, 0.53)).level == report.LEVEL_FINE
    assert report.assess_metadata(separability(0.51, 0.53, 0.55)).level == report.LEVEL_LOOK
    strong = report.assess_metadata(separability(0.8, 0.85, 0.9))
    assert strong.level == report.LEVEL_ACT and "width, 0.850 alone" in strong.said


def test_suspected_labels_are_counted_with_what_the_count_means():
    suspected = report.assess_labels([LabelIssue(0, 1, 0.1, 0.8)], 10)
    assert (
        suspected.said
        == "1 of 10 labels are suspected: at least twice as many as would be that improbable if all were right"
    )
    assert report.assess_labels([], 10).level == report.LEVEL_FINE
