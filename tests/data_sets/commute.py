"""Writes a small CoMMuTE as its repository has it, with the pictures unpacked beside the folders of the pairs."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

# Source, pictures, and the translations that fit each.
AMBIGUOUS = {
    "fr": [
        ("He made it to the bank.", ("gray", "green"), ("Il va \u00e0 la banque.", "Il va \u00e0 la rive.")),
        ("This is a bat.", ("brown", "white"), ("C'est une batte.", "C'est une chauve-souris.")),
    ],
    "de": [
        ("This is a bat.", ("brown", "white"), ("Das ist ein Schl\u00e4ger.", "Das ist eine Fledermaus."))
    ],
    "fr_dev": [("She saw the seal.", ("red", "blue"), ("Elle a vu le sceau.", "Elle a vu le phoque."))],
}
SUFFIX = {"brown": "png", "red": "jpg"}


def write(folder: Path) -> Path:
    """The folder with ``en-fr``, ``en-de``, ``en-fr_dev`` and ``images``."""
    (folder / "images").mkdir(parents=True)
    for pair, sentences in AMBIGUOUS.items():
        lines: dict[str, list[str]] = {"src": [], "correct": [], "incorrect": [], "order": []}
        for source, colours, targets in sentences:
            for index, colour in enumerate(colours):
                name = f"{colour}.{SUFFIX.get(colour, 'jpeg')}"
                Image.new("RGB", (16, 12), colour).save(folder / "images" / name)
                for key, value in (
                    ("src", source), ("correct", targets[index]), ("incorrect", targets[1 - index]), ("order", name)
                ):  # fmt: skip
                    lines[key].append(value)
        target = pair.removesuffix("_dev")
        place = folder / f"en-{pair}"
        place.mkdir()
        names = {
            "src": "src.en",
            "correct": f"correct.{target}",
            "incorrect": f"incorrect.{target}",
            "order": "img.order",
        }
        for key, name in names.items():
            # The official list of pictures ends without a line feed.
            (place / name).write_bytes("\n".join(lines[key]).encode() + (b"" if key == "order" else b"\n"))
    return folder
