"""Every rotation of the options is a question of its own, and only all of them together count."""

import numpy as np

from sightweave.core import catalog
from sightweave.core.types import Medium, Prediction, Sample
from sightweave.data.tasks import reasoning, vqa
from sightweave.programs.evaluation.circular import expand
from sightweave.programs.evaluation.program import evaluate

OPTIONS = ("red", "green", "blue")


def questions(count: int = 12, **fields) -> list[Sample]:
    task = vqa.Config(list_options=True, **fields).build()
    return [
        task.sample(
            vqa.Record(
                id=f"q{n}",
                images=(Medium(np.full((2, 2, 3), n, np.uint8), f"p{n}"),),
                question="Which colour?",
                answers=(OPTIONS[n % 3],),
                options=OPTIONS,
            )
        )
        for n in range(count)
    ]


def test_each_rotation_is_a_sample():
    (first, second, third) = expand(questions(1))
    assert [s.id for s in (first, second, third)] == ["q0", "q0#1", "q0#2"]
    assert {s.tags["circle"] for s in (first, second, third)} == {"q0"}
    assert second.prompt == "Which colour?\nA. green\nB. blue\nC. red"
    assert [s.references for s in (first, second, third)] == [("red", "A"), ("red", "C"), ("red", "B")]
    assert first.group == third.group


def test_what_lists_nothing_stays_as_it_is():
    plain = vqa.Config().build().sample(vqa.Record(id="a", images=(), question="?", answers=("no",)))
    assert expand([plain]) == [plain]


def test_a_letter_moves_with_its_option():
    (first, second, _) = expand(questions(1, answer_with="letter"))
    assert (first.target, second.target) == ("A", "C")
    steps = reasoning.Config(list_options=True, answer_with="letter").build()
    record = reasoning.Record(
        id="r", images=(), question="?", answers=("green",), rationale="So.", options=OPTIONS
    )
    assert steps.sample(record).target == "So. Answer: B"


def test_options_that_are_letters_are_answered_by_their_texts():
    task = vqa.Config(list_options=True, answer_with="letter").build()
    record = vqa.Record(id="l", images=(), question="?", answers=("B",), options=("B", "A"))
    sample = task.sample(record)
    assert (sample.target, sample.references) == ("B", ("B",))


def test_who_always_says_the_first_letter_gets_a_third_of_the_answers_and_no_circle():
    def first(samples, texts, *, write):
        return [Prediction("A") for _ in samples]

    def right(samples, texts, *, write):
        return [Prediction(sample.references[0]) for sample in samples]

    config = vqa.Config(
        metrics=tuple(
            catalog.config_class("answers.metrics", kind)() for kind in ("multiple_choice", "circular_choice")
        )
    )
    samples = expand(questions())
    for say, alone, all_of_them in ((first, 1 / 3, 0.0), (right, 1.0, 1.0)):
        (task,) = evaluate(samples, say, controls=(), tasks={"vqa": config}).tasks
        assert abs(task.score.value - alone) < 1e-9
        assert task.metrics["circular_choice"].value == all_of_them
