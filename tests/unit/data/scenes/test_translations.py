"""Sentences to translate: what is ambiguous, what is held out, and what the picture decides."""

from collections import Counter

import pytest

from sightweave.data.scenes.grammar import TEMPLATES
from sightweave.data.scenes.layout import SPLITS, make_scene
from sightweave.data.scenes.lexicon import HOMONYMS, NOUNS, SENSES
from sightweave.data.scenes.random import Random
from sightweave.data.scenes.translations import ambiguous, is_held_out, number, plain
from sightweave.data.scenes.view import View


def views(split, count, seed=5):
    for index in range(count):
        yield View(make_scene(seed, split, index)), Random(seed, SPLITS.index(split), index, 1)


def test_one_pair_in_six_is_held_out():
    templates = [template for template in TEMPLATES if template != "two"]
    held = [(word, template) for word in HOMONYMS for template in templates if is_held_out(word, template)]
    assert len(held) * 6 == len(HOMONYMS) * len(templates) == 144
    assert {word for word, _ in held} == set(HOMONYMS)
    assert {template for _, template in held} == set(templates)


@pytest.mark.parametrize("split", SPLITS)
def test_held_out_pairs_are_translated_only_in_combinations(split):
    pairs = set()
    for view, random in views(split, 600):
        made = ambiguous(view, random)
        if made is not None:
            assert is_held_out(made.word, made.template) == (split == "combinations")
            pairs.add((made.word, made.template))
    assert len(pairs) >= (18 if split == "combinations" else 90)


def test_an_ambiguous_word_has_two_translations():
    seen = set()
    for view, random in views("train", 600):
        made = ambiguous(view, random)
        if made is None:
            continue
        assert made.target != made.contrast
        assert (made.source_language, made.type) == ("en", "ambiguous")
        right, wrong = (
            NOUNS[name] for name in sorted(SENSES[made.word], key=lambda name: name != made.sense)
        )
        index = {"de": 1, "fr": 2, "zh": 3}[made.target_language]
        forms = [right.german[:2], right.french[:1], (right.chinese,)][index - 1]
        others = [wrong.german[:2], wrong.french[:1], (wrong.chinese,)][index - 1]
        assert any(form.lower() in made.target.lower() for form in forms)
        assert any(form.lower() in made.contrast.lower() for form in others)
        assert any(thing.name == made.sense for thing in view.things)
        assert right.english[0].split(" ")[-1] in made.source
        seen.add((made.word, made.target_language))
    assert len(seen) > 30
    assert ("mouse", "de") not in seen
    assert ("crane", "fr") not in seen
    assert ("doctor", "zh") not in seen


def test_a_plain_sentence_has_no_homonym():
    words = {NOUNS[first].english[0] for first, _ in SENSES.values()}
    directions, templates = Counter(), Counter()
    for view, random in views("train", 600):
        for into_english in (False, True):
            made = plain(view, random, into_english=into_english)
            if made is None:
                continue
            english = made.target if into_english else made.source
            assert not words & set(english.lower().rstrip(".?").split())
            assert (made.target_language == "en") == into_english
            directions[made.source_language, made.target_language] += 1
            templates[made.template] += 1
    assert len(directions) == 6
    assert set(templates) == set(TEMPLATES)


def test_the_definite_article_means_the_only_one():
    for view, random in views("train", 400):
        made = plain(view, random, into_english=False)
        if made is None or made.template not in ("side", "where", "here", "size", "and"):
            continue
        words = made.source.lower().replace("?", "").replace(".", "").split(" and ")[0].split()
        at = words.index("the")
        rest = [word for word in words[at + 1 :]]
        fitting = [
            fact for fact in view.facts
            if fact.english in rest and (not fact.described.color or fact.described.color in rest)
        ]  # fmt: skip
        assert len(fitting) == 1
        if made.template == "side":
            (fact,) = fitting
            thing = view.things[view.facts.index(fact)]
            assert (rest[-1] == "left") == (thing.x <= 40 * 16)
            assert (rest[-1] == "right") == (thing.x >= 56 * 16)
        if made.template == "size":
            assert rest[-1] == fitting[0].described.size


def test_the_number_is_what_the_picture_shows():
    amounts = Counter()
    for view, random in views("train", 1200):
        made = number(view, random)
        if made is None:
            continue
        amount = 2 if " two " in made.target else 1
        names = made.target.removesuffix(".").removesuffix(" in the picture").split(" ")
        color = next((word for word in names if any(word == thing.color for thing in view.things)), "")
        noun = names[-1]
        matching = [
            fact for fact in view.facts
            if noun in fact.noun.english and color in ("", fact.described.color)
        ]  # fmt: skip
        assert len(matching) == amount
        assert made.source_language == "zh"
        assert not set(made.source) & set("一两只个")
        amounts[amount] += 1
    assert abs(amounts[1] / amounts.total() - 0.5) < 0.12
