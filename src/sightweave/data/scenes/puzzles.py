"""Makes reasoning questions, which are answered in steps: counting, comparing, relations, sameness and neighbours.

The steps are short and always have the same form, so that a model of a million parameters can learn them: the matching
things, numbered from left to right, or the things along an axis up to the decisive one. The steps thus end with the
conclusion; if it had to be inferred from a complete list, the model would learn the list but not the conclusion. As in
``questions.py``, the answer is drawn before the question.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, combinations

from sightweave.data.scenes.questions import YES_NO, Question, pick
from sightweave.data.scenes.random import Random
from sightweave.data.scenes.view import CLEAR_Y, Phrase, View

COUNTS = ("0", "1", "2", "3", "4")
RELATIONS = {"left": "to the left of", "right": "to the right of", "above": "above", "below": "below"}
_COUNT_WEIGHTS = {1: 2, 2: 3, 3: 5, 4: 6}
_NREL_WEIGHTS = (3, 3, 4, 6)
_KEPT_PERCENT = {"color": ((95, 100), (36, 100)), "shape": ((84, 100), (100, 66))}
"""Percentages of scenes that get a question about sameness, for scenes in which (no, all) pairs of things are the same:
first for the ordinary splits, then for ``combinations``. The values were tuned so that "yes" and "no" are equally frequent.
Scenes with both kinds of pairs are always used."""


def count(view: View, random: Random) -> Question | None:
    """Asks for the number of things of a kind: "How many red shapes are there?"."""
    # Group phrases by the number of things that they describe.
    by_number: dict[int, list[Phrase]] = {}
    for phrase, mask in view.masks.items():
        if phrase.text != "thing":
            by_number.setdefault(mask.bit_count(), []).append(phrase)

    # Two of nine questions have the answer 0.
    if random.below(9) < 2:
        present = random.choice(list(chain.from_iterable(by_number.values())))
        asked = view.absent(present, random)
        if asked is None:
            return None
    else:
        numbers = sorted(by_number)
        number = random.weighted(numbers, [_COUNT_WEIGHTS[n] for n in numbers])
        asked = random.choice(by_number[number])

    text, matches = f"How many {asked.plural} are there?", view.fitting(asked)
    return Question("count", "count", text, str(len(matches)), COUNTS, f"{_numbered(view, matches)}.")


def _numbered(view: View, things: Sequence[int]) -> str:
    """A list of things, numbered from 1, so that the last number is the count; ``none`` if there are no things."""
    return ", ".join(f"{place} {view.short[number]}" for place, number in enumerate(things, 1)) or "none"


def cmp(view: View, random: Random) -> Question | None:
    """Asks to compare two numbers of things: "Are there more dogs than red circles?"."""
    present = [phrase for phrase in view.masks if not _is_any_thing(phrase)]
    for _ in range(4):
        first = random.choice(present)
        second = view.absent(first, random) if random.below(4) == 0 else random.choice(present)
        if second is None:
            continue

        # Skip overlapping groups, since a subset would reveal the answer, and groups of equal size.
        first_mask, second_mask = view.masks[first], view.masks.get(second, 0)
        if first_mask & second_mask or first_mask.bit_count() == second_mask.bit_count():
            continue

        is_more = random.below(2)
        if first_mask.bit_count() > second_mask.bit_count():
            more, less = first, second
        else:
            more, less = second, first
        a, b = (more, less) if is_more else (less, more)

        text = f"Are there more {a.plural} than {b.plural}?"
        things_a, things_b = view.fitting(a), view.fitting(b)
        listing = f"{_numbered(view, things_a)}; {_numbered(view, things_b)}"
        steps = f"{listing}; {len(things_a)} and {len(things_b)}."
        return Question("cmp", "cmp", text, YES_NO[1 - is_more], YES_NO, steps)
    return None


def _is_any_thing(phrase: Phrase) -> bool:
    """Whether a phrase is ``thing`` without any attribute."""
    return phrase.level == "thing" and not (phrase.size or phrase.color or phrase.striped)


def _in_order(view: View, order: Sequence[int], *, down: bool, counted: Sequence[int] = ()) -> str:
    """Reasoning steps for questions about positions: things in order along an axis, those in `counted` with a number."""
    names = []
    for thing in order:
        name = view.short[thing]
        names.append(f"{counted.index(thing) + 1} {name}" if thing in counted else name)
    return f"{'top to bottom' if down else 'left to right'}: {', '.join(names)}"


def rel(view: View, random: Random) -> Question | None:
    """Asks about the relation of two things: "Is the dog to the left of the red circle?"."""
    if len(view.unique) < 2:
        return None

    # Choose two things and a relation; above and below only if the vertical order is clear.
    relation = random.choice(tuple(RELATIONS))
    first, second = random.shuffled(view.unique)[:2]
    down = relation in ("above", "below")
    if down and not (view.rows_are_clear() and _is_clear(view, first, second)):
        relation, down = random.choice(("left", "right")), False
    order = view.rows if down else list(range(len(view.things)))
    earlier, later = (first, second) if order.index(first) < order.index(second) else (second, first)

    # Draw the answer first, and choose the subject of the question to match.
    is_so = random.below(2)
    is_first = (relation in ("left", "above")) == bool(is_so)
    subject, other = (earlier, later) if is_first else (later, earlier)
    text = f"Is the {view.short[subject]} {RELATIONS[relation]} the {view.short[other]}?"

    # The list ends with the first of the two things, which is enough to answer.
    places = ("above", "below") if down else ("to the left", "to the right")
    truth = places[0] if is_first else places[1]
    listed = order[: order.index(earlier) + 1]
    steps = f"{_in_order(view, listed, down=down)}; {view.short[subject]} {truth}."
    return Question("rel", f"rel_{relation}", text, YES_NO[1 - is_so], YES_NO, steps)


def _is_clear(view: View, first: int, second: int) -> bool:
    """Whether two things differ enough in y for one of them to be clearly above the other."""
    return abs(view.things[first].y - view.things[second].y) >= CLEAR_Y


def same(view: View, random: Random) -> Question | None:
    """Asks whether two things share an attribute: "Are the dog and the star the same size?"."""
    for asked in random.drawn(("size", "color", "shape")):
        made = _same(view, random, asked)
        if made is not None:
            return made
    return None


def _same(view: View, random: Random, asked: str) -> Question | None:
    # For each thing that can be described without mentioning the attribute, choose a name and note the attribute's value.
    names: dict[int, str] = {}
    values: dict[int, str] = {}
    for number, thing in enumerate(view.things):
        if asked != "size" and not thing.is_shape:
            continue
        phrases = [phrase for phrase in view.unique_phrases(number) if _keeps_secret(phrase, asked)]
        if phrases:
            names[number] = pick(random, phrases).text
            values[number] = {"size": thing.size, "color": thing.color, "shape": thing.name}[asked]

    alike: list[tuple[int, int]] = []
    unlike: list[tuple[int, int]] = []
    for a, b in combinations(names, 2):
        (alike if values[a] == values[b] else unlike).append((a, b))

    # Draw the answer first if both answers are possible. Otherwise, skip some scenes to balance the answers.
    if alike and unlike:
        chosen = (unlike, alike)[random.below(2)]
    elif asked == "size":
        # Two things have the same size half of the time. Of more things, those with a name may have it too often.
        chosen = (alike or unlike) if len(view.things) == 2 else []
    else:
        percent = _KEPT_PERCENT[asked][view.allows_held_out][bool(alike)]
        chosen = (alike or unlike) if random.chance(percent) else []
    if not chosen:
        return None

    first, second = random.choice(chosen)
    text = f"Are the {names[first]} and the {names[second]} the same {asked}?"
    steps = f"{values[first]} and {values[second]}."
    return Question("same", f"same_{asked}", text, "yes" if chosen is alike else "no", YES_NO, steps)


def _keeps_secret(phrase: Phrase, asked: str) -> bool:
    """Whether a phrase describes a thing without revealing the attribute that the question asks about."""
    if asked == "size":
        return not phrase.size and phrase.level == "noun"
    if asked == "color":
        return not phrase.color and phrase.level != "thing"
    return phrase.level == "thing" and phrase.text != "thing"


def next_to(view: View, random: Random) -> Question | None:
    """Asks for the neighbour of a thing: "What is just to the left of the dog?"."""
    relation = random.choice(("left", "right"))
    step = -1 if relation == "left" else 1
    asked = [number for number in view.unique if 0 <= number + step < len(view.things)]
    if not asked:
        return None

    number = random.choice(asked)
    text = f"What is just {RELATIONS[relation]} the {view.short[number]}?"
    steps = f"{_in_order(view, range(number + 1), down=False)}."
    return Question("next", f"next_{relation}", text, view.short[number + step], (), steps)


def nrel(view: View, random: Random) -> Question | None:
    """Asks for the number of things in one direction: "How many things are to the left of the dog?"."""
    down = random.below(3) == 0 and view.rows_are_clear()
    order = view.rows if down else list(range(len(view.things)))
    relation = random.choice(("above", "below") if down else ("left", "right"))
    counts_before = relation in ("left", "above")

    # Collect the things that can be asked about, by the resulting answer.
    by_answer: dict[int, int] = {}
    for place, number in enumerate(order):
        if number not in view.unique or (down and not _is_clear_of_neighbors(view, order, place)):
            continue
        by_answer[place if counts_before else len(order) - 1 - place] = number
    if len(by_answer) < 2:
        return None

    # Draw the answer first.
    answers = sorted(by_answer)
    answer = random.weighted(answers, [_NREL_WEIGHTS[n] for n in answers])
    asked = by_answer[answer]
    text = f"How many things are {RELATIONS[relation]} the {view.short[asked]}?"

    place = order.index(asked)
    if counts_before:
        listed, counted = order[: place + 1], order[:place]
    else:
        listed, counted = order, order[place + 1 :]
    steps = f"{_in_order(view, listed, down=down, counted=counted)}."
    return Question("nrel", f"nrel_{relation}", text, str(answer), COUNTS[:4], steps)


def _is_clear_of_neighbors(view: View, order: Sequence[int], place: int) -> bool:
    """Whether the thing at index `place` of the vertical order differs clearly in y from its two neighbours."""
    neighbors = [*order[max(place - 1, 0) : place], *order[place + 1 : place + 2]]
    return all(_is_clear(view, order[place], other) for other in neighbors)


REASONING = {"count": count, "cmp": cmp, "rel": rel, "same": same, "next": next_to, "nrel": nrel}
