"""POPE: how answers are read by each parser, and the totals."""

import numpy as np
import pytest

from sightweave.answers.metrics import pope
from sightweave.core.errors import DataError
from sightweave.core.types import Sample


def sample(*references: str) -> Sample:
    return Sample(id="p3", task="vqa", parts=(), references=references)


@pytest.mark.parametrize(
    ("answer", "official", "exact"),
    [
        ("Yes", "yes", "yes"),
        (" no\n", "yes", "no"),  # the authors' words are parted by spaces alone
        ("No.", "no", "no."),
        ("NO", "yes", "no"),
        ("There is no dog.", "no", "there is no dog."),
        ("There is a dog. It is not red.", "yes", "there is a dog. it is not red."),
        ("not, really", "no", "not, really"),
        ("nothing", "yes", "nothing"),
        ("", "yes", ""),
    ],
)
def test_each_parser_reads_in_its_own_way(answer, official, exact):
    assert pope.Config().build().read(answer) == official
    assert pope.Config(parser="exact").build().read(answer) == exact


def test_totals_by_hand():
    metric = pope.Pope()
    #          right yes, right yes, wrong yes, right no, right no, right no, wrong no, unread
    answers = ["yes", "Yes.", "yes", "no", "No", "not there", "no", None]
    truths = ["yes", "yes", "no", "no", "no", "No", "Yes", "no"]
    rows = metric.rows(answers, [sample(truth) for truth in truths])
    assert rows.sum(0).tolist() == [2, 1, 3, 1, 8]
    found = metric.totals(rows.sum(0))
    assert {name: float(value) for name, value in found.items()} == pytest.approx(
        {"accuracy": 5 / 8, "precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "yes_ratio": 3 / 8}
    )
    assert metric.total(rows).tolist() == [1, 1, 0, 1, 1, 1, 0, 0]
    assert metric.total(rows.sum(0)) == 5 / 8


def test_an_exact_reader_counts_a_full_stop_as_neither():
    metric = pope.Pope(parser="exact")
    assert metric.rows(["Yes.", "yes"], [sample("yes"), sample("yes")]).sum(0).tolist() == [1, 0, 0, 0, 2]


def test_what_cannot_be_divided_is_not_a_number():
    never = pope.Pope().totals(np.array([0.0, 0, 3, 0, 3]))
    assert never["accuracy"] == 1
    assert never["yes_ratio"] == 0
    assert np.isnan([never["precision"], never["recall"], never["f1"]]).all()
    assert np.isnan(pope.Pope().total(np.zeros((2, 5)))).all()


@pytest.mark.parametrize("references", [("maybe",), ("yes", "no")])
def test_other_references_and_parsers_are_refused(references):
    with pytest.raises(DataError, match="reference of sample 'p3' must be yes or no"):
        pope.Pope().rows(["yes"], [sample(*references)])
    with pytest.raises(ValueError, match=r"parser must be official, exact or stated \(got 'loose'\)"):
        pope.Pope(parser="loose")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("Yes", "yes"),
        ("No.", "no"),
        ("Yes, there is no doubt.", "yes"),
        ("**No**, there is not.", "no"),
        (r"\boxed{\text{Yes}}", "yes"),
        ("<answer>no</answer>", "no"),
        ("I looked for it: no cup at all? There is one. The answer is yes.", "yes"),
        ("The answer is no", "no"),
        ("I see that there is no dog", "no"),
        ("There is a dog with no tail", None),
        ("There is no doubt", None),
        ("\uff39\uff45\uff53", "yes"),
        ("\u662f\u7684\u3002", "yes"),
        ("\u4e0d\u662f", "no"),
        ("\u6ca1\u6709\u3002", "no"),
        ("\u7b54\u6848\u662f\u5426", "no"),
        ("\u306f\u3044", "yes"),
        ("\u3044\u3044\u3048\u3001\u3042\u308a\u307e\u305b\u3093", "no"),
        ("Ja.", "yes"),
        ("Die Antwort ist nein.", "no"),
        ("Oui", "yes"),
        ("La r\u00e9ponse est non.", "no"),
        ("a cup", None),
        ("I cannot see it.", None),
        ("yes or no", "yes"),
        ("It may be a yes, it may be a no.", None),
        ("", None),
        ("Nobody knows", None),
    ],
)
def test_stated_answers_are_read_and_others_are_not(answer, said):
    metric = pope.Config(parser="stated").build()
    found = metric.read(answer)
    assert (found if found in ("yes", "no") else None) == said
    asked = Sample(id="x", task="vqa", parts=(), references=("yes",))
    assert metric.reads(answer, asked) is (said is not None)
    assert metric.rows([answer], [asked])[0, :4].sum() == (said is not None)
