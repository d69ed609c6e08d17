"""Models whose use of the picture is known by construction each get the sentence that is true."""

import json
from dataclasses import replace

import numpy as np
import pytest

from sightweave.core.types import Medium, Prediction, Sample
from sightweave.data.tasks import vqa
from sightweave.programs.evaluation import verdict
from sightweave.programs.evaluation.program import evaluate
from sightweave.programs.evaluation.scores import Evaluation
from sightweave.programs.evaluation.statistics import Estimate

CONTROLS = ("no_image", "shuffled_image", "blank_image")
COLORS = ("red", "blue", "green", "pink")
GREY = 127


def picture(number: int, copy: int = 0) -> Medium:
    pixels = np.full((4, 4, 3), 10, np.uint8)
    pixels[0, 0] = (number, 0, 0)
    return Medium(pixels, f"picture/{number}/{copy}")


def questions(count: int = 80, *, distinct: int | None = None) -> list[Sample]:
    """One question on each picture, whose number says the colour; with `distinct`, the rest are copies."""
    ask = vqa.Config().build()
    samples = []
    for n in range(count):
        number = n % (distinct or count)
        record = vqa.Record(
            id=str(n),
            images=(picture(number, copy=n),),
            question="which color?",
            answers=(COLORS[number % 4],),
            tags={"type": "color"},
        )
        samples.append(ask.sample(record))
    return samples


def noise(count: int = 90) -> list[Sample]:
    """Pictures of noise, each with the same eight questions, whose answers never change."""
    ask, random = vqa.Config().build(), np.random.default_rng(0)
    samples = []
    for n in range(count):
        image = Medium(random.integers(0, 255, (8, 8, 3), dtype=np.uint8), f"noise/{n}")
        for k in range(8):
            record = vqa.Record(
                id=f"{n}/{k}", images=(image,), question=f"question {k}?", answers=(f"answer {k}",)
            )
            samples.append(ask.sample(record))
    return samples


def predictor(say):
    def predict(samples, texts, *, write):
        return [said if isinstance(said, Prediction) else Prediction(said) for said in map(say, samples)]

    return predict


def number_of(sample: Sample) -> int | None:
    """What a model sees: the number in the picture; None without one, or in a grey one."""
    if not sample.media:
        return None
    source = sample.media[0].source
    pixels = source() if callable(source) else source
    return None if pixels[0, 0, 0] == GREY else int(pixels[0, 0, 0])


@predictor
def perfect(sample):
    number = number_of(sample)
    return "red" if number is None else COLORS[number % 4]


@predictor
def refuses_without(sample):
    """Says a prior with any picture, and that it cannot see where there is none."""
    return "red" if sample.media else "I cannot see a picture"


@predictor
def recites(sample):
    """Answers by the question, whatever the picture; says nothing where there is none."""
    return sample.prompt.split()[-1].replace("?", "").join(("answer ", "")) if sample.media else ""


def test_a_perfect_model_uses_the_image():
    found = evaluate(questions(), perfect, controls=CONTROLS)
    (task,) = found.tasks
    assert (found.uses_image, task.uses_image, task.needs_image) == ("yes", "yes", True)
    assert found.sentence == "This model uses the image: yes (yes in vqa)."
    assert "vqa uses the image: yes - 100.0 % with it" in task.sentence
    assert task.gain.value == pytest.approx(1 - task.controls[task.gain_over].value)
    assert task.controls[task.gain_over].value == max(one.value for one in task.controls.values())
    assert set(task.gains) == set(CONTROLS)
    # Baselines are of training alone: the commonest answer of the scored samples has seen what is asked.
    (task,) = evaluate(questions(), perfect, controls=CONTROLS, train=questions()[:8]).tasks
    assert set(task.gains) == {*CONTROLS, "majority", "neighbour"}
    assert task.uses_image == "yes"


def test_a_model_that_recites_over_noise_does_not():
    """It collapses without a picture, and that alone looked like a use of it."""
    samples = noise()
    found = evaluate(samples, recites, controls=CONTROLS, train=samples)
    (task,) = found.tasks
    assert task.score.value == 1.0
    assert task.controls["no_image"].value == 0.0
    assert task.controls["shuffled_image"].value == 1.0
    assert (found.uses_image, task.uses_image, task.needs_image) == ("no", "no", False)
    assert task.gain.value == 0.0
    assert "no use of the image is shown" in task.sentence
    assert "do not need the image" in task.sentence
    assert "100.0 % by the answer of the nearest training prompt" in task.sentence


