"""Determines which items of the split ``combinations`` test combinations that do not occur in training (unmet pairs).

The scenes of that split contain other things too, and most items are about those, so a score over all items would mostly
measure combinations that occur in training (met pairs). An item tests an unmet pair if its question and answer together
mention one, or if it translates a homonym in a sentence that is never used with this homonym in training.
"""

from __future__ import annotations

import re

from sightweave.data.scenes.items import Item
from sightweave.data.scenes.layout import HELD_OUT
from sightweave.data.scenes.questions import Question
from sightweave.data.scenes.translations import is_held_out
from sightweave.data.scenes.view import PLURALS

MET = "met pairs"
"""The ``subset`` tag given to items of the split ``combinations`` that are not about an unmet pair."""


def _named(shape: str) -> str:
    return f"(?:{shape}|{PLURALS[shape]})"


_PAIRS = re.compile("|".join(rf"\b{color} {_named(shape)}\b" for shape, color in HELD_OUT.items()))


def caption_is_unmet(text: str) -> bool:
    """Whether a caption mentions an unmet pair of colour and shape."""
    return bool(_PAIRS.search(text))


def is_unmet(item: Item) -> bool:
    """Whether a question or translation is about an unmet pair."""
    if not isinstance(item, Question):
        is_new_sentence = bool(item.word) and is_held_out(item.word, item.template)
        return is_new_sentence or bool(_PAIRS.search(f"{item.source} {item.target}"))

    if _PAIRS.search(f"{item.text} {item.steps} {item.answer}"):
        return True

    # The question may name one half of the pair and the answer the other half: "What color is the triangle?" "red".
    for shape, color in HELD_OUT.items():
        asks_color = item.type == "color" and item.answer == color
        asks_name = item.type == "name" and item.answer == shape
        if asks_color and re.search(rf"\b{_named(shape)}\b", item.text):
            return True
        if asks_name and re.search(rf"\b{color}\b", item.text):
            return True
    return False
