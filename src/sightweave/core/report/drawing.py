"""Drawings of numbers as SVG that takes its colours from the page.

matplotlib draws with stand-in colours; each is then replaced by a class (``ink-stroke``, ``series0-fill``), so
that one drawing serves light, dark and paper. No text of a user's enters a drawing.
"""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

SIZE = (4.5, 2.35)
"""Inches."""
_STANDINS = {
    "#000001": "ink",
    "#000002": "faint",
    "#000003": "band",
    "#000004": "series0",
    "#000005": "series1",
    "#000006": "series2",
    "#000007": "series3",
    "#000008": "trail",
}
COLOR = {name: color for color, name in _STANDINS.items()}
"""The stand-in of each colour that a drawing may take."""
_XLINK = "{http://www.w3.org/1999/xlink}href"


@dataclass(slots=True)
class Drawing:
    """Axes to draw on and, once that is done, the drawing."""

    axes: Any
    svg: str = ""


@contextmanager
def drawing(prefix: str) -> Iterator[Drawing]:
    """Gives empty axes in the style of all pages; at the end of the block their drawing is in ``svg``.

    Args:
        prefix: Of the ids inside, so that several drawings can stand on one page.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "sightweave", "svg.fonttype": "none", "font.size": 7.5}):
        figure = Figure(figsize=SIZE, layout="constrained")
        made = Drawing(figure.add_subplot())
        yield made
        axes = made.axes
        axes.grid(axis="y", color=COLOR["band"], linewidth=0.7)
        axes.set_axisbelow(True)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.spines["bottom"].set_color(COLOR["faint"])
        axes.tick_params(which="both", length=0, colors=COLOR["ink"])
        figure.patch.set_visible(False)
        axes.patch.set_visible(False)
        out = io.BytesIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    made.svg = _for_page(out.getvalue(), prefix)


def _for_page(data: bytes, prefix: str) -> str:
    """The drawing without styles of its own, which the page's policy would refuse, and with ids of its own."""
    ElementTree.register_namespace("", "http://www.w3.org/2000/svg")
    ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    root = ElementTree.fromstring(data)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith(("metadata", "style")):
                parent.remove(child)
    for element in root.iter():
        for rule in element.attrib.pop("style", "").split(";"):
            name, colon, value = rule.partition(":")
            if colon and name.strip() != "font":  # the page sets the font of all drawings
                element.set(name.strip(), value.strip())
        for name in ("fill", "stroke"):
            standin = _STANDINS.get(element.get(name, ""))
            if standin:
                del element.attrib[name]
                element.set("class", f"{element.get('class', '')} {standin}-{name}".strip())
        if "id" in element.attrib:
            element.set("id", prefix + element.attrib["id"])
        if _XLINK in element.attrib:
            element.set(_XLINK, element.attrib[_XLINK].replace("#", f"#{prefix}"))
        if "clip-path" in element.attrib:
            element.set("clip-path", element.attrib["clip-path"].replace("#", f"#{prefix}"))
    for element in root.iter():
        for name in ("font-family", "version", "style"):
            element.attrib.pop(name, None)
    for name in ("width", "height"):
        del root.attrib[name]
    root.set("aria-hidden", "true")
    text = ElementTree.tostring(root, encoding="unicode")
    return re.sub(r"\s*\n\s*", "\n", text)
