"""What can be guessed without a picture."""

from __future__ import annotations

import math

import pytest

from sightweave.programs.doctor.labels import Labels


def test_counts_entropy_and_the_commonest() -> None:
    labels = Labels()
    for index, answer in enumerate(["yes", "Yes ", "no", "2"]):
        labels.add("Is it?", answer, f"g{index}")
    report = labels.report()[""]
    assert (report.count, report.distinct, report.top_share) == (4, 3, 0.5)
    assert report.entropy == pytest.approx(1.5)
    assert report.commonest == (("yes", 2), ("2", 1), ("no", 1))
    assert not report.is_capped


def test_text_alone_answers_what_the_question_gives_away() -> None:
    """By the whole question, by its first three words, and by the majority where neither was seen."""
    labels = Labels()
    for group in range(200):
        labels.add("what color is grass", "green", f"g{group}")
        labels.add(f"is there a thing {group}", "no", f"g{group}")
        labels.add(f"q{group} x y", "green", f"g{group}")
    report = labels.report()[""]
    assert report.majority == pytest.approx(2 / 3)
    assert report.text_only == 1.0


def test_a_question_teaches_nothing_about_its_own_picture() -> None:
    """Each picture's question is its own; a guess that learnt from the row itself would be always right."""
    labels = Labels()
    for group in range(300):
        for _ in range(2):
            labels.add(f"only {group} here", f"answer {group}", f"g{group}")
    report = labels.report()[""]
    assert report.text_only == report.majority == 0.0
    assert report.distinct == 300


def test_types_have_numbers_of_their_own() -> None:
    labels = Labels(max_types=1)
    for group in range(50):
        labels.add("is it", "yes", f"g{group}", type="exist")
        labels.add("what", f"{group}", f"g{group}", type="name")
    report = labels.report()
    assert set(report) == {"", "exist"}
    assert report["exist"].majority == 1.0
    assert report["exist"].entropy == 0.0
    assert report[""].count == 100


def test_tables_are_bounded_and_say_so() -> None:
    labels = Labels(max_answers=10, max_questions=20)
    for index in range(1000):
        labels.add(f"question {index} " + "long " * 500, f"answer {index}", f"g{index}")
    report = labels.report()[""]
    assert report.is_capped
    assert (report.count, report.distinct) == (1000, 10)
    assert 0 <= report.text_only <= 1
    assert report.top_share == 0.001


def test_nothing_added_and_one_half_only() -> None:
    labels = Labels()
    assert labels.report() == {}
    labels.add("q", "a", "g")
    assert math.isnan(labels.report()[""].majority)
    assert math.isnan(labels.report()[""].text_only)
