"""The documentation is run: its code, its commands, its links and the names that it speaks of.

What a page's fences mean::

    ```python                      runs, in one namespace for each page, in a folder of its own
    ```python file=my_lab/x.py     is written there first (so is every other language with ``file=``)
    ```text output                 is exactly what the block before it printed
    ```bash                        ``sightweave`` commands are run, ``make`` targets looked up
    ```bash slow                   is only parsed: command, options, recipe and settings exist
    ```python slow                 is only compiled

``print(...)  # this`` says what the line prints. A page that adds a file to the package runs in a copy of it.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import io
import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

import sightweave
from sightweave import api
from sightweave.cli import app
from sightweave.comparison.grid import grid
from sightweave.core import foreign_words, old_names
from sightweave.core.recipe_files import find

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "sightweave"
PAGES = sorted([ROOT / "README.md", ROOT / "README.zh-CN.md", *(ROOT / "docs").rglob("*.md")])
NAMES = [path.relative_to(ROOT).as_posix() for path in PAGES]
GENERATED = {"docs/papers.md", *(name for name in NAMES if name.startswith("docs/reference/"))}
_FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Fence:
    """One fenced block of a page."""

    language: str
    words: tuple[str, ...]
    text: str

    @property
    def file(self) -> str:
        """The file that it is the text of, if any."""
        return next((word.removeprefix("file=") for word in self.words if word.startswith("file=")), "")


def fences(text: str) -> list[Fence]:
    found = []
    for info, body in _FENCE.findall(text):
        language, *words = info.split() or [""]
        found.append(Fence(language, tuple(words), body))
    return found


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def prose(name: str) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", page(name))


def promised(block: Fence) -> list[str]:
    """What its ``print(...)  # this`` lines promise."""
    return [
        line.rpartition("  # ")[2]
        for line in block.text.splitlines()
        if line.lstrip().startswith("print(") and "  # " in line
    ]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user's folder: the recipes are there, and its own modules can be imported."""
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_lab"]:
        del sys.modules[name]


def run_python(block: Fence, space: dict[str, Any], where: str) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(block.text, where, "exec"), space)
    return printed.getvalue()


def commands(block: Fence) -> list[list[str]]:
    """The words of each command of a block; a backslash joins lines."""
    lines = block.text.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def check_command(words: list[str]) -> None:
    """The command exists, takes these options, and what it names is there."""
    if words[0] == "make":
        targets = re.findall(r"^([a-z]+):", page("Makefile"), re.MULTILINE)
        assert [word for word in words[1:] if "=" not in word and word not in targets] == []
        return
    if words[:2] == ["python", "-m"] and words[2].startswith("benchmarks."):
        benchmark = Path(words[2].replace(".", "/") + ".py")
        assert (ROOT / benchmark).is_file(), f"there is no {benchmark}"
        source = page(str(benchmark))
        assert [word for word in words if word[:2] == "--" and f'"{word}"' not in source] == []
        return
    assert words[0] == "sightweave", f"neither make nor sightweave: {shlex.join(words)}"
    command: Any = typer.main.get_command(app)
    rest = words[1:]
    while hasattr(command, "commands"):
        assert rest, f"{shlex.join(words)} names no command"
        assert rest[0] in command.commands, f"no command {rest[0]!r} in {shlex.join(words)}"
        command, rest = command.commands[rest[0]], rest[1:]
    context = command.make_context(command.name, list(rest))
    recipe = context.params.get("recipe")
    if recipe is not None:
        found = ROOT / recipe if (ROOT / recipe).is_file() else find(recipe)
        settings = context.params.get("settings") or []
        cells = [cell.settings for cell in grid(settings)] if command.name == "compare" else [settings]
        for one in cells:
            read = api.read_recipe(found, one)
            if not read.model.hub_names:  # the network is needed for those
                read.check()


def run_command(words: list[str]) -> str:
    check_command(words)
    if words[0] == "make":
        return ""
    result = CliRunner().invoke(app, words[1:], catch_exceptions=False)
    assert result.exit_code == 0, f"{shlex.join(words)}: {result.output}"
    return result.stdout


def write_files(blocks: list[Fence], folder: Path) -> None:
    for block in blocks:
        if block.file:
            path = folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
    importlib.invalidate_caches()


