"""The evaluation with predictors whose behaviour is known: one that looks, one that does not."""

import json
from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
import scipy.stats

from sightweave.answers.metrics import cider_d
from sightweave.core import catalog
from sightweave.core.errors import BackendError, DataError, RecipeError
from sightweave.core.types import Likelihood, Medium, Part, Prediction, Rendered, Sample
from sightweave.data.inputs.image_files import load
from sightweave.data.tasks import captioning, drawing, image_translation, reasoning, translation, vqa
from sightweave.programs.evaluation.program import drawings, evaluate, majority_answers, rescored
from sightweave.programs.evaluation.scores import Evaluation
from sightweave.programs.evaluation.statistics import Estimate, wilson

COLORS = ("red", "blue", "green", "pink")


def answering(say):
    """A predictor that writes what `say` gives for the samples, and finds every text likely by its length."""

    def predict(samples, texts, *, write):
        said = say(samples) if write else [Prediction("", finish="none") for _ in samples]
        return [
            replace(one, likelihoods=tuple(Likelihood(-float(len(text)), 2) for text in judged))
            for one, judged in zip(said, texts, strict=True)
        ]

    return predict


def picture(number: int) -> Medium:
    return Medium(np.full((4, 4, 3), number, np.uint8), f"picture/{number}")


