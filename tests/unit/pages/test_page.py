"""The page: whole, half or empty; small; and with every text escaped."""

import base64
import hashlib
import itertools
import re

import numpy as np
import pytest

from sightweave.pages.page import MAX_BYTES, Page, facts, image_keys, render, write_report

ATTACK = (
    "<img src=x onerror=\"document.title='owned'\"></script><script>document.title='owned'</script>{{ 7*7 }}"
)


def estimate(value: float, spread: float = 0.05) -> dict:
    return {"value": value, "low": value - spread, "high": value + spread}


def evaluation(**more) -> dict:
    kind = {
        "type": "color",
        "count": 40,
        "pictures": 20,
        "correct": 30,
        "unparsed": 3,
        "score": estimate(0.75),
        "chance": 0.25,
        "majority": 0.31,
        "majority_answer": "red",
        "controls": {"no_image": estimate(0.28), "shuffled_image": estimate(0.22)},
        "gain": estimate(0.47),
        "metrics": {"exact_match": 0.75},
    }
    task = {
        **{key: value for key, value in kind.items() if key not in ("type", "majority_answer")},
        "task": "vqa",
        "metric": "exact_match",
        "uses_image": "yes",
        "sentence": "vqa uses the image: yes - 75.0 % with it",
        "types": [kind, {**kind, "type": "count", "chance": None, "gain": None, "controls": {}}],
    }
    return {"split": "held-out", "seed": 0, "count": 80, "pictures": 20, "tasks": [task], "notes": [], **more}


def row(number: int = 0, **more) -> dict:
    return {
        "split": "held-out",
        "id": str(number),
        "group": f"g{number}",
        "task": "vqa",
        "type": "color",
        "prompt": "which color?",
        "references": ["red", "dark red"],
        "answer": "blue",
        "parsed": "blue",
        "right": False,
        "logprob": -0.1,
        "finish": "stop",
        "image": f"p{number}",
        "controls": {
            "no_image": {"image": "", "answer": "green", "parsed": "green", "right": False},
            "shuffled_image": {"image": f"p{number + 1}", "answer": "red", "parsed": "red", "right": True},
        },
        **more,
    }


def history() -> list[dict]:
    return [{"step": n, "stage": "all", "loss": 2.0 - n / 100} for n in range(50)]


def pictures(count: int, side: int = 12) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {f"p{n}": rng.integers(0, 256, (side, side, 3)).astype(np.uint8) for n in range(count)}


def test_the_whole_page(tmp_path):
    page = Page(
        title="A run",
        subtitle="a small one",
        facts={"seed": 3, "parameters": 1_070_432, "share": 0.123456},
        recipe="model:\n  fusion: concat\n",
        history=history(),
        evaluations=[evaluation()],
        gallery=[row()],
        pictures=pictures(2),
        notes=["A note."],
    )
    size = write_report(tmp_path / "deep" / "report.html", page)
    text = (tmp_path / "deep" / "report.html").read_text(encoding="utf-8")
    assert size == len(text.encode())
    for words in (
        "A run",
        "1\u202f070\u202f432",
        "0.1235",
        "fusion: concat",
        "A note.",
        "uses the image: yes",
    ):
        assert words in text
    for words in ("75.0", "70.0 to 80.0", "28.0", "22.0", "+47.0", "31.0", "25.0"):
        assert words in text
    assert "mean of 2 types" in text
    assert text.count("data:image/") == 2
    assert "\u2717 wrong" in text
    assert "\u2713 right" in text
    assert "90 % sure per token" in text
    assert render(page) == text


def test_training_alone_and_evaluation_alone():
    training = render(Page(title="t", history=history()))
    assert 'id="training"' in training
    assert not re.search('id="(scores|gallery|glance|run)"', training)
    assert "<script" not in training
    scores = render(Page(title="t", evaluations=[evaluation()]))
    assert 'id="scores"' in scores
    assert not re.search('id="(training|gallery|run)"', scores)
    assert "<h1" in render(Page(title="nothing yet"))


def test_an_evaluation_without_controls_is_shown_too():
    bare = evaluation()
    bare["tasks"][0] |= {"controls": {}, "gain": None}
    bare["tasks"][0]["types"] = [bare["tasks"][0]["types"][1]]
    text = render(Page(title="t", evaluations=[bare]))
    assert "wrong image" not in text
    assert "75.0" in text


