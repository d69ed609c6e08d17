"""Articles, endings, word order: checked by hand, form by form."""

# ruff: noqa: RUF001  # Chinese text has Chinese punctuation

import pytest

from sightweave.data.scenes.grammar import (
    TEMPLATES,
    Described,
    adjective_forms,
    noun_phrase,
    number_sentences,
    sentence,
)
from sightweave.data.scenes.lexicon import NOUNS


def said(name, size="", color="", *, striped=False):
    return Described(NOUNS[name], size, striped, color)


@pytest.mark.parametrize(
    ("thing", "article", "case", "expected"),
    [
        (said("circle", "big", "red"), "a", "nominative", "ein großer roter Kreis"),
        (said("circle", "big", "red"), "a", "accusative", "einen großen roten Kreis"),
        (said("circle", "big", "red"), "the", "nominative", "der große rote Kreis"),
        (said("circle", "big", "red"), "the", "accusative", "den großen roten Kreis"),
        (said("square", "small", "purple"), "a", "nominative", "ein kleines violettes Quadrat"),
        (said("square", "small", "purple"), "a", "accusative", "ein kleines violettes Quadrat"),
        (said("square", "small", "purple"), "the", "accusative", "das kleine violette Quadrat"),
        (said("bat_animal", "big"), "a", "nominative", "eine große Fledermaus"),
        (said("bat_animal", "big"), "a", "accusative", "eine große Fledermaus"),
        (said("bat_animal", "big"), "the", "nominative", "die große Fledermaus"),
        (said("letter_a"), "a", "nominative", "ein Buchstabe"),
        (said("letter_a"), "a", "accusative", "einen Buchstaben"),
        (said("star", "", "yellow", striped=True), "a", "accusative", "einen gestreiften gelben Stern"),
        (said("apple"), "two", "accusative", "zwei Äpfel"),
        (said("heart", "", "green"), "two", "nominative", "zwei grüne Herzen"),
    ],
)
def test_german(thing, article, case, expected):
    assert noun_phrase("de", thing, article, case) == expected


@pytest.mark.parametrize(
    ("thing", "article", "expected"),
    [
        (said("star", "big", "blue"), "a", "une grande étoile bleue"),
        (said("star", "", "blue"), "the", "l'étoile bleue"),
        (said("star", "big", "blue"), "the", "la grande étoile bleue"),
        (said("circle", "small", "green", striped=True), "a", "un petit cercle vert rayé"),
        (said("cross", "", "black", striped=True), "the", "la croix noire rayée"),
        (said("clock"), "the", "l'horloge"),
        (said("tree"), "the", "l'arbre"),
        (said("cross", "", "purple"), "two", "deux croix violettes"),
        (said("square", "", "red"), "two", "deux carrés rouges"),
        (said("cake"), "two", "deux gâteaux"),
        (said("heart", "", "yellow"), "a", "un cœur jaune"),
        (said("football_round", "big"), "a", "un grand ballon de foot"),
    ],
)
def test_french(thing, article, expected):
    assert noun_phrase("fr", thing, article) == expected


@pytest.mark.parametrize(
    ("thing", "article", "expected"),
    [
        (said("dog"), "a", "一只狗"),
        (said("dog", "big"), "a", "一只大狗"),
        (said("dog", "big"), "the", "大狗"),
        (said("horse"), "two", "两匹马"),
        (said("star", "small", "red"), "a", "一颗红色小星星"),
        (said("circle", "big", "blue", striped=True), "a", "一个蓝色条纹大圆形"),
        (said("key"), "a", "一把钥匙"),
    ],
)
def test_chinese(thing, article, expected):
    assert noun_phrase("zh", thing, article) == expected


@pytest.mark.parametrize(
    ("thing", "article", "expected"),
    [
        (said("apple"), "a", "an apple"),
        (said("apple", "big"), "a", "a big apple"),
        (said("organ_heart"), "a", "an organ"),
        (said("circle", "big", "red", striped=True), "a", "a big striped red circle"),
        (said("mouse_animal"), "two", "two mice"),
        (said("glasses_eyewear"), "a", "a pair of glasses"),
    ],
)
def test_english(thing, article, expected):
    assert noun_phrase("en", thing, article) == expected


BAT, CLUB, STAR = said("bat_animal", "big"), said("bat_club", "big"), said("star", "big", "blue")


@pytest.mark.parametrize(
    ("template", "things", "language", "expected"),
    [
        ("this", (BAT,), "en", "This is a bat."),
        ("this", (BAT,), "de", "Das ist eine Fledermaus."),
        ("this", (CLUB,), "de", "Das ist ein Schläger."),
        ("this", (BAT,), "fr", "C'est une chauve-souris."),
        ("this", (CLUB,), "zh", "这是一根球棒。"),
        ("there", (CLUB,), "de", "Da ist ein großer Schläger."),
        ("there", (BAT,), "fr", "Il y a une grande chauve-souris."),
        ("see", (CLUB, STAR), "de", "Ich sehe einen Schläger und einen blauen Stern."),
        ("see", (BAT, STAR), "zh", "我看见一只蝙蝠和一颗蓝色星星。"),
        ("and", (BAT, STAR), "en", "The bat and a big blue star."),
        ("and", (BAT, STAR), "de", "Die Fledermaus und ein großer blauer Stern."),
        ("and", (CLUB, STAR), "fr", "La batte et une grande étoile bleue."),
        ("where", (STAR,), "fr", "Où est l'étoile bleue ?"),
        ("where", (BAT,), "zh", "蝙蝠在哪里？"),
        ("here", (CLUB,), "de", "Hier ist der große Schläger."),
        ("here", (BAT,), "zh", "大蝙蝠在这里。"),
        ("size", (BAT,), "de", "Die Fledermaus ist groß."),
        ("size", (BAT,), "fr", "La chauve-souris est grande."),
        ("size", (CLUB,), "zh", "球棒很大。"),
        ("two", (said("star", "", "blue"),), "de", "Da sind zwei blaue Sterne."),
    ],
)
def test_sentences(template, things, language, expected):
    assert sentence(template, language, things) == expected


def test_sides():
    sides = [sentence("side", language, (BAT,), "left") for language in ("en", "de", "fr", "zh")]
    assert sides == [
        "The bat is on the left.",
        "Die Fledermaus ist links.",
        "La chauve-souris est à gauche.",
        "蝙蝠在左边。",
    ]
    assert sentence("side", "fr", (BAT,), "right") == "La chauve-souris est à droite."


def test_chinese_drops_the_number():
    one, two = (number_sentences("number_here", said("dog"), number) for number in (1, 2))
    assert one == ("这里有狗。", "There is a dog.")
    assert two == ("这里有狗。", "There are two dogs.")


def test_every_template_speaks_every_language():
    for template in TEMPLATES.values():
        assert set(template.patterns) == {"en", "de", "fr", "zh"}


def test_adjective_forms():
    assert list(adjective_forms("green")) == [
        "green",
        "grüne",
        "grüner",
        "grünes",
        "grünen",
        "vert",
        "verte",
        "绿色",
    ]
    assert "groß" in adjective_forms("big")
