"""Selects the captions, questions and translations (items) for an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from sightweave.data.scenes.puzzles import REASONING
from sightweave.data.scenes.questions import VQA, Question
from sightweave.data.scenes.random import Random
from sightweave.data.scenes.translations import Pair, ambiguous, number, plain
from sightweave.data.scenes.view import View

Item = Question | Pair
TASKS = ("captioning", "vqa", "reasoning", "translation")
_CYCLE = ("vqa", "reasoning", "translation", "vqa", "reasoning", "vqa", "reasoning", "translation")
"""Tasks of the items after the caption, repeated as needed: 3 short questions, 3 with steps, and 2 translations."""
_Maker = Callable[[View, Random], Item | None]


def caption(view: View) -> str:
    """Describes all things from left to right: "a big striped red circle, a small dog and a big blue star"."""
    phrases = [fact.full.a for fact in view.facts]
    return f"{', '.join(phrases[:-1])} and {phrases[-1]}" if len(phrases) > 1 else phrases[0]


def mix(view: View, random: Random, tasks: Sequence[str], amount: int) -> list[Item]:
    """Makes up to `amount` items for training, taking the tasks in turn and each task's types in random order.

    A type is skipped if it finds no item in the scene, or only one that has been made already.
    """
    queues: dict[str, list[_Maker]] = {}
    items: list[Item] = []
    seen: set[str] = set()
    turns = [task for task in _CYCLE if task in tasks]
    misses = turn = 0

    # Stop early after two rounds through all tasks without a new item.
    while turns and len(items) < amount and misses < len(turns) * 2:
        task = turns[turn % len(turns)]
        turn += 1
        queue = queues.get(task)
        if not queue:
            queue = queues[task] = _makers(task, random)

        made = None
        while queue and (made is None or _key(made) in seen):
            made = queue.pop()(view, random)
        if made is None or _key(made) in seen:
            misses += 1
            continue

        misses = 0
        seen.add(_key(made))
        items.append(made)

    return items


def _makers(task: str, random: Random) -> list[_Maker]:
    """The functions that make a task's types of items, in random order; the last one is used first."""
    if task == "vqa":
        return random.shuffled(tuple(VQA.values()))
    if task == "reasoning":
        return random.shuffled(tuple(REASONING.values()))
    others: list[_Maker] = random.shuffled((_from_english, _from_english, _into_english, ambiguous))
    return [*others, number, ambiguous]


_from_english = partial(plain, into_english=False)
_into_english = partial(plain, into_english=True)


def each(view: View, random: Random, tasks: Sequence[str]) -> list[Item]:
    """Makes items for testing: one of each type that the scene allows, and up to two ambiguous translations."""
    makers: list[_Maker] = []
    if "vqa" in tasks:
        makers += VQA.values()
    if "reasoning" in tasks:
        makers += REASONING.values()
    if "translation" in tasks:
        makers += [ambiguous, ambiguous, _from_english, _into_english, number]

    items: dict[str, Item] = {}
    for maker in makers:
        item = maker(view, random)
        if item is not None:
            items[_key(item)] = item
    return list(items.values())


def _key(item: Item) -> str:
    """A text that is equal for duplicate items."""
    return item.text if isinstance(item, Question) else f"{item.target_language} {item.source}"
