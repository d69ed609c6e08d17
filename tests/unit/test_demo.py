"""What the demo shows can be read without colours, and each picture that it talks of can be opened."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from sightweave import api
from sightweave.core.recipe_files import find
from sightweave.demo import _answers, _homonym, _kept_pictures, free_folder
from sightweave.programs.evaluation.scores import Answer, Evaluation, Item


def said(text: str, *, right: bool = True, image: str = "") -> Answer:
    return Answer(text=text, parsed=text, right=right, logprob=None, finish="stop", image=image)


def item(
    number: int, kind: str, prompt: str, answer: str, *, right: bool = True, expected: str = "", **tags
) -> Item:
    key = f"scenes/{number}"
    return Item(
        id=f"{key}/{kind}",
        group=key,
        task="vqa",
        type=kind,
        prompt=prompt,
        references=(expected or answer,),
        options=(),
        tags={"type": kind, **tags},
        answer=said(answer, right=right, image=key),
        controls={"no_image": said("left", right=False)},
    )


def evaluation(*items: Item) -> Evaluation:
    return Evaluation(split="scenes", seed=0, count=len(items), pictures=len(items), tasks=(), items=items)


@pytest.fixture
def piped():
    """A console as in a pipe: no colours, 80 columns."""
    return Console(file=io.StringIO(), width=80, no_color=True, force_terminal=False)


def text_of(console: Console) -> str:
    return console.file.getvalue()


def test_a_verdict_is_not_read_as_a_part_of_the_answer(piped):
    found = evaluation(
        item(0, "caption", "Describe the image.", "a bow on the left"),
        item(0, "side", "Where is the bow?", "left"),
        item(0, "rel", "Where is the ring?", "right", right=False, expected="left"),
    )
    _answers(piped, found, {})
    text = text_of(piped)
    assert "The model says: a bow on the left (correct)" in text
    assert "Where is the bow?  ->  left (correct)   without the image: left" in text
    assert "Where is the ring?  ->  right (wrong; correct: left)" in text
    assert "left right" not in text


def test_each_picture_has_its_file(piped, tmp_path):
    kept = {f"scenes/{n}": tmp_path / f"{n}.png" for n in range(3, 9)}
    captions = [item(n, "caption", "Describe the image.", f"picture number {n}") for n in range(9)]
    _answers(piped, evaluation(*captions), kept)
    lines = [line for line in text_of(piped).splitlines() if line]
    assert [
        f"An image ({tmp_path / f'{n}.png'}). The model says: picture number {n} (correct)"
        for n in range(3, 7)
    ] == lines


def test_two_pictures_of_one_sentence_are_those_that_can_be_opened(piped, tmp_path):
    asked = "Translate into French: This is a bow."
    found = [
        item(0, "ambiguous", asked, "un arc", word="bow", sense="bow_weapon"),
        item(1, "ambiguous", asked, "un noeud", word="bow", sense="bow_ribbon"),
        item(2, "ambiguous", asked, "un arc", word="bow", sense="bow_weapon"),
        item(3, "ambiguous", asked, "un arc", right=False, word="bow", sense="bow_ribbon"),
    ]
    _homonym(piped, evaluation(*found), {f"scenes/{n}": Path(f"gallery/{n}.png") for n in (1, 2, 3)})
    assert text_of(piped).splitlines()[1:] == [
        f"One sentence, two images. {asked}",
        "  an image of a bow (ribbon) (gallery/1.png):  un noeud",
        "  an image of a bow (weapon) (gallery/2.png):  un arc",
    ]


def test_without_kept_pictures_the_words_are_shown_all_the_same(piped):
    asked = "Translate into French: This is a bow."
    pair = [
        item(0, "ambiguous", asked, "un arc", word="bow", sense="bow_weapon"),
        item(1, "ambiguous", asked, "un noeud", word="bow", sense="bow_ribbon"),
    ]
    _homonym(piped, evaluation(*pair), {})
    assert "  an image of a bow (weapon):  un arc" in text_of(piped).splitlines()


def test_kept_pictures_are_those_of_the_report(tmp_path):
    (tmp_path / "gallery").mkdir()
    (tmp_path / "gallery" / "index.json").write_text(json.dumps({"scenes/1": "0000.png"}), encoding="utf-8")
    assert _kept_pictures(tmp_path) == {"scenes/1": tmp_path / "gallery" / "0000.png"}


def test_an_unfinished_demo_of_the_same_recipe_is_resumed(tmp_path):
    recipe, folder = find("demo_quick"), tmp_path / "demo"
    given = api.read_recipe(recipe).to_plain()

    def holding(**known):
        (folder / "checkpoint").mkdir(parents=True, exist_ok=True)
        (folder / "run.json").write_text(json.dumps(known))
        return free_folder(folder, recipe).name

    assert free_folder(folder, recipe) == folder
    assert holding(interrupted=True, steps=4, recipe_given=given) == "demo"
    assert holding(interrupted=True, steps=4, recipe_given={**given, "seed": 9}) == "demo-2"
    assert holding(interrupted=True, steps=4) == "demo-2"  # of an earlier version
    assert holding(interrupted=False, steps=4, recipe_given=given) == "demo-2"
    (folder / "run.json").write_text("{")
    assert free_folder(folder, recipe).name == "demo-2"