def test_text_alone_is_enough_to_see_it_where_only_the_picture_was_taken_away():
    samples = noise()
    found = evaluate(samples, recites, controls=("no_image",), train=samples)
    assert found.uses_image == "no"


def test_a_prior_that_refuses_without_a_picture_does_not():
    found = evaluate(questions(), refuses_without, controls=CONTROLS)
    (task,) = found.tasks
    assert task.uses_image == "no"
    assert task.controls["no_image"].value == 0.0
    assert task.gain.value == 0.0
    assert task.gain_over in ("shuffled_image", "blank_image")


def test_without_another_picture_a_gain_is_not_believed():
    """The same prior where it beats the commonest answer of the test: taking the picture away proves nothing."""
    samples = [replace(one, tags={"type": one.references[0]}) for one in questions()]

    @predictor
    def knows_types(sample):
        return sample.tags["type"] if sample.media else "I cannot see a picture"

    train = [replace(one, references=("other",)) for one in samples]
    (task,) = evaluate(samples, knows_types, controls=("no_image",), train=train).tasks
    assert task.gain.value == 1.0
    assert task.uses_image == "unknown"
    assert "another image (shuffled_image) was not asked" in task.sentence
    (task,) = evaluate(samples, knows_types, controls=("no_image", "shuffled_image"), train=train).tasks
    assert task.uses_image == "no"


def test_copies_of_few_pictures_are_few_pictures():
    found = evaluate(questions(20, distinct=5), perfect, controls=CONTROLS)
    (task,) = found.tasks
    assert (found.pictures, task.pictures, task.uses_image) == (5, 5, "unknown")
    assert "5 distinct picture(s) are too few to tell; 10 are needed" in task.sentence
    assert "20 pictures by name are 5 different ones" in found.notes[0]
    assert len({item.group for item in found.items}) == 5  # so that later comparisons count them alike


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (Prediction("", finish="stop"), "80 of 80 answers are unreadable"),
        (Prediction("and then and then", finish="length"), "80 of 80 are cut at the token limit"),
    ],
)
def test_a_broken_control_proves_nothing(said, why):
    @predictor
    def collapses(sample):
        number = number_of(sample)
        return said if number is None else COLORS[number % 4]

    (task,) = evaluate(questions(), collapses, controls=CONTROLS).tasks
    assert set(task.broken) == {"no_image", "blank_image"}
    assert why in task.broken["no_image"]
    assert (task.gain_over, task.uses_image) == ("shuffled_image", "yes")
    assert f"The control no_image proves nothing: {why}" in task.sentence
    assert "no_image" not in task.gains

    (task,) = evaluate(questions(), collapses, controls=("no_image", "blank_image")).tasks
    assert (task.uses_image, task.gain, task.gain_over) == ("unknown", None, "")


def test_half_unreadable_is_counted_and_said():
    @predictor
    def sometimes_silent(sample):
        number = number_of(sample)
        if number is None:
            return "" if int(sample.id) % 4 == 0 else "red"
        return COLORS[number % 4]

    (task,) = evaluate(questions(), sometimes_silent, controls=CONTROLS).tasks
    assert task.broken == {}
    assert "without it (25.0 % unreadable)" in task.sentence


def test_leakage_is_taken_against_the_best_control():
    @predictor
    def leaky(sample):
        """Knows half of the answers by their id where the picture is exchanged, none where it is missing."""
        number = number_of(sample)
        return "nothing" if number is None else sample.references[0] if int(sample.id) % 2 else "red"

    (task,) = evaluate(questions(), leaky, controls=CONTROLS, train=questions()).tasks
    assert task.gain_over == "shuffled_image"
    assert task.leakage.value == pytest.approx(task.controls["shuffled_image"].value - task.majority)
    assert task.leakage.value > 0


def test_the_verdict_survives_json():
    found = evaluate(questions(), perfect, controls=CONTROLS)
    values = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert Evaluation.from_json(values).tasks == found.tasks
    # An evaluation of an earlier version has none of the new fields.
    for task in values["tasks"]:
        for name in ("gains", "gain_over", "broken", "needs_image"):
            del task[name]
    assert Evaluation.from_json(values).tasks[0].gain == found.tasks[0].gain