def run_in_a_copy(blocks: list[Fence], folder: Path) -> None:
    """Runs a page that adds a file to the package, in a copy of the package."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, folder / "src" / "sightweave", ignore=ignored)
    write_files(blocks, folder)
    code = [block for block in blocks if block.language == "python" and not block.file]
    script = folder / "page.py"
    script.write_text("\n".join(block.text for block in code), encoding="utf-8")
    path = os.pathsep.join([str(folder / "src"), str(folder)])
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [line for block in code for line in promised(block)]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if fences(page(name))])
def test_a_pages_code_runs(name: str, folder: Path) -> None:
    blocks = fences(page(name))
    if any(block.file.startswith("src/") for block in blocks):
        run_in_a_copy(blocks, folder)
        return
    write_files(blocks, folder)
    space: dict[str, Any] = {"__name__": "page"}
    printed = ""
    for number, block in enumerate(blocks):
        where = f"{name}, block {number + 1}"
        if block.file:
            continue
        if block.language == "python" and "slow" in block.words:
            compile(block.text, where, "exec")
        elif block.language == "python":
            printed = run_python(block, space, where)
            if promises := promised(block):
                assert printed.splitlines() == promises, where
        elif block.language == "bash" and "slow" in block.words:
            for words in commands(block):
                check_command(words)
        elif block.language == "bash":
            printed = "".join(run_command(words) for words in commands(block))
        elif block.language == "text" and "output" in block.words:
            assert printed == block.text, where


def anchors(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", _FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    for link in _LINK.findall(prose(name)):
        if link.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / name).parent / path if path else ROOT / name
        assert target.exists(), f"{name} links to {link}, which is not there"
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), f"{name} links to {link}"


@pytest.mark.parametrize("name", NAMES)
def test_commands_and_verbs_that_are_named_exist(name: str) -> None:
    known = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    named = set(re.findall(r"`sightweave ([a-z][a-z_-]*)", prose(name)))
    assert named <= known
    verbs = set(re.findall(r"\bsightweave\.([a-z_]+)\(", page(name)))
    assert verbs <= set(sightweave.__all__)


def defined(tree: ast.AST) -> set[str]:
    """Names of functions, classes and methods (``Class.method``) of a module."""
    names = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
            if isinstance(node, ast.ClassDef):
                names |= {f"{node.name}.{inner}" for inner in defined(node)}
    return names


@pytest.mark.parametrize("name", [name for name in NAMES if name not in GENERATED])
def test_files_and_functions_that_are_named_exist(name: str) -> None:
    here = {block.file for block in fences(page(name)) if block.file}
    for path, function in re.findall(r"`([\w./-]+\.(?:py|yaml|md|toml))(?:::([\w.]+))?`", prose(name)):
        places = [ROOT / path, PACKAGE / path, ROOT / "docs" / path]
        places += [] if "/" in path else PACKAGE.rglob(path)
        place = next((place for place in places if place.exists()), None)
        if place is None:
            # Pages speak of files that they write themselves, and of those in the folder of a run.
            assert path in here or path in {"recipe.yaml"}, f"{name} names {path}, which is not there"
        elif function:
            known = defined(ast.parse(place.read_text(encoding="utf-8")))
            assert function in known, f"{name} names {function} of {path}"


def generator() -> Any:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", sorted(GENERATED))
def test_generated_pages_are_up_to_date(name: str) -> None:
    assert page(name) == generator().pages()[name], "run: python docs/generate.py"


def test_the_site_shows_full_docstrings_of_every_public_module_once() -> None:
    made = generator()
    shown = []
    for room in made.ROOMS:
        shown += re.findall(r"^::: ([\w.]+)$", made.on_page_markdown(made.reference(room)), re.MULTILINE)
    assert len(shown) == len(set(shown))
    # Modules without a public function or class have nothing to show.
    for path in PACKAGE.rglob("*.py"):
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        public = [one for one in defined(tree) if not one.rpartition(".")[2].startswith("_")]
        is_private = "._" in name.removesuffix("._base")
        assert (name in shown) == bool(public and not is_private), name


def test_every_page_is_in_the_navigation() -> None:
    listed = set(re.findall(r"[\w/.-]+\.md", page("mkdocs.yml")))
    assert listed == {name.removeprefix("docs/") for name in NAMES if name.startswith("docs/")}


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_the_readme_shows_the_matrix_that_the_command_prints(name: str) -> None:
    pairs = api.pairs()
    models = list(dict.fromkeys(model for _, model in pairs))
    says = {"README.md": {"generates": "generates", "classifies": "classifies"}}
    words = says.get(name, {"generates": "生成", "classifies": "分类"}) | {"": "-"}
    for fusion in dict.fromkeys(fusion for fusion, _ in pairs):
        row = " | ".join(words[pairs[fusion, model]] for model in models)
        assert f"| `{fusion}` | {row} |" in page(name)
    for family in ("encoders", "connectors", "fusions", "language_models"):
        for kind in api.kinds(family):
            assert f"`{kind}`" in page(name)


RECIPE = re.compile(r"recipes/(\w+)\.yaml")


def test_the_page_on_recipes_lists_every_recipe() -> None:
    table = [line for line in page("docs/how-to/recipes.md").splitlines() if line.startswith("| `recipes/")]
    listed = [RECIPE.findall(line.split("|")[1]) for line in table]
    assert sorted(itertools.chain(*listed)) == sorted(path.stem for path in (ROOT / "recipes").glob("*.yaml"))


@pytest.mark.parametrize(
    "name", [name for name in NAMES if name.startswith("docs/") and name not in GENERATED]
)
def test_a_page_runs_the_recipes_that_it_speaks_of(name: str) -> None:
    said = set(RECIPE.findall(prose(name)))
    run = {found for block in fences(page(name)) for found in RECIPE.findall(block.text)}
    assert not said or run <= said, f"{name} runs {sorted(run - said)} and speaks of {sorted(said)}"


def test_each_old_name_is_in_the_table_of_old_names() -> None:
    section = page("docs/how-to/recipes.md").partition("## Old names\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(?:kind: )?([^`]*)`.*\| `(?:kind: )?([^`]*)` \|$", section, flags=re.MULTILINE)
    shown = sorted((old.rpartition(".")[2], new) for old, new in rows)
    tables = [*old_names.NAMES.values(), *old_names.KINDS.values(), old_names.OPTIONS]
    assert shown == sorted(pair for names in tables for pair in names.items())


def other_trainers() -> list[tuple[str, set[str]]]:
    """The rows of "If you know another trainer": what is here, and the words for it elsewhere."""
    text = (
        page("docs/how-to/recipes.md").partition("## If you know another trainer\n")[2].partition("\n## ")[0]
    )
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")][2:]
    return [(here.strip(), set(re.findall(r"`(\w+)`", "".join(there)))) for here, *there in rows]


def test_the_table_of_other_trainers_names_settings_and_options_that_exist() -> None:
    rows = other_trainers()
    assert len(rows) > 30
    recipe = api.read_recipe("own", ["data=.", "data.0.limit=1"])
    train = typer.main.get_command(app).commands["train"]  # type: ignore[attr-defined]
    options = {option for parameter in train.params for option in parameter.opts}
    for here, _ in rows:
        name = here.strip("`")
        if name.startswith("--"):
            assert name in options
        elif here.startswith("`"):
            found: Any = recipe.to_plain()
            for step in name.split("."):
                found = found[int(step)] if step.isdecimal() else found[step]


def test_an_error_leads_from_each_word_of_another_trainer_to_its_row() -> None:
    for here, words in other_trainers():
        name = here.strip("`")
        for word in words - {name.rpartition(".")[2]}:  # a word that is the same needs no hint
            hint = foreign_words.hint(word)
            assert name in hint or (here == "nothing to set" and word in foreign_words.NOTES), word


GAP = "\0"
"""What stands in a message's template where a value comes."""


