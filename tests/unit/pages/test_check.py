"""The page of a check: what was found comes first, with how much of it is shown."""

import re

from sightweave.pages.check import write_check


def found(**more) -> dict:
    examples = [
        {"message": f"row {n} is bad", "file": "a.csv", "line": n, "picture": ""} for n in range(1, 6)
    ]
    return {
        "path": "data/mine",
        "kind": "table",
        "may_train": True,
        "verdict": "Training may start.",
        "rows": 12_000,
        "good_rows": 11_988,
        "passed_over": 0,
        "pictures": 40,
        "records": {"vqa": 12_000},
        "splits": {"train": 12_000},
        "languages": {},
        "labels": {},
        "provenance": ["LICENSE"],
        "lengths": "",
        "findings": [
            {
                "code": "text_empty",
                "severity": "error",
                "count": 12,
                "examples": examples,
                "advice": "Fill it.",
            },
            {"code": "no_licence", "severity": "info", "count": 1, "examples": examples[:1], "advice": ""},
            {"code": "uncounted", "severity": "info", "count": 3, "examples": [], "advice": ""},
        ],
        **more,
    }


def page(tmp_path, **more) -> str:
    write_check(tmp_path / "deep" / "report.html", found(**more), {})
    return (tmp_path / "deep" / "report.html").read_text(encoding="utf-8")


def test_the_verdict_and_the_findings_come_before_the_facts(tmp_path):
    text = page(tmp_path)
    order = (
        "Training may start.",
        "12\u202f000 rows, 11\u202f988 of them",
        "text_empty",
        "row 5 is bad",
        "LICENSE",
        "<dt>format",
    )
    places = [text.index(words) for words in order]
    assert places == sorted(places)
    assert "were skipped" not in text
    assert "7 rows were skipped" in page(tmp_path, passed_over=7)
    assert re.search(r"<details><summary>3 facts.*?<dt>split: train.*?</details>", text, flags=re.S)


def test_it_says_how_much_is_shown(tmp_path):
    shown = re.findall(r'<span class="small">(.*?)</span></h3>', page(tmp_path))
    assert shown == ["5 of 12 shown", "1", "3"]


def test_a_folder_not_to_be_trained_on_is_marked(tmp_path):
    assert 'class="told is-yes"' in page(tmp_path)
    assert 'class="told is-no"' in page(tmp_path, may_train=False)
