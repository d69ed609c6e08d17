"""Makes the questions that a drawing must answer like its description: its things, colours, sizes, number and order.

All of them follow from the caption alone, which names every thing with its attributes from left to right. A thing's exact
place is not in the caption, so no question asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator

from sightweave.core.types import Check
from sightweave.data.scenes.lexicon import COLORS
from sightweave.data.scenes.questions import SIZE_WORDS, YES_NO, pick
from sightweave.data.scenes.random import Random
from sightweave.data.scenes.view import View


def checks(view: View, random: Random) -> tuple[Check, ...]:
    """The questions about a scene, in the words of the datasets' own questions."""
    found = [*_presence(view, random), *_count(view)]
    for number in range(len(view.things)):
        found += _attributes(view, number, random)
    return (*found, *_ends(view))


def _presence(view: View, random: Random) -> Iterator[Check]:
    """Whether each thing is there, and as often whether another one is."""
    for fact in view.facts:
        yield Check("presence", "vqa", f"Is there {fact.short.a}?", YES_NO[0])
        absent = view.absent(fact.short, random)
        if absent is not None:
            yield Check("presence", "vqa", f"Is there {absent.a}?", YES_NO[1])


def _count(view: View) -> Iterator[Check]:
    """How many things of each kind there are."""
    for said in dict.fromkeys(fact.short for fact in view.facts):
        yield Check("count", "reasoning", f"How many {said.plural} are there?", str(len(view.fitting(said))))


def _attributes(view: View, number: int, random: Random) -> Iterator[Check]:
    """The name, colour and size of a thing that the other attributes identify."""
    thing, fact = view.things[number], view.facts[number]
    unique = view.unique_phrases(number)

    names = [said for said in unique if said.level == "thing" and said.text != "thing"]
    if names:
        yield Check("thing", "vqa", f"What is the {pick(random, names).text}?", fact.english)
    colors = [said for said in unique if not said.color]
    if thing.color in COLORS and colors:
        yield Check("color", "vqa", f"What color is the {pick(random, colors).text}?", thing.color)
    sizes = [said for said in unique if not said.size and said.text != "thing"]
    if thing.size in SIZE_WORDS and sizes:
        yield Check("size", "vqa", f"Is the {pick(random, sizes).text} big or small?", thing.size)


def _ends(view: View) -> Iterator[Check]:
    """What is leftmost and rightmost, if there are several things."""
    if len(view.things) > 1:
        yield Check("side", "vqa", "What is the leftmost thing?", view.facts[0].english)
        yield Check("side", "vqa", "What is the rightmost thing?", view.facts[-1].english)
