"""Models whose use of the picture is known by construction each get the sentence that is true."""

import json
from dataclasses import replace

import numpy as np
import pytest

from sightweave.core.types import Medium, Prediction, Sample
from sightweave.data.tasks import translation, vqa
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
    assert found.sentence == "This model uses the image: yes. It uses it in vqa."
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
    assert "vqa uses the image: not needed" in task.sentence
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
    assert "5 distinct image(s) are too few to tell; 10 are needed" in task.sentence
    assert "20 images include duplicates (5 distinct)" in found.notes[0]
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
    assert f"The control no_image is inconclusive: {why}" in task.sentence
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
    assert "5 distinct image(s) are too few to tell" in task.sentence


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


def test_a_gain_that_is_likely_but_not_sure_asks_for_more_pictures():
    more = "More test images would narrow it."
    assert more in judged(rival(low=-0.03, value=0.37)).sentence
    assert more not in judged(rival(low=-0.03, value=0.02)).sentence
    assert more not in judged(rival(low=0.03, value=0.37)).sentence


def test_the_words_follow_the_lowest_end_of_all_intervals():
    assert judged(rival(low=0.051)).word == "yes"
    assert judged(rival(low=0.05)).word == "hardly"
    assert "There is a gain, but it may be less than five points." in judged(rival(low=0.02)).sentence
    assert judged(rival(low=0.0)).word == "no"
    assert judged(rival(low=0.5), rival("no_image", low=0.3), rival("majority", low=-0.1)).word == "no"
    assert judged(rival(low=0.5), rival("neighbour", low=0.01)).word == "hardly"
    assert judged(rival(low=0.5, score=5.0), score=9.0, best=10.0).word == "hardly"  # of a metric up to 10
    assert judged(rival(low=0.6, score=5.0), score=9.0, best=10.0).word == "yes"


def test_what_was_not_asked_is_unknown():
    assert "the controls without the image and with another image were" in judged().sentence
    assert judged(rival("majority")).word == "unknown"
    assert judged(rival("majority"), broken={"no_image": "9 of 9 answers are unreadable"}).word == "unknown"
    assert judged(rival(), score=None).word == "unknown"
    assert judged(rival(), pictures=9).word == "unknown"


def test_a_task_that_texts_alone_answer_does_not_decide():
    settled = judged(
        rival(score=0.99, low=-0.01, value=0.0), rival("neighbour", score=0.99, low=-0.01, value=0.0)
    )
    assert (settled.word, settled.needs_image) == ("no", False)


def translations(count: int = 120, *, ambiguous: float = 0.0) -> list[Sample]:
    """Sentences whose words say everything, but for a share in which the picture decides between two translations."""
    translate = translation.Config().build()
    samples = []
    for n in range(count):
        is_open = n < ambiguous * count
        source = f"the bow of {n // 2}" if is_open else f"sentence {n}"
        target = f"meaning {n % 2} of {n // 2}" if is_open else f"phrase {n}"
        record = translation.Record(
            id=f"t{n}",
            images=(picture(n),),
            source=source,
            targets=(target,),
            source_language="en",
            target_language="de",
        )
        samples.append(translate.sample(record))
    return samples


def reads(sample: Sample) -> str:
    """A translation by the words alone, which errs in one sentence of four."""
    word = sample.prompt.split()[-1].rstrip(".")
    if "bow" in sample.prompt:
        return f"meaning 0 of {word}"
    return f"phrase {word}" if int(word) % 4 else "no idea"


@predictor
def looks_and_reads(sample):
    """Needs its pictures for questions, and translates by the words alone."""
    if sample.task == "translation":
        return reads(sample)
    number = number_of(sample)
    return "red" if number is None else COLORS[number % 4]


def test_translations_whose_words_say_all_do_not_decide():
    """Text alone reaches what it reaches, far from perfect, and no sentence has two translations."""
    asked_all = [*questions(), *translations()]
    found = evaluate(asked_all, looks_and_reads, controls=CONTROLS, train=translations())
    words, asked = found.tasks
    assert (words.task, words.uses_image, words.needs_image) == ("translation", "no", False)
    assert words.score.value == pytest.approx(0.75)
    assert words.sentence.startswith("translation uses the image: not needed - 75.0 % with it")
    assert asked.uses_image == "yes"
    assert found.uses_image == "yes"
    assert found.sentence == (
        "This model uses the image: yes. It uses it in vqa; it does not need it in translation, where the text alone does "
        "as well."
    )


def test_translations_that_the_picture_decides_do():
    """The same model on sentences with two meanings each: half of them are wrong, and only the picture tells which."""
    found = evaluate([*questions(), *translations(ambiguous=1.0)], looks_and_reads, controls=CONTROLS)
    words, _ = found.tasks
    assert (words.uses_image, words.needs_image) == ("no", True)
    assert found.uses_image == "partly"
    assert "It uses it in vqa; it shows no use of it in translation." in found.sentence