def test_prompts_without_a_picture_do_not_make_pictures_more():
    """Five pictures among a hundred prompts of text alone are five pictures."""
    texts = [
        replace(one.without_media(), id=f"text {one.id}", group=f"text {one.id}") for one in questions(100)
    ]
    (task,) = evaluate([*questions(5), *texts], perfect, controls=CONTROLS).tasks
    assert task.uses_image == "unknown"
    assert "5 distinct picture(s) are too few to tell" in task.sentence


def test_a_baseline_is_scored_on_the_samples_that_its_gain_is_of():
    """Training knows one of two types: the most frequent answer is compared, and shown, on that one alone."""
    samples = [
        replace(one, tags={"type": "color"})
        if n % 2
        else replace(one, tags={"type": "new"}, references=("red",))  # there one answer is always right
        for n, one in enumerate(questions())
    ]
    train = [one for one in samples if one.tags["type"] == "color"]
    (task,) = evaluate(samples, perfect, controls=CONTROLS, train=train).tasks
    known = [one for one in samples if one.tags["type"] == "color"]
    share = sum(one.references == ("blue",) for one in known) / len(
        known
    )  # numbers 1, 3, 5 ...: blue or pink
    assert task.gains["majority"].value == pytest.approx(1 - share)
    assert f"{100 * share:.1f} % by always giving the most frequent answer" in task.sentence


def rival(name="shuffled_image", score=0.5, low=0.2, value=0.3):
    return verdict.Rival(name=name, score=score, gain=Estimate(value, low, 0.9))


def judged(*rivals, score=0.8, pictures=100, broken=(), best=1.0):
    return verdict.judge("vqa", score, rivals, dict(broken), pictures=pictures, best=best)


def test_the_words_follow_the_lowest_end_of_all_intervals():
    assert judged(rival(low=0.051)).word == "yes"
    assert judged(rival(low=0.05)).word == "hardly"
    assert "it may be under five points" in judged(rival(low=0.02)).sentence
    assert judged(rival(low=0.0)).word == "no"
    assert judged(rival(low=0.5), rival("no_image", low=0.3), rival("majority", low=-0.1)).word == "no"
    assert judged(rival(low=0.5), rival("neighbour", low=0.01)).word == "hardly"
    assert judged(rival(low=0.5, score=5.0), score=9.0, best=10.0).word == "hardly"  # of a metric up to 10
    assert judged(rival(low=0.6, score=5.0), score=9.0, best=10.0).word == "yes"


def test_what_was_not_asked_is_unknown():
    assert "not asked without the image" in judged().sentence
    assert judged(rival("majority")).word == "unknown"
    assert judged(rival("majority"), broken={"no_image": "9 of 9 answers are unreadable"}).word == "unknown"
    assert judged(rival(), score=None).word == "unknown"
    assert judged(rival(), pictures=9).word == "unknown"


def test_a_task_that_texts_alone_answer_does_not_decide():
    settled = judged(
        rival(score=0.99, low=-0.01, value=0.0), rival("neighbour", score=0.99, low=-0.01, value=0.0)
    )
    assert (settled.word, settled.needs_image) == ("no", False)
    assert verdict.overall([("vqa", "yes", True), ("translation", "no", False)]) == (
        "yes",
        "This model uses the image: yes (yes in vqa; texts alone suffice in translation).",
    )
    assert verdict.overall([("vqa", "yes", True), ("captioning", "no", True)])[0] == "hardly"
    assert verdict.overall([("vqa", "no", False)])[0] == "no"
    assert verdict.overall([("vqa", "unknown", True)])[0] == "unknown"
    assert verdict.overall([])[0] == "unknown"


def test_few_broken_answers_do_not_break_a_control():
    cut, whole = Prediction("a", finish="length"), Prediction("a")
    assert verdict.broken([cut, whole], [True, True]) == ""
    assert verdict.broken([cut, cut, whole], [True, False, True]) == (
        "1 of 3 answers are unreadable and 1 of 3 are cut at the token limit"
    )
    assert verdict.broken([], []) == ""
