"""The page on two runs: whole, small, with every text escaped."""

import re

import numpy as np

from sightweave.pages.beside import render_beside, write_beside
from sightweave.pages.gallery import choose
from sightweave.pages.page import MAX_BYTES

ATTACK = (
    "<img src=x onerror=\"document.title='owned'\"></script><script>document.title='owned'</script>{{ 7*7 }}"
)


def estimate(value: float) -> dict:
    return {"value": value, "low": value - 0.05, "high": value + 0.05}


def found(**more) -> dict:
    kind = {
        "type": "color",
        "count": 80,
        "pictures": 40,
        "first": estimate(0.75),
        "second": estimate(0.625),
        "difference": estimate(0.125),
        "p": 0.0123,
        "detectable": 0.087,
        "both_right": 20,
        "first_only": 12,
        "second_only": 3,
        "both_wrong": 5,
        "mcnemar_p": 0.00004,
    }
    task = {
        **kind,
        "split": "held-out",
        "task": "vqa",
        "metric": "exact_match",
        "p_holm": 0.0246,
        "mcnemar_holm": 0.00008,
        "verdict": "first",
        "sentence": "vqa in held-out: A is better",
        "types": [kind, {**kind, "type": "count", "first": None, "difference": None, "detectable": None}],
    }
    del task["type"]
    return {
        "names": ["A", "B"],
        "count": 80,
        "pictures": 40,
        "tasks": [task],
        "first_alone": [{"split": "held-out", "task": "vqa", "id": f"q{n}"} for n in range(12)],
        "second_alone": [],
        "notes": ["A note."],
        **more,
    }


def row(number: int = 0, kind: str = "first_only", **more) -> dict:
    return {
        "split": "held-out",
        "id": f"q{number}",
        "group": f"p{number}",
        "task": "vqa",
        "type": "color",
        "prompt": f"which color {number}?",
        "references": ["red"],
        "image": f"p{number}",
        "kind": kind,
        "gap": 1.0,
        "first": {"answer": "red", "parsed": "red", "right": kind == "first_only", "logprob": -0.1},
        "second": {"answer": "blue", "parsed": "blue", "right": kind == "second_only", "logprob": None},
        **more,
    }


def pictures(count: int, side: int = 12) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {f"p{n}": rng.integers(0, 256, (side, side, 3)).astype(np.uint8) for n in range(count)}


def test_the_whole_page(tmp_path):
    path = tmp_path / "deep" / "beside.html"
    size = write_beside(path, "A and B", found(), [row()], pictures(1), {"data": "2f5a"})
    text = path.read_text(encoding="utf-8")
    assert size == len(text.encode())
    for words in (
        "A is better",
        "75.0",
        "62.5",
        "+12.5",
        "+7.5 to +17.5",
        "p 0.012",
        "Holm: p 0.025",
        "8.7",
        "p &lt; 0.001",
        "mean of 2 types",
        "2f5a",
        "A note.",
        "12 sample(s) were asked only of A",
        "held-out / vqa / q9 and 2 more",
        "which color 0?",
        "90 % sure per token",
    ):
        assert words in text
    assert text.count("data:image/") == 1
    assert "asked only of B" not in text


def test_a_line_per_task_says_which_is_better():
    words = {
        "first": "the first is better",
        "second": "the second is better",
        "none": "no significant difference",
        "unknown": "too few samples to tell",
    }
    for verdict, says in words.items():
        stats = found()
        stats["tasks"][0]["verdict"] = verdict
        text = render_beside("t", stats, [], {}, {})
        assert text.index(says) < text.index('id="scores"')
    lone = found()
    lone["tasks"][0] |= {"difference": None, "first": None, "second": None}
    assert "points (" not in render_beside("t", lone, [], {}, {}).partition('id="scores"')[0]


def test_mcnemar_is_warned_of_only_where_pictures_are_shared():
    assert "use the p-value of the difference" in render_beside("t", found(), [], {}, {})
    alone = found()
    alone["tasks"][0]["pictures"] = 80
    assert "use the p-value of the difference" not in render_beside("t", alone, [], {}, {})


def test_without_answers_there_is_no_script():
    text = render_beside("t", found(), [], {}, {})
    assert "<script" not in text
    assert "script-src" not in text
    assert "No answers are shown" in text


def test_errors_of_the_second_stand_first():
    rows = [row(0, "both_wrong"), row(1, "second_only"), row(2, "first_only")]
    text = render_beside("t", found(), rows, {}, {})
    assert re.findall("which color (\\d)", text) == ["2", "1", "0"]


def test_every_text_is_escaped():
    stats = found(
        names=[ATTACK, ATTACK], notes=[ATTACK], first_alone=[{"split": "", "task": ATTACK, "id": ATTACK}]
    )
    stats["tasks"][0] |= {"task": ATTACK, "split": ATTACK, "sentence": ATTACK, "metric": ATTACK}
    stats["tasks"][0]["types"][0]["type"] = ATTACK
    said = {"answer": ATTACK, "parsed": f"{ATTACK} ", "right": False, "logprob": None}
    attacked = row(prompt=ATTACK, task=ATTACK, type=ATTACK, split=ATTACK, references=[ATTACK], image=ATTACK)
    text = render_beside(
        ATTACK,
        stats,
        [attacked | {"first": said, "second": said}],
        {ATTACK: pictures(1)["p0"]},
        {ATTACK: ATTACK},
    )
    assert "<img src=x" not in text
    assert text.count("<script") == 1
    assert 'onerror="' not in text
    assert text.count("&lt;img src=x") >= 20
    assert "{{ 7*7 }}" in text


def test_a_page_stays_small_and_shows_every_kind():
    rows = [
        row(n, ("first_only", "second_only", "both_wrong")[n % 3], prompt="long " * 1000) for n in range(600)
    ]
    chosen = choose(rows, limit=450, by="kind")
    text = render_beside("t", found(), chosen, pictures(600, side=80), {})
    assert len(text.encode()) < MAX_BYTES
    assert " more were left out" in text
    for kind in ("first_only", "second_only", "both_wrong"):
        assert text.count(f'data-kind="{kind}"') > 20