def records(count: int = 40) -> list[Sample]:
    """Two questions and one piece of reasoning on each picture; the colour and the count depend on its number."""
    ask, think = vqa.Config().build(), reasoning.Config().build()
    samples = []
    for n in range(count):
        color, many = COLORS[n % 4], "yes" if (n // 4) % 2 else "no"
        for kind, question, answer, options in (
            ("color", "which color?", color, COLORS),
            ("many", "are there many?", many, ()),
        ):
            samples.append(
                ask.sample(
                    vqa.Record(
                        id=f"{n}/{kind}",
                        images=(picture(n),),
                        question=question,
                        answers=(answer,),
                        options=options,
                        tags={"type": kind},
                    )
                )
            )
        samples.append(
            think.sample(
                reasoning.Record(
                    id=f"{n}/why",
                    images=(picture(n),),
                    question="same?",
                    answers=(many,),
                    tags={"type": "same"},
                )
            )
        )
    return samples


@answering
def looks(samples):
    """Reads the number of the picture from its pixels; without one it always says the same."""
    answers = []
    for sample in samples:
        if not sample.media:
            answers.append("red" if sample.tags["type"] == "color" else "no")
        else:
            n = int(sample.media[0].source[0, 0, 0])
            answers.append(
                COLORS[n % 4] if sample.tags["type"] == "color" else "yes" if (n // 4) % 2 else "no"
            )
    return [
        Prediction(f"steps. Answer: {a}." if s.task == "reasoning" else a, logprob=-0.5, tokens=2)
        for a, s in zip(answers, samples, strict=True)
    ]


@answering
def blind(samples):
    return [Prediction("red" if s.tags["type"] == "color" else "no") for s in samples]


def about(found: Estimate) -> Estimate:
    return Estimate(*(pytest.approx(value, abs=1e-12) for value in (found.value, found.low, found.high)))


def test_a_model_that_looks():
    found = evaluate(records(), looks, split="held out")
    reasons, questions = found.tasks
    assert (found.split, found.count, found.pictures) == ("held out", 120, 40)
    assert (questions.task, questions.count, questions.correct, questions.uses_image) == (
        "vqa",
        80,
        80,
        "yes",
    )
    color, many = questions.types
    assert (color.type, color.count, color.correct, color.unparsed) == ("color", 40, 40, 0)
    assert color.score == about(wilson(40, 40))
    # Without training data there is no majority: the samples' own would have seen what is asked.
    assert (color.chance, color.majority) == (0.25, None)
    assert (many.chance, many.majority, many.majority_answer) == (None, None, "")
    assert (questions.majority, questions.leakage) == (None, None)
    assert (
        "vqa: the majority answer is unknown, because there are no training answers to count." in found.notes
    )
    assert color.controls["no_image"] == about(wilson(10, 40, quantile=scipy.stats.t.ppf(0.975, 39)))
    assert color.gain.value == 0.75
    assert 0.55 < color.gain.low < 0.75 < color.gain.high < 0.95
    assert questions.chance is None
    assert questions.controls["no_image"].value == pytest.approx((0.25 + 0.5) / 2)
    assert questions.controls["shuffled_image"].value == pytest.approx(0.4)
    # By chance another picture gives a little more than none, and the better control is what counts.
    assert (questions.gain.value, questions.gain_over) == (pytest.approx(0.6), "shuffled_image")
    assert questions.gains["no_image"].value == pytest.approx(0.625)
    assert (
        "vqa uses the image: yes - 100.0 % with it, 40.0 % with another image, 37.5 % without it"
        in questions.sentence
    )
    assert reasons.correct == 40


def test_a_model_that_does_not_look_is_told_so():
    found = evaluate(records(), blind)
    reasons, questions = found.tasks
    assert questions.uses_image == "no"
    # Forty pictures without any difference do not show that there never is one.
    assert questions.gain.value == 0.0
    assert -0.1 < questions.gain.low < -0.05
    assert 0.05 < questions.gain.high < 0.1
    assert "use of the image is not shown" in questions.sentence
    assert (reasons.correct, reasons.unparsed) == (0, 40)
    assert all(item.answer.parsed is None for item in found.items if item.task == "reasoning")


def test_the_passes_see_what_they_should():
    seen = {}
    order = []
    samples = records(12)

    def watch(given, texts, *, write):
        seen[order[-1][0]] = given
        return looks(given, texts, write=write)

    evaluate(samples, watch, progress=lambda name, count: order.append((name, count)))
    assert order == [("image", 36), ("no_image", 36), ("shuffled_image", 36)]
    assert seen["image"] == samples
    assert not any(s.media for s in seen["no_image"])
    assert all(a.media[0].key != b.media[0].key for a, b in zip(seen["shuffled_image"], samples, strict=True))


def test_items_hold_every_answer():
    found = evaluate(records(12), looks)
    item = found.items[3]
    assert (item.id, item.group, item.prompt, item.references) == (
        "1/color",
        "picture/1",
        "which color?",
        ("blue",),
    )
    assert (item.answer.text, item.answer.right, item.answer.image) == ("blue", True, "picture/1")
    assert (item.controls["no_image"].text, item.controls["no_image"].image) == ("red", "")
    assert item.controls["no_image"].right is False
    assert item.controls["shuffled_image"].image != "picture/1"
    assert found.items[2].answer.parsed == "no."


def test_it_repeats_and_survives_json():
    found = evaluate(records(12), looks, split="a", seed=4)
    assert found == evaluate(records(12), looks, split="a", seed=4)
    values = json.loads(json.dumps(found.to_json(), allow_nan=False))
    rows = [json.loads(json.dumps(row, allow_nan=False)) for row in found.predictions()]
    assert Evaluation.from_json(values, rows) == found
    assert Evaluation.from_json(values).tasks == found.tasks
    assert "items" not in values


def test_majority_answers_of_training_decide_the_majority_rate():
    samples = records(6)  # colours: red and blue twice, green and pink once
    assert majority_answers(samples)["vqa/color"] == "blue"
    train = [replace(s, references=("pink",)) for s in samples if s.tags["type"] == "color"]
    found = evaluate(samples, looks, train=train)
    color = found.tasks[1].types[0]
    assert (color.majority_answer, color.majority) == ("pink", pytest.approx(1 / 6))
    assert (found.tasks[1].types[1].majority, found.tasks[1].types[1].majority_answer) == (None, "")
    assert found.tasks[1].majority is None
    assert any(note.startswith("vqa: the majority answer of many is unknown") for note in found.notes)
    # The most similar prompt of training was answered with pink too; reasoning was never met.
    assert color.neighbour == pytest.approx(1 / 6)
    assert (found.tasks[0].neighbour, evaluate(samples, looks).tasks[1].neighbour) == (None, None)


def test_few_pictures_prove_nothing():
    task = evaluate(records(4), looks).tasks[1]
    assert task.uses_image == "unknown"
    assert "4 distinct image(s) are too few to tell; 10 are needed" in task.sentence


def test_one_picture_leaves_a_note_in_place_of_the_exchange():
    found = evaluate(records(1), looks)
    assert list(found.tasks[0].controls) == ["no_image"]
    assert "control shuffled_image was skipped" in found.notes[0]


def test_samples_without_a_picture_stay_out_of_the_controls():
    text = Sample(
        id="t", task="vqa", parts=(Part("user", "?"),), references=("no",), group="t", tags={"type": "many"}
    )
    found = evaluate([*records(12), text], looks)
    many = found.tasks[1].types[1]
    assert many.count == 13
    assert many.controls["no_image"].value == pytest.approx(8 / 12)
    assert "1 of 37 samples have no image" in found.notes[0]
    assert found.items[-1].controls == {}
    only = evaluate([text], looks)
    assert only.tasks[0].controls == {}
    assert "unknown - the controls without the image" in only.tasks[0].sentence


def test_mistakes_are_named():
    samples = records(2)
    with pytest.raises(DataError, match="there are no samples"):
        evaluate([], looks)
    with pytest.raises(DataError, match=r"pass 'image': 0 prediction\(s\) for 6 sample\(s\)"):
        evaluate(samples, lambda given, texts, *, write: [])
    with pytest.raises(DataError, match="1 of 7 samples have no reference answer, the first being 'bare'"):
        evaluate([*samples, Sample(id="bare", task="vqa", parts=())], looks)
    with pytest.raises(RecipeError, match=r"no control 'no_imagine'\. Did you mean 'no_image'"):
        evaluate(samples, looks, controls=("no_imagine",))
    with pytest.raises(RecipeError, match=r"has no metric; set one, such as metrics: \[exact_match\]\."):
        evaluate(samples, looks, tasks={"vqa": vqa.Config(metrics=())})
    with pytest.raises(DataError, match="format_version None"):
        Evaluation.from_json({})
    with pytest.raises(DataError, match="evaluation: not a valid evaluation file:"):
        Evaluation.from_json({"format_version": 2, "split": 3})


def translations(count: int = 24, *, ambiguous: bool = True) -> list[Sample]:
    task = translation.Config().build()
    return [
        task.sample(
            translation.Record(
                id=str(n),
                images=(picture(n),),
                source=f"the bat is number {n // 2}",
                targets=(f"der {('schlaeger', 'fledermaus')[n % 2]} ist nummer {n // 2}",),
                source_language="en",
                target_language="de",
                tags={"type": "ambiguous", "contrast": "x"} if ambiguous else {"type": "plain"},
            )
        )
        for n in range(count)
    ]


@answering
def translates(samples):
    return [
        Prediction(s.references[0] if s.media else s.references[0].replace("fledermaus", "schlaeger"))
        for s in samples
    ]


def test_further_metrics_stand_beside_the_score_with_their_signatures():
    names = ("exact_match", "sacre_bleu", "chrf", "ter", "both_images_right")
    found = evaluate(translations(), translates, tasks={"translation": translation.Config(metrics=names)})
    (task,) = found.tasks
    assert list(task.metrics) == list(names)
    assert [task.metrics[name].value for name in names] == pytest.approx([1, 1, 1, 0, 1])
    assert {name for name in names if task.facts[name].signature} == {"sacre_bleu", "chrf", "ter"}
    assert "tok:13a" in task.facts["sacre_bleu"].signature
    assert {name for name in names if task.facts[name].less_is_better} == {"ter"}
    again = Evaluation.from_json(json.loads(json.dumps(found.to_json())), found.predictions())
    assert again == found


def test_a_metric_that_counts_nothing_is_none_and_not_a_zero():
    config = translation.Config(metrics=("exact_match", "both_images_right"))
    found = evaluate(translations(ambiguous=False), translates, tasks={"translation": config})
    assert found.tasks[0].metrics == {"exact_match": about(wilson(24, 24)), "both_images_right": None}
    assert found.tasks[0].types[0].metrics["both_images_right"] is None
    again = Evaluation.from_json(json.loads(json.dumps(found.to_json())), found.predictions())
    assert again == found


@pytest.mark.parametrize(
    ("metrics", "ambiguous", "words"),
    [
        (("ter",), True, "lower is better for ter, so it cannot be the score; list another metric first"),
        (("read_back",), True, "read_back scores drawn images, which baselines and controls do not have"),
        (
            ("both_images_right",),
            False,
            "none of 24 answers of type 'plain' .* can be scored by it; list another",
        ),
    ],
)
def test_what_cannot_be_the_score_says_so(metrics, ambiguous, words):
    with pytest.raises((RecipeError, DataError), match=words):
        evaluate(
            translations(ambiguous=ambiguous),
            translates,
            tasks={"translation": translation.Config(metrics=metrics)},
        )


def signs(count: int, target: str = "Ast") -> list[Sample]:
    """Images with a word, in one box each, and the same images in German."""
    samples = []
    for number in range(count):
        pixels = np.full((60, 120, 3), 10 * number, np.uint8)
        record = image_translation.Record(
            id=f"r{number}",
            images=(Medium(pixels, f"r{number}"),),
            signs=(f"[0 0 500 500 ink=#ffffff] bat => {target}",),
            target_language="de",
            target_image=Medium(255 - pixels, f"r{number}/de"),
        )
        samples.append(image_translation.Config().build().sample(record))
    return samples


def test_the_tasks_writer_draws_the_answers_of_any_predictor():
    samples = signs(4)

    def said(asked):
        half = len(asked) // 2
        return [Prediction(one.target if n < half else "nothing") for n, one in enumerate(asked)]

    metrics = ("region_match", "background_psnr")
    config = image_translation.Config(metrics=metrics, writer={"kind": "rendered", "font": "sightweave"})
    found = evaluate(
        samples,
        answering(said),
        split="test",
        controls=("no_image",),
        tasks={"image_translation": config},
    )
    assert [dict(item.pictures) for item in found.items] == [
        {"rendered": "test/r0#rendered"},
        {"rendered": "test/r1#rendered"},
        {},
        {},
    ]
    assert [item.target_image for item in found.items] == [f"r{n}/de" for n in range(4)]
    assert set(found.drawn) == {"test/r0#rendered", "test/r1#rendered"}

    # The image is drawn when it is loaded, in the place of the words alone.
    source, drawn = samples[1].media[0].source, load(found.drawn["test/r1#rendered"])
    assert (drawn[:30, :60] != source[:30, :60]).any()
    np.testing.assert_array_equal(drawn[30:], source[30:])
    assert found.tasks[0].metrics["background_psnr"].value == 100
    assert found.tasks[0].ceilings == {"background_psnr": pytest.approx(1.04, abs=0.01)}  # they are inverted
    again = Evaluation.from_json(found.to_json(), found.predictions())
    assert again == found
    assert not again.drawn


def test_a_copy_of_the_source_is_scored_beside_the_model():
    samples = [*signs(6), *signs(12, target="bat")[6:], *records(4)]
    metrics = ("region_match", "box_f1", "background_psnr")
    config = image_translation.Config(metrics=metrics)
    seen = []

    def said(asked):
        seen.append(len(asked))
        return [Prediction(one.references[0]) for one in asked]

    found = evaluate(
        samples, answering(said), controls=("copied_source",), tasks={"image_translation": config}
    )
    assert seen == [len(samples)]  # the control asks the model nothing
    by_name = {task.task: task for task in found.tasks}
    task = by_name["image_translation"]
    assert task.score.value == 1
    assert task.controls["copied_source"].value == 0.5  # half of the words are the same in German
    assert task.floors == {"region_match": 0.5, "box_f1": 1.0, "background_psnr": 100.0}
    assert all("copied_source" not in other.controls for name, other in by_name.items() if name != task.task)
    assert not by_name["vqa"].floors
    item = next(item for item in found.items if item.id == "r0")
    assert item.controls["copied_source"].text == "[0 0 500 500 ink=#ffffff] bat"
    assert not item.controls["copied_source"].right


def test_a_reference_image_that_does_not_fit_is_noted():
    samples = [replace(one, target_image=Medium(np.zeros((5, 5, 3), np.uint8), "small")) for one in signs(4)]
    config = image_translation.Config(metrics=("region_match", "background_psnr"))
    found = evaluate(
        samples,
        answering(lambda asked: [Prediction(one.target) for one in asked]),
        controls=(),
        tasks={"image_translation": config},
    )
    assert found.tasks[0].metrics["background_psnr"].value == 100
    assert found.tasks[0].ceilings == {}
    assert any("has 5 x 5 pixels, but its source has 120 x 60" in note for note in found.notes)


def test_drawings_have_keys_for_their_images():
    record = drawing.Record(id="d", images=(), description="a dot", target_image=picture(3))
    sample = drawing.Config().build().sample(record)
    made = PIL.Image.fromarray(np.full((8, 8, 3), 7, np.uint8))

    def said(asked, texts, *, write):
        return [Prediction("", parts=("", made)), Prediction("words alone")][: len(asked)]

    found, images = drawings([sample, replace(sample, id="e")], said, split="test")
    assert [dict(one.pictures) for one in found] == [{"image_tokens": "test/d#image_tokens"}, {}]
    assert found[0].prompt == "Draw: a dot"
    assert found[0].target_image == picture(3).key
    assert (load(images["test/d#image_tokens"]) == 7).all()


def test_drawn_images_are_scored_next_to_the_score():
    """An answer has an image if its writer drew one; without any, the metrics of images are not computed."""
    samples = signs(4)
    config = image_translation.Config(metrics=("region_match", "background_psnr"), writer="text")

    def drawn(asked):
        return [
            Prediction(one.target, drawing=lambda one=one: Rendered(PIL.Image.fromarray(one.media[0].source)))
            for one in asked
        ]

    def written(asked):
        return [Prediction(one.target) for one in asked]

    for say, psnr in ((drawn, 100), (written, None)):
        found = evaluate(samples, answering(say), controls=(), tasks={"image_translation": config})
        score = found.tasks[0].metrics.get("background_psnr")
        assert (score.value if score else None) == psnr
        assert found.tasks[0].score.value == 1
        assert any("answer with a writer that draws" in note for note in found.notes) == (psnr is None)


def test_a_metric_sees_the_whole_task_and_not_one_type_alone():
    """Consistency compares questions of different types: each type's rows are parts of one computation."""
    ask = vqa.Config().build()
    samples = [
        ask.sample(
            vqa.Record(
                id=f"{n}{kind}",
                images=(picture(n),),
                question="?",
                answers=("yes",),
                tags={"type": kind, "entailed": f"{n}b" if kind == "a" else ""},
            )
        )
        for n in range(12)
        for kind in ("a", "b")
    ]
    config = vqa.Config(metrics=("exact_match", "gqa_consistency"))

    @answering
    def answers(asked):
        return [Prediction("no" if s.id in ("0b", "1b", "2b") else "yes") for s in asked]

    found = evaluate(samples, answers, tasks={"vqa": config}, controls=())
    kinds = {kind.type: kind.metrics["gqa_consistency"] for kind in found.tasks[0].types}
    assert kinds["a"].value == pytest.approx(9 / 12)
    assert kinds["b"] is None


def captions(count: int) -> list[Sample]:
    task = captioning.Config().build()
    return [
        task.sample(
            captioning.Record(
                id=str(n),
                images=(picture(n),),
                captions=(f"a {COLORS[n % 4]} ball number {n} lies on the green grass",),
            )
        )
        for n in range(count)
    ]


@answering
def captions_well(samples):
    return [Prediction(captions_of(s) if s.media else "a ball") for s in samples]


def captions_of(sample: Sample) -> str:
    """What the picture shows, whatever the references say."""
    return captions(int(sample.media[0].source[0, 0, 0]) + 1)[-1].references[0]


def test_captions_by_cider_with_perfect_answers_right():
    config = captioning.Config(metrics=("cider_d", "bleu", "rouge_l"))
    found = evaluate(captions(24), captions_well, tasks={"captioning": config})
    (task,) = found.tasks
    assert task.score.value == pytest.approx(10)
    assert task.correct == 24
    assert task.metrics["bleu"].value == pytest.approx(1)
    assert task.controls["no_image"].value < 1
    assert all(not item.controls["no_image"].right for item in found.items)
    assert task.uses_image == "yes"


def test_a_further_metric_that_cannot_be_computed_is_said_and_the_rest_stands():
    config = captioning.Config(metrics=("exact_match", "cider_d"))
    found = evaluate(captions(4), captions_well, tasks={"captioning": config}, controls=())
    assert found.tasks[0].metrics == {"exact_match": about(wilson(4, 4)), "cider_d": None}
    assert any("captioning: cider_d was not computed: " in note for note in found.notes)
    with pytest.raises(DataError, match="cider_d"):
        evaluate(
            captions(4),
            captions_well,
            tasks={"captioning": captioning.Config(metrics=("cider_d",))},
            controls=(),
        )


def test_gains_are_tested_over_all_tasks_and_texts_give_away_what_they_do():
    found = evaluate(records(), looks, train=records())
    reasons, questions = found.tasks
    assert found.uses_image == "yes"
    assert found.sentence == "This model uses the image: yes. It uses it in reasoning and vqa."
    assert 0 < reasons.gain_p <= 0.001
    # Holm: the smaller of two p-values is doubled, and no draw of 10,000 went the other way.
    assert questions.gain_p == pytest.approx(2 * 2 / 10_001)
    # Blind, it says the commonest answer of each type; by chance another picture gives one right answer more.
    assert questions.gain_over == "shuffled_image"
    assert questions.leakage.value == pytest.approx(0.025)
    assert questions.leakage.low < 0 < questions.leakage.high
    assert 0 < questions.detectable < 0.2
    assert evaluate(records(), blind).uses_image == "no"


def test_what_texts_give_away_is_leakage():
    @answering
    def knows(samples):  # the answer without any picture: it stands in the id
        by_id = {sample.id: sample.references[0] for sample in records()}
        return [
            Prediction(f"Answer: {by_id[s.id]}" if s.task == "reasoning" else by_id[s.id]) for s in samples
        ]

    questions = evaluate(records(), knows, train=records()).tasks[1]
    assert questions.leakage.value == pytest.approx(1 - (0.25 + 0.5) / 2)
    assert questions.leakage.low > 0.45
    assert questions.uses_image == "no"


def test_confidence_is_judged_where_it_is_told():
    found = evaluate(records(), looks).tasks[1].calibration
    assert (found.count, found.accuracy) == (80, 1.0)
    assert found.confidence == pytest.approx(np.exp(-0.5))
    assert found.selection.coverage.value == 1
    assert len(found.curve.thresholds) <= 101
    assert evaluate(records(), blind).tasks[1].calibration is None  # it tells none


def test_answers_can_be_scored_again_from_what_is_stored():
    found = evaluate(captions(24), captions_well, controls=())
    metric, rows = rescored(cider_d.Config(), found.items)
    assert metric.total(rows.sum(0)) == pytest.approx(10)


def named(config, *kinds):
    return config(metrics=tuple(catalog.config_class("answers.metrics", kind)() for kind in kinds))


def contrasts(count: int = 24) -> list[Sample]:
    """Sentences with a right translation and a longer, hence less likely one."""
    return [replace(s, tags=s.tags | {"contrast": s.references[0] + " nicht"}) for s in translations(count)]


def test_likelihoods_are_asked_together_with_the_answers_where_they_can_be():
    calls = []

    def watch(given, texts, *, write):
        calls.append((write, len(given), [len(one) for one in texts]))
        return translates(given, texts, write=write)

    config = named(translation.Config, "exact_match", "contrastive", "loss_gap")
    found = evaluate(contrasts(), watch, tasks={"translation": config}, controls=("no_image",))
    (task,) = found.tasks
    assert task.metrics["contrastive"].value == 1.0
    # What was written is judged afterwards, unless it was judged as a candidate; then blind, all in one call.
    # All gaps are 0.0: no interval without bounds can be had of groups that are all alike.
    assert task.metrics["loss_gap"] is None
    assert (task.facts["loss_gap"].unit, task.facts["contrastive"].unit) == ("nats per token", "%")
    assert calls == [(True, 24, [2] * 24), (True, 24, [1] * 24)]


def test_a_metric_of_likelihoods_may_be_the_score_and_then_has_controls():
    config = named(translation.Config, "contrastive")
    (task,) = evaluate(contrasts(), translates, tasks={"translation": config}).tasks
    assert (task.metric, task.score) == ("contrastive", about(wilson(24, 24)))
    assert task.controls["no_image"] == about(wilson(24, 24))
    assert (task.leakage, task.calibration) == (None, None)
    assert task.uses_image == "no"  # it finds the same text likely without the picture


def test_who_cannot_judge_leaves_metrics_of_likelihoods_out():
    config = named(translation.Config, "exact_match", "contrastive")
    found = evaluate(contrasts(), translates, tasks={"translation": config}, can_score=False)
    assert list(found.tasks[0].metrics) == ["exact_match"]
    assert "translation: contrastive was not computed: it needs likelihoods" in found.notes[0]
    with pytest.raises(
        BackendError, match="contrastive needs likelihoods, which this predictor does not provide"
    ):
        evaluate(
            contrasts(),
            translates,
            tasks={"translation": named(translation.Config, "contrastive")},
            can_score=False,
        )
    with pytest.raises(RecipeError, match="loss_gap compares passes, so it cannot be the score"):
        evaluate(contrasts(), translates, tasks={"translation": named(translation.Config, "loss_gap")})


def test_a_metric_that_compares_with_a_pass_that_was_not_asked_is_said():
    config = named(translation.Config, "exact_match", "loss_gap")
    found = evaluate(contrasts(), translates, tasks={"translation": config}, controls=())
    assert found.tasks[0].metrics["loss_gap"] is None
    assert any(
        "loss_gap was not computed: it compares with the control no_image" in note for note in found.notes
    )


def test_a_metric_twice_is_refused():
    with pytest.raises(RecipeError, match="lists a metric twice: exact_match, exact_match"):
        evaluate(
            contrasts(), translates, tasks={"translation": named(translation.Config, *["exact_match"] * 2)}
        )


def test_a_model_that_takes_no_prompt_without_a_picture_loses_that_control_alone():
    def refuses(samples, texts, *, write):
        if not all(sample.media for sample in samples):
            raise DataError("a picture is needed.")
        return looks(samples, texts, write=write)

    found = evaluate(records(), refuses)
    assert list(found.tasks[1].controls) == ["shuffled_image"]
    assert found.tasks[1].correct == 80
    assert "The control no_image was skipped: a picture is needed." in found.notes
    assert found.uses_image == "yes"
