"""Writes docs/papers.md and the pages of docs/reference from the docstrings: ``python docs/generate.py``.

Nothing is imported but the standard library: docstrings and signatures are read from the source. The site's builder
calls ``on_page_markdown`` for each page.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "sightweave"
FAMILIES = {
    "Encoders": "models/encoders",
    "Connectors": "models/connectors",
    "Fusions": "models/fusions",
    "Language models": "models/language_models",
    "Shared blocks": "models/nn",
    "Tasks": "data/tasks",
    "Data sets": "data/datasets",
    "Text, pictures and order": "data/inputs",
    "Metrics": "answers/metrics",
    "Decoding": "answers/decoding",
    "Training": "programs/training",
}
_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")


def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _first_line(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> str:
    return (ast.get_docstring(node) or "").partition("\n")[0]


def _cell(text: str) -> str:
    """One line for a table, with links to arXiv and reST code as Markdown code."""
    text = " ".join(text.replace("|", "\\|").split()).replace("``", "`")
    return _ARXIV.sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", text)


def papers() -> str:
    """Kind, what it is, its paper and how it differs."""
    lines = [
        "# Papers",
        "",
        "Where each kind comes from and how it differs, taken from the first lines of its file.",
        "This page is made by `docs/generate.py`; change the docstring, not the page.",
    ]
    for title, folder in FAMILIES.items():
        rows = []
        for path in sorted((PACKAGE / folder).glob("*.py")):
            first, _, rest = (ast.get_docstring(_parse(path)) or "").partition("\n")
            if path.stem.startswith("_") or (
                "rXiv" not in first + rest and not re.search(r"\(.+\d{4}", rest)
            ):
                continue
            paragraphs = [part for part in rest.split("\n\n") if re.search(r"\d{4}|Differs", part)]
            rows.append(f"| `{path.stem}` | {_cell(first)} | {_cell(' '.join(paragraphs))} |")
        if rows:
            lines += [
                "",
                f"## {title}",
                "",
                "| kind | what it is | source and differences |",
                "|---|---|---|",
            ]
            lines += rows
    return "\n".join(lines) + "\n"


def _signature(node: ast.FunctionDef) -> str:
    args = node.args
    names = [a.arg for a in args.posonlyargs + args.args]
    if args.vararg:
        names.append(f"*{args.vararg.arg}")
    elif args.kwonlyargs:
        names.append("*")
    names += [a.arg for a in args.kwonlyargs]
    if args.kwarg:
        names.append(f"**{args.kwarg.arg}")
    return ", ".join(name for name in names if name not in ("self", "cls"))


def _constructor(node: ast.ClassDef) -> str:
    for inner in node.body:
        if isinstance(inner, ast.FunctionDef) and inner.name == "__init__":
            return f"({_signature(inner)})"
    return ""


def _members(module: ast.Module) -> Iterator[str]:
    for node in module.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield f"- `{node.name}({_signature(node)})`: {_cell(_first_line(node))}"
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield f"- `class {node.name}{_constructor(node)}`: {_cell(_first_line(node))}"
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_"):
                    yield f"    - `{inner.name}({_signature(inner)})`: {_cell(_first_line(inner))}"


def _modules() -> Iterator[Path]:
    """The verbs and the run first, then the tree."""
    first = [PACKAGE / name for name in ("api.py", "run.py", "recipe.py")]
    yield from first
    for path in sorted(PACKAGE.rglob("*.py")):
        if path not in first and not path.stem.startswith("_") and path.stem != "__main__":
            yield path


def reference() -> str:
    """Every public function and class with the first line of its docstring."""
    lines = [
        "# Reference",
        "",
        "Every public function and class with its first line; arguments, shapes and errors stand in the source.",
        "This page is made by `docs/generate.py`; change the docstring, not the page.",
    ]
    for path in _modules():
        module = _parse(path)
        members = list(_members(module))
        if members:
            name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
            lines += ["", f"## `{name}`", "", _cell(_first_line(module)), "", *members]
    return "\n".join(lines) + "\n"


def json_shapes() -> str:
    """What each command prints with ``--json``: a table of keys for each shape of ``json_results.py``."""
    module = _parse(PACKAGE / "json_results.py")
    about = (ast.get_docstring(module) or "").replace("``", "`")
    lines = [
        "# JSON of the commands",
        "",
        about,
        "",
        "This page is made by `docs/generate.py`; change the docstring, not the page.",
    ]
    for node in (one for one in module.body if isinstance(one, ast.ClassDef)):
        command, _, rest = (ast.get_docstring(node) or "").replace("``", "`").partition(": ")
        lines += ["", f"## {command}", "", f"`{node.name}`: {rest}", "", "| key | type | |", "|---|---|---|"]
        for key, said in pairwise(node.body):
            if isinstance(key, ast.AnnAssign) and isinstance(said, ast.Expr):
                kind = ast.unparse(key.annotation).replace("|", "\\|")
                text = said.value.value if isinstance(said.value, ast.Constant) else ""
                lines.append(f"| `{ast.unparse(key.target)}` | `{kind}` | {_cell(str(text))} |")
    return "\n".join(lines) + "\n"


def pages() -> dict[str, str]:
    """The text of each generated page, by its path."""
    return {
        "docs/papers.md": papers(),
        "docs/reference/index.md": reference(),
        "docs/reference/json.md": json_shapes(),
    }


def on_page_markdown(markdown: str, **_: object) -> str:
    """For the site: words after a fence's language, which the tests read, become a line above it or vanish."""
    markdown = re.sub(r"^```(\w+) file=(\S+)$", r"`\2`:\n\n```\1", markdown, flags=re.MULTILINE)
    return re.sub(r"^```(\w+) [^\n`]+$", r"```\1", markdown, flags=re.MULTILINE)


def main() -> None:
    """Writes them."""
    for name, text in pages().items():
        (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
