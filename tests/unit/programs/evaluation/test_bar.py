"""The bar shows the pass that goes on, and nothing where there is no console."""

import io

from rich.console import Console

from sightweave.programs.evaluation.bar import PassesBar


def test_each_pass_has_its_own_bar():
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100)
    with PassesBar(console) as bar:
        bar.start("image", 20)
        bar.advance(10)
        bar.start("no_image", 30)
        bar.advance(30)
    text = out.getvalue()
    assert "no image" in text
    assert "30/30" in text


def test_without_a_console_nothing_is_shown():
    with PassesBar(None) as bar:
        bar.start("image", 2)
        bar.advance(2)


def test_a_pass_that_asked_only_for_what_was_new_ends_whole():
    out = io.StringIO()
    with PassesBar(Console(file=out, force_terminal=True, width=100)) as bar:
        bar.start("blank_image", 30)
        bar.advance(3)
    assert "blank image" in out.getvalue()
    assert "30/30" in out.getvalue()