def test_every_text_is_escaped():
    attacked = row(
        prompt=ATTACK,
        answer=ATTACK,
        parsed=ATTACK + " ",
        references=[ATTACK],
        task=ATTACK,
        type=ATTACK,
        image=ATTACK,
    )
    attacked["split"] = ATTACK
    attacked["controls"]["no_image"]["answer"] = ATTACK
    stats = evaluation(split=ATTACK, notes=[ATTACK])
    stats["tasks"][0] |= {"task": ATTACK, "sentence": ATTACK}
    stats["tasks"][0]["types"][0] |= {"type": ATTACK, "majority_answer": ATTACK}
    text = render(
        Page(
            title=ATTACK,
            subtitle=ATTACK,
            facts={ATTACK: ATTACK},
            recipe=ATTACK,
            history=[
                {**old, "stage": ATTACK if n < 20 else "b", f"{ATTACK}_loss": 1.0}
                for n, old in enumerate(history())
            ],
            evaluations=[stats],
            gallery=[attacked],
            pictures={ATTACK: pictures(1)["p0"]},
            notes=[ATTACK],
        )
    )
    assert "<img src=x" not in text
    assert text.count("<script") == 1
    assert 'onerror="' not in text
    assert text.count("&lt;img src=x") >= 20
    assert "{{ 7*7 }}" in text  # a text is no template


def test_the_policy_names_the_style_and_the_script_by_their_hash():
    text = render(Page(title="t", gallery=[row()]))
    policy = re.search('Content-Security-Policy" content="([^"]*)"', text)[1].replace("&#39;", "'")
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    for tag, name in (("style", "style-src"), ("script", "script-src")):
        inside = re.search(f"<{tag}>(.*?)</{tag}>", text, flags=re.S)[1]
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{name} 'sha256-{digest}'" in policy
    assert " style=" not in text
    assert not re.search(r"(src|href)=\"(?!data:|#)", text)


def test_a_page_stays_small_and_says_what_it_left_out():
    many = [row(n, answer="long " * 1000, prompt="long " * 1000) for n in range(300)]
    text = render(Page(title="t", gallery=many, pictures=pictures(301, side=80)))
    assert len(text.encode()) < MAX_BYTES
    shown = text.count('<article class="card"')
    assert 60 < shown < 300
    assert f"{300 - shown} more were left out" in text
    kept = [int(n) for n in re.findall(r'alt="image p(\d+)"', text)]
    assert max(b - a for a, b in itertools.pairwise(kept)) <= 300 // shown + 1


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"answer": "", "parsed": None}, "no answer could be read"),
        ({"answer": "so it is red. Answer: red", "parsed": "red"}, "read as"),
        ({"finish": "length"}, "cut at the length limit"),
        ({"references": list("abcdefgh")}, "and 3 more"),
        ({"answer": "a\udc80b"}, "card"),
    ],
)
def test_unusual_answers(more, words, tmp_path):
    write_report(tmp_path / "r.html", Page(title="t", gallery=[row(**more)]))
    assert words in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_image_keys_are_those_that_are_shown():
    assert image_keys([row(0), row(1), row(5, image="", controls={})]) == ["p0", "p1", "p2"]


def test_a_missing_picture_leaves_the_words():
    text = render(Page(title="t", gallery=[row()]))
    assert "<img" not in text
    assert "which color?" in text


def test_what_matters_most_comes_first_and_what_few_ask_for_is_folded_away():
    both = [
        evaluation(sentence=f"{name}: uses the image.", split=name, uses_image="no") for name in ("a", "b")
    ]
    page = Page(
        title="t",
        facts={"seed": 0},
        recipe="fusion: concat",
        evaluations=both,
        gallery=[row()],
        history=history(),
    )
    text = render(page)
    order = (
        "<h1",
        "a: uses the image.",
        "b: uses the image.",
        '<section id="gallery">',
        '<section id="scores">',
        '<section id="training">',
        '<section id="run">',
        "<dt>seed",
        "fusion: concat",
    )
    places = [text.index(words) for words in order]
    assert places == sorted(places)
    assert text.count('class="told is-no"') == 2
    folded = text[text.index('<section id="run">') :]
    assert re.search(r"<details><summary>1 facts.*?<dt>seed.*?</details>", folded, flags=re.S)
    assert re.search(r"<details><summary>Recipe.*?fusion: concat.*?</details>", folded, flags=re.S)


def test_errors_stand_first_without_any_script():
    rows = [row(n, right=n % 3 > 0, prompt=f"question {n}?") for n in range(9)]
    text = render(Page(title="t", gallery=rows))
    assert re.findall(r"question (\d)", text) == list("036124578")


def test_facts_of_any_length():
    known = {
        "who": "run demo",
        "template": "vqa: {question}\ncaptioning: describe",
        "versions": {"torch": "2.6"},
        "training_seconds": 12.5,
        "left_out": "",
    }
    assert facts(known) == [
        ("who", "run demo", False),
        ("template", "vqa: {question}\ncaptioning: describe", True),
        ("versions", "torch 2.6", False),
        ("training seconds", "12.5", False),
    ]


def test_what_else_is_on_the_page_leaves_less_room_for_cards():
    many = [row(n, answer="long " * 1000, prompt="long " * 1000) for n in range(300)]
    text = render(
        Page(title="t", recipe="# a line\n" * 150_000, gallery=many, pictures=pictures(301, side=80))
    )
    assert 2_300_000 < len(text.encode()) < MAX_BYTES
    assert " more were left out" in text
