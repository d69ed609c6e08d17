"""Writes docs/papers.md and the pages of docs/reference from the docstrings: ``python docs/generate.py``.

Nothing is imported but the standard library: docstrings and signatures are read from the source. The site's builder
calls ``on_page_markdown`` for each page, and mkdocstrings puts the full docstrings into the reference.
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
ROOMS = {
    "api": ("Python API", "What a program calls first: the verbs, a run and a recipe.", ["", "verbs"]),
    "comparison": ("Comparison", "Grids of runs, and tests of their differences.", ["comparison"]),
    "harnesses": ("Harnesses", "A run as a model of lmms-eval, VLMEvalKit and Transformers.", ["harnesses"]),
    "core": ("Core", "Types, batches, settings, checkpoints and errors, which every room uses.", ["core"]),
    "pages": ("Pages", "HTML reports and what a notebook shows.", ["pages"]),
    "models": ("Models", "A whole model, its loss and its adapters.", ["models"]),
    "encoders": ("Encoders", "Pixels to features.", ["models/encoders"]),
    "connectors": (
        "Connectors",
        "How many embeddings an image gives, and how wide they are.",
        ["models/connectors"],
    ),
    "fusions": ("Fusions", "Where the image enters the text.", ["models/fusions"]),
    "language-models": ("Language models", "Text to logits.", ["models/language_models"]),
    "blocks": ("Blocks", "Attention, feed-forward layers, norms and masks.", ["models/nn"]),
    "keymaps": ("Key maps", "Names and shapes of published checkpoints.", ["models/keymaps"]),
    "inputs": ("Inputs", "Samples to batches: tokens, pixels, their order and packing.", ["data"]),
    "datasets": ("Datasets", "Formats that are read.", ["data/datasets"]),
    "reading": ("Reading", "What the formats share.", ["data/reading"]),
    "tasks": ("Tasks", "Records to prompts and targets.", ["data/tasks", "data/phrasing"]),
    "scenes": ("Scenes", "The drawn world of the demo.", ["data/scenes"]),
    "answers": ("Answers", "Logits to text, and what the metrics share.", ["answers"]),
    "metrics": ("Metrics", "Answers to scores.", ["answers/metrics"]),
    "programs": ("Programs", "Generation, and who else can be asked.", ["programs"]),
    "training": ("Training", "Stages, optimizers, schedules and the loop.", ["programs/training"]),
    "forecasting": ("Forecasting", "What a run will cost, before it starts.", ["programs/forecasting"]),
    "evaluation": ("Evaluation", "Scores with controls and intervals.", ["programs/evaluation"]),
    "checks": ("Checks", "Whether the parts are wired right.", ["programs/checks"]),
    "doctor": ("Doctor", "Whether a dataset is fit to train on.", ["programs/doctor"]),
    "exports": ("Exports", "Runs in the formats of other programs.", ["programs/exports"]),
}
"""Pages of the reference: title, what the room is for, and its folders. A module is on the page of its nearest folder."""
_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
_ON_THE_SITE = "Each function and class with its first line; the site (`make docs`) has the full docstrings."
_GENERATED = "This page is made by `docs/generate.py`; change the docstring, not the page."
_SECTION = re.compile(r"^## `(sightweave[\w.]*)`\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)


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
        _GENERATED,
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


def _is_public(path: Path) -> bool:
    """A family's ``_base.py`` is part of what a new kind is written against."""
    return path.stem == "_base" or not any(
        part.startswith("_") for part in path.relative_to(PACKAGE).with_suffix("").parts
    )


def modules(room: str) -> list[Path]:
    """The public modules on a page of the reference; of the API the run, the recipe and the verbs come first."""
    folders = {folder: name for name, (_, _, folders) in ROOMS.items() for folder in folders}
    first = [PACKAGE / name for name in ("run.py", "recipe.py")]
    found = []

    def order(path: Path) -> tuple[bool, bool, Path]:
        return path not in first, path.parent == PACKAGE, path

    for path in sorted(PACKAGE.rglob("*.py"), key=order):
        folder = path.parent.relative_to(PACKAGE).as_posix().removeprefix(".")
        while folder not in folders:
            folder = folder.rpartition("/")[0]
        if folders[folder] == room and _is_public(path):
            found.append(path)
    return found


def reference(room: str) -> str:
    """Every public function and class of a room with the first line of its docstring."""
    title, purpose, _ = ROOMS[room]
    lines = [
        f"# {title}",
        "",
        purpose,
        "",
        _ON_THE_SITE,
        _GENERATED,
    ]
    for path in modules(room):
        module = _parse(path)
        members = list(_members(module))
        if members:
            name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
            lines += ["", f"## `{name}`", "", _cell(_first_line(module)), "", *members]
    return "\n".join(lines) + "\n"


def reference_index() -> str:
    """The way into the reference: what a program calls, then the rooms."""
    lines = [
        "# Reference",
        "",
        "Most programs need `import sightweave` and nothing else:",
        "",
        "| name | what it does |",
        "|---|---|",
    ]
    lines += [f"| `sightweave.{name}` | {first} |" for name, first in _public_names()]
    lines += ["", "Every public module is on the page of its room:", "", "| room | what it holds | modules |"]
    lines += ["|---|---|---|"]
    for room, (title, purpose, _) in ROOMS.items():
        lines.append(f"| [{title}]({room}.md) | {purpose} | {len(modules(room))} |")
    lines += [
        "",
        "[The JSON of the commands](json.md) lists what `--json` prints.",
        _GENERATED,
    ]
    return "\n".join(lines) + "\n"


def _public_names() -> list[tuple[str, str]]:
    """Each name of ``sightweave.__all__`` with the first line of its docstring."""
    places = _imports(PACKAGE / "__init__.py")
    places |= {name: place for name, place in _imports(PACKAGE / "api.py").items() if name in places}
    found = []
    for name, path in sorted(places.items(), key=lambda one: one[0].lower()):
        nodes = [node for node in _parse(path).body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        found.append((name, next(_cell(_first_line(node)) for node in nodes if node.name == name)))
    return found


def _imports(path: Path) -> dict[str, Path]:
    """Names that a module imports from the package, and the files that they are from."""
    found = {}
    for node in ast.walk(_parse(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sightweave."):
            place = PACKAGE.parent / f"{str(node.module).replace('.', '/')}.py"
            found |= {alias.name: place for alias in node.names}
    return found


def json_shapes() -> str:
    """What each command prints with ``--json``: a table of keys for each shape of ``json_results.py``."""
    module = _parse(PACKAGE / "json_results.py")
    about = (ast.get_docstring(module) or "").replace("``", "`")
    lines = [
        "# JSON of the commands",
        "",
        about,
        "",
        _GENERATED,
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
        "docs/reference/index.md": reference_index(),
        **{f"docs/reference/{room}.md": reference(room) for room in ROOMS},
        "docs/reference/json.md": json_shapes(),
    }


def on_page_markdown(markdown: str, **_: object) -> str:
    """For the site: sections of the reference become full docstrings, and words after a fence's language vanish.

    The tests read those words; a file's name becomes a line above its text.
    """
    markdown = _SECTION.sub(r"## `\1`\n\n::: \1\n\n", markdown)
    markdown = markdown.replace(_ON_THE_SITE, "").replace(_GENERATED, "")
    markdown = re.sub(r"^```(\w+) file=(\S+)$", r"`\2`:\n\n```\1", markdown, flags=re.MULTILINE)
    return re.sub(r"^```(\w+) [^\n`]+$", r"```\1", markdown, flags=re.MULTILINE)


def main() -> None:
    """Writes them."""
    for name, text in pages().items():
        (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
