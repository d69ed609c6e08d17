"""A tokenizer that learns from these texts must meet no new word."""

import re

from sightweave.data.scenes.items import TASKS, caption, each
from sightweave.data.scenes.layout import SPLITS, make_scene
from sightweave.data.scenes.lexicon import NOUNS
from sightweave.data.scenes.questions import Question
from sightweave.data.scenes.random import Random
from sightweave.data.scenes.regions import regions
from sightweave.data.scenes.view import View
from sightweave.data.scenes.words import table, texts

WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*|\d+")


def is_chinese(word):
    return any("\u4e00" <= letter <= "\u9fff" for letter in word)


def test_texts_hold_every_word_of_every_split():
    known_text = "\n".join(texts(0, 100))
    known, characters = set(WORD.findall(known_text)), set(known_text)

    def is_known(word):
        """Chinese has no spaces: there every character must be known."""
        return set(word) <= characters if is_chinese(word) else word in known

    for split in SPLITS:
        for index in range(60):
            view = View(make_scene(9, split, index))
            said = [caption(view)]
            for item in each(view, Random(9, 0, index, 1), TASKS):
                is_question = isinstance(item, Question)
                said += [item.text, item.steps, item.answer] if is_question else [item.source, item.target]
            assert [word for word in WORD.findall("\n".join(said)) if not is_known(word)] == []
            for region in regions(view):
                assert [
                    w for w in region.words if not (w in known_text if is_chinese(w) else w in known)
                ] == []


def test_the_table_alone_holds_every_noun():
    said = "\n".join(table())
    for noun in NOUNS.values():
        for form in (*noun.english, *noun.german, *noun.french, noun.chinese, noun.measure):
            assert form in said
