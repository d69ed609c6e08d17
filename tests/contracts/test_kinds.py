"""What every kind of every family keeps: a file that says what it is, and a Config that loads back equal."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from typing import Annotated, Any

import pytest

from sightweave.core import catalog
from sightweave.core.config import build, config, kind_of, one_of, to_plain
from sightweave.core.errors import RecipeError

FAMILIES = (
    "models.encoders",
    "models.connectors",
    "models.image_tokenizers",
    "models.fusions",
    "models.language_models",
    "data.inputs.media",
    "data.tasks",
    "data.datasets",
    "answers.decoding",
    "answers.explainers",
    "answers.writers",
    "answers.metrics",
    "programs.predictors",
    "programs.training.trackers",
)
KINDS = [(family, kind) for family in FAMILIES for kind in catalog.kinds(family)]
CONFIGURED = [pair for pair in KINDS if hasattr(catalog.module(*pair), "Config")]
_NEEDED: dict[str, Any] = {
    "path": "a-folder",
    "url": "http://localhost:1/v1",
    "folder": "a-folder-that-is-gone",
    "transform": {"size": 16},
    "judge": "a-run",
    "features": "a-run",
}
"""Values for fields that have no default."""
_KNOWN: dict[str, Any] = {"config": {"model_type": "gpt2", "architecture": "resnet10t"}}
"""Values for fields that would else be read from the folder."""


def made(cls: Any) -> Any:
    required = [
        field.name
        for field in dataclasses.fields(cls)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    read = _KNOWN if "folder" in required else {}
    return cls(**{name: _NEEDED[name] for name in required} | read)


def holder(family: str) -> Any:
    """A recipe with one field, for any kind of a family."""
    return config(type("Holder", (), {"__annotations__": {"part": Annotated[Any, one_of(family)]}}))


def test_every_family_has_kinds() -> None:
    assert all(catalog.kinds(family) for family in FAMILIES)


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "answers.metrics"])
def test_every_kind_has_a_config(family: str) -> None:
    assert [kind for kind in catalog.kinds(family) if (family, kind) not in CONFIGURED] == []


@pytest.mark.parametrize(("family", "kind"), KINDS)
def test_the_file_opens_with_a_sentence(family: str, kind: str) -> None:
    first = catalog.summary(family, kind)
    assert first[:1].isupper()
    assert first.endswith(".")
    assert first.isascii()


@pytest.mark.parametrize(("family", "kind"), CONFIGURED)
def test_every_field_of_the_config_is_explained(family: str, kind: str) -> None:
    module = catalog.module(family, kind)
    tree = ast.parse(inspect.getsource(module))
    (body,) = [node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Config"]
    assert ast.get_docstring(ast.Module(body, []))
    for position, node in enumerate(body):
        if isinstance(node, ast.AnnAssign) and "ClassVar" not in ast.unparse(node.annotation):
            follows = body[position + 1] if position + 1 < len(body) else None
            text = follows.value if isinstance(follows, ast.Expr) else None
            assert isinstance(text, ast.Constant), f"{kind}.{ast.unparse(node.target)} has no docstring"
            assert str(text.value).rstrip().endswith((".", ".)"))


@pytest.mark.parametrize(("family", "kind"), CONFIGURED)
def test_the_config_is_frozen_and_keyword_only_and_loads_back_equal(family: str, kind: str) -> None:
    cls = module_config = catalog.config_class(family, kind)

    recipe = holder(family)
    value = made(cls)
    plain = to_plain(recipe(part=value))
    assert plain["part"]["kind"] == kind == kind_of(value)
    assert build(recipe, plain) == recipe(part=value)
    assert type(build(recipe, plain).part) is module_config
    for field in dataclasses.fields(cls):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, field.name, getattr(value, field.name))
    if dataclasses.fields(cls):
        with pytest.raises(ValueError, match="positional"):
            cls("word")


@pytest.mark.parametrize(("family", "kind"), CONFIGURED)
def test_an_unknown_field_is_refused(family: str, kind: str) -> None:
    recipe = holder(family)
    with pytest.raises(RecipeError, match=r"no_such_field.*unknown key"):
        build(recipe, {"part": {"kind": kind, "no_such_field": 1}})


@pytest.mark.parametrize("family", FAMILIES)
def test_a_misspelt_kind_names_the_nearest(family: str) -> None:
    kind = catalog.kinds(family)[0]
    with pytest.raises(RecipeError, match=f"Did you mean '{kind}'"):
        catalog.module(family, kind + "x")
