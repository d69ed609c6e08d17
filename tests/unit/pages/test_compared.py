"""The page and the text of a comparison: every cell is there, and every text is only text."""

import html
import re

from sightweave.pages.compared import ComparedPage, Table, write_compared
from sightweave.pages.costs import Point, panel

EVIL = '<img src=x onerror="alert(1)">|'


def test_the_page_holds_everything_and_asks_for_nothing(tmp_path):
    table = Table(title=EVIL, heads=["composition", "vqa"], rows=[[EVIL, "50.0"]], note=EVIL)
    point = Point(name=EVIL, cost=1, least_cost=1, most_cost=1, score=50, low=40, high=60)
    drawn = panel(EVIL, [point], cost="minutes", score="%")
    page = ComparedPage(
        title=EVIL, lead=EVIL, tables=[table], panels=[drawn], notes=[EVIL], facts={EVIL: EVIL}
    )
    write_compared(tmp_path / "made" / "page.html", page)
    text = (tmp_path / "made" / "page.html").read_text(encoding="utf-8")
    assert "<img" not in text
    assert "<script" not in text
    assert text.count("&lt;img src=x") >= 9
    assert "default-src 'none'" in html.unescape(text)
    assert "script-src" not in text
    assert not re.search(r'(?:src|href)="(?!data:|#)', text)
    assert 'style="' not in text  # the policy would refuse it
    assert 'data-name="vqa"' in text


def test_bars_and_lines_break_no_table():
    text = Table(title="t", heads=["a|b", "c"], rows=[["x\ny", "1"]], note="Said.").to_markdown()
    assert text == "| a\\|b | c |\n|---|---|\n| x y | 1 |\n\nSaid.\n"


def test_wide_tables_come_in_parts_that_keep_their_words():
    table = Table(title="t", heads=["a", "b", *"123456789"], rows=[["x", "y", *"abcdefghi"]], words=2)
    assert [part.heads for part in table.narrow()] == [["a", "b", *"123456"], ["a", "b", *"789"]]
    assert [part.rows for part in table.narrow()] == [[["x", "y", *"abcdef"]], [["x", "y", *"ghi"]]]
    assert "| a | b | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 |" in table.to_markdown()
    words = Table(title="t", heads=["a"], rows=[["x"]])
    assert [part.heads for part in words.narrow()] == [["a"]]