def test_a_model_that_ignores_its_pictures_is_not_excused_by_its_own_score():
    """Text alone reaches what it reaches here too, but the same words ask for different answers."""

    @predictor
    def blind(sample):
        return "red"

    samples = questions()
    (task,) = evaluate(samples, blind, controls=CONTROLS, train=samples).tasks
    assert (task.uses_image, task.needs_image) == ("no", True)
    # Nor where no two questions are the same: a prior is no reading of the words.
    ask = vqa.Config().build()
    unique = [
        ask.sample(
            vqa.Record(
                id=str(n), images=(picture(n),), question=f"is {n} here?", answers=("no" if n % 3 else "yes",)
            )
        )
        for n in range(120)
    ]

    @predictor
    def denies(sample):
        return "no"

    found = evaluate(unique, denies, controls=CONTROLS, train=unique[:60])
    (task,) = found.tasks
    assert verdict.left_open(unique) == 0
    assert (found.uses_image, task.uses_image, task.needs_image) == ("no", "no", True)


def test_what_words_leave_open_is_what_pictures_decide():
    assert verdict.left_open(questions()) == pytest.approx(0.75)  # four colours, one of them always said
    assert verdict.left_open(questions(4, distinct=1)) == 0
    assert verdict.left_open(translations()) == 0
    assert verdict.left_open(translations(ambiguous=1.0)) == pytest.approx(0.5)
    assert verdict.left_open([]) == 0
    # Two descriptions of one picture leave nothing open.
    one, other, *_ = questions()
    twice = [one, replace(other, group=one.group)]
    assert verdict.left_open(twice) == 0
    # With other options it is another question.
    choices = [replace(sample, options=(sample.references[0], "grey")) for sample in questions(8)]
    assert verdict.left_open(choices) == 0


def test_text_that_is_as_good_excuses_only_where_it_is_known_to_say_everything():
    def same(**more):
        rivals = [
            rival("shuffled_image", score=0.7, low=-0.05, value=0.0),
            rival("no_image", score=0.7, low=-0.05, value=0.0),
        ]
        given = {"prior": 0.1, "open_share": 0.02, "score": 0.7, **more}
        score = given.pop("score")
        return verdict.judge("t", score, rivals, {}, pictures=100, **given)

    assert not same().needs_image
    assert "uses the image: not needed - 70.0 % with it" in same().sentence
    assert "Text alone reaches 70.0 %" in same().sentence
    assert same(open_share=0.06).needs_image
    assert same(prior=0.36).needs_image
    assert same(score=0.76).needs_image
    # A prior that any picture brings out, and a model that is wrong either way.
    only_other = [rival("shuffled_image", score=0.7, low=-0.05), rival("no_image", score=0.2, low=0.3)]
    assert verdict.judge("t", 0.7, only_other, {}, pictures=100, prior=0.1, open_share=0.0).needs_image
    nothing = [rival("shuffled_image", score=0.0, low=0.0), rival("no_image", score=0.0, low=0.0)]
    assert verdict.judge("t", 0.0, nothing, {}, pictures=100, prior=0.0, open_share=0.0).needs_image


def test_the_headline_follows_from_tasks_that_need_the_image():
    def word(*tasks):
        return verdict.overall([(f"task{n}", *one) for n, one in enumerate(tasks)])[0]

    yes, hardly, no, unknown = ((one, True) for one in ("yes", "hardly", "no", "unknown"))
    spoken = ("no", False)
    assert word(yes, yes, spoken) == "yes"
    assert word(yes, hardly) == "yes"
    assert word(yes, unknown) == "yes"
    assert word(yes, no) == word(yes, hardly, no) == "partly"
    assert word(hardly, no) == word(hardly, spoken) == "hardly"
    assert word(no, spoken) == word(no, unknown) == "no"
    assert word(unknown, spoken) == "unknown"  # what needs the image is not known
    assert word(spoken, spoken) == "no"
    assert word() == "unknown"
    said = verdict.overall([("a", *yes), ("b", *hardly), ("c", *no), ("d", *spoken), ("e", *unknown)])[1]
    assert said == (
        "This model uses the image: partly. It uses it in a; it gains from it in b, perhaps by less than five points; it "
        "shows no use of it in c; it does not need it in d, where the text alone does as well; nothing can be said about e."
    )
    assert "in a, b and c." in verdict.overall([(name, *yes) for name in "abc"])[1]


def test_few_broken_answers_do_not_break_a_control():
    cut, whole = Prediction("a", finish="length"), Prediction("a")
    assert verdict.broken([cut, whole], [True, True]) == ""
    assert verdict.broken([cut, cut, whole], [True, False, True]) == (
        "1 of 3 answers are unreadable and 1 of 3 are cut at the token limit"
    )
    assert verdict.broken([], []) == ""