def templates() -> set[str]:
    """Every text of the source, with a gap for each value that is put in."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                pieces = [str(one.value) if isinstance(one, ast.Constant) else GAP for one in node.values]
                found.add("".join(pieces))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(re.sub(r"%[sd]", GAP, node.value))
    return found


def is_a_message(quote: str, template: str) -> bool:
    """Whether a text of the source says what a page quotes; each ``...`` of the page stands for values."""
    wanted = f"{GAP}*".join(re.escape(piece) for piece in quote.split("..."))
    return re.search(wanted, template) is not None


def test_quoted_messages_are_those_of_the_source() -> None:
    known = templates()
    blocks = fences(page("docs/troubleshooting.md"))
    quotes = [block.text.strip("\n") for block in blocks if {"error", "warning"} & {*block.words}]
    assert len(quotes) > 25
    unknown = [quote for quote in quotes if not any(is_a_message(quote, one) for one in known)]
    assert unknown == []


def test_the_page_on_parts_shows_measured_figures_only() -> None:
    measured = page("docs/results.md") + page("docs/lab/recipe.md") + page("docs/lab/measured-once.md")
    shown = set(re.findall(r"(?<![\d.])\d+\.\d+|\b\d{3,}\b", page("docs/how-to/choose-parts.md")))
    assert len(shown) > 20
    assert {one for one in shown if not re.search(rf"(?<![\d.]){re.escape(one)}(?![\d])", measured)} == set()


def test_the_page_on_data_names_every_format() -> None:
    named = set(re.findall(r"`(\w+)`", page("docs/how-to/data.md")))
    assert set(api.kinds("datasets")) - named - {"scenes"} == set()
