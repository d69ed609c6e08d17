"""YAML in, settings over it, every mistake at once, YAML out."""

from __future__ import annotations

import os
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any

import pytest
import yaml

from sightweave.core import config as configs
from sightweave.core.config import build, config, kind_of, one_of, override, parse_yaml, read_yaml, to_plain
from sightweave.core.errors import RecipeError


@config
class Inner:
    rate: float = 0.1
    steps: int = 3


@config
class Outer:
    fusion: Annotated[Any, one_of("models.fusions")]
    inner: Inner = field(default_factory=Inner)
    many: tuple[Inner, ...] = ()
    name: str = ""


def test_a_kind_is_a_word_or_a_mapping() -> None:
    short = build(Outer, {"fusion": "concat"})
    long = build(Outer, {"fusion": {"kind": "concat", "bidirectional": "none"}})
    assert kind_of(short.fusion) == kind_of(long.fusion) == "concat"
    assert short.fusion.bidirectional == "image"
    assert long.fusion.bidirectional == "none"
    assert build(Outer, to_plain(long)) == long
    assert build(Outer, {"fusion": long.fusion}) == long


def test_numbers_that_yaml_reads_as_words_are_numbers() -> None:
    values = parse_yaml("fusion: concat\ninner: {rate: 3e-4}", where="here")
    assert values["inner"]["rate"] == "3e-4"
    assert build(Outer, values).inner.rate == 3e-4


def test_all_mistakes_come_at_once_with_their_places() -> None:
    with pytest.raises(RecipeError) as caught:
        build(
            Outer,
            {"fusion": "concatt", "inner": {"rate": "fast", "stepz": 3}, "many": [{"steps": 1.5}]},
            where="my.yaml",
        )
    message = str(caught.value)
    assert message.startswith("my.yaml: 4 mistake(s)")
    assert "fusion: no fusions kind 'concatt'. Did you mean 'concat'?" in message
    assert "inner.rate: " in message
    assert "(got 'fast')" in message
    assert "inner.stepz: unknown key (got 3). Did you mean 'steps'? Known: rate, steps." in message
    assert "many.0.steps: " in message
    assert "(got 1.5)" in message


def test_a_missing_field_is_named() -> None:
    with pytest.raises(RecipeError, match="fusion: missing; set it in the recipe"):
        build(Outer, {})


@pytest.mark.parametrize("value", [None, 3, [], {"every": 2}])
def test_a_field_without_a_kind_is_refused(value: Any) -> None:
    with pytest.raises(RecipeError, match=r"fusion: needs a kind, such as \{kind: addition\}"):
        build(Outer, {"fusion": value})


def test_infinity_is_no_rate() -> None:
    with pytest.raises(RecipeError, match=r"inner\.rate: .*finite"):
        build(Outer, {"fusion": "concat", "inner": {"rate": float("inf")}})


def test_settings_change_what_they_name() -> None:
    values = {"fusion": {"kind": "cross_attention", "every": 2}, "many": [{"steps": 1}, {"steps": 2}]}
    changed = override(
        values, ["inner.rate=0.5", "many.1.steps=7", "fusion.every=3", "name=a=b", "many.0={steps: 9}"]
    )
    assert changed["inner"] == {"rate": 0.5}
    assert changed["many"] == [{"steps": 9}, {"steps": 7}]
    assert changed["fusion"] == {"kind": "cross_attention", "every": 3}
    assert changed["name"] == "a=b"
    assert values == {"fusion": {"kind": "cross_attention", "every": 2}, "many": [{"steps": 1}, {"steps": 2}]}


def test_another_kind_drops_the_fields_of_the_old_one() -> None:
    values = {"fusion": {"kind": "cross_attention", "every": 2}}
    assert override(values, ["fusion.kind=concat"]) == {"fusion": {"kind": "concat"}}
    assert override(values, ["fusion.kind=cross_attention"]) == values
    assert override(values, ["fusion=concat"]) == {"fusion": "concat"}
    assert override({"fusion": "concat"}, ["fusion.bidirectional=none"]) == {
        "fusion": {"kind": "concat", "bidirectional": "none"}
    }


@pytest.mark.parametrize("setting", ["title=2020-99-99", "title=[1, 2", "title={a: b: c}", "title=@home"])
def test_what_is_no_yaml_is_text(setting: str) -> None:
    assert override({}, [setting])["title"] == setting.partition("=")[2]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("fusion", "written path=value"),
        ("=3", "written path=value"),
        ("name.deeper.yet=3", "'deeper' holds|has no fields"),
        ("many.5.steps=1", "'5' is not an index of a list of length 1"),
        ("many.first.steps=1", "'first' is not an index of a list of length 1"),
        ("many.\u00b2.steps=1", "'\u00b2' is not an index of a list of length 1"),
        ("count.x=1", "'count' is 3, which has no fields"),
    ],
)
def test_a_wrong_setting_is_refused(setting: str, words: str) -> None:
    values = {"name": {"deeper": 3}, "many": [{"steps": 1}], "count": 3}
    with pytest.raises(RecipeError, match=words):
        override(values, [setting])


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("fusion: concat\nname: Größe", encoding="utf-8")
    assert read_yaml(path) == {"fusion": "concat", "name": "Größe"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1, 2", "not valid YAML"),
        ("- 1\n- 2", "a mapping of keys to values \\(got list\\)"),
        ("", "a mapping of keys to values \\(got NoneType\\)"),
        ("a: &x [1]\nb: *x", "aliases .* are not allowed"),
        ("a: 2020-99-99", "not valid YAML: month must be"),
        ("a: " + "[" * 5000, "nested deeper than 32 levels"),
        ("a: " + "[" * 33 + "]" * 33, "nested deeper than 32 levels"),
        ("a: [" + "1," * 100_001 + "]", "more than 100000 values"),
        ("seed: 1\nb: 2\nseed: 3", "'seed' appears twice, in line 1 and in line 3; remove one of them"),
        ("a:\n  b: 1\n  b: 1", "'b' appears twice, in line 2 and in line 3"),
        ("a: [{b: 1, b: 2}]", "'b' appears twice, in line 1;"),
        ("1: a\ntrue: b", "'true' appears twice"),
        ("a: !!python/object/apply:os.system [ls]", "not valid YAML"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError, match=words) as caught:
        read_yaml(path)
    assert "wrong.yaml" in str(caught.value)


def test_a_missing_a_large_and_a_foreign_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r": recipe file not found\."):
        read_yaml(tmp_path / "none.yaml")
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * (configs.MAX_BYTES + 1))
    with pytest.raises(
        RecipeError, match=f"{configs.MAX_BYTES + 1} bytes; the maximum is {configs.MAX_BYTES}"
    ):
        read_yaml(large)
    foreign = tmp_path / "foreign.yaml"
    foreign.write_bytes("a: Größe".encode("latin-1"))
    with pytest.raises(RecipeError, match="not UTF-8 at byte 5"):
        read_yaml(foreign)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_and_a_folder_are_no_recipes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(RecipeError, match="a named pipe; a regular file is needed"):
        read_yaml(tmp_path / "pipe.yaml")
    with pytest.raises(RecipeError, match=r": recipe file not found\."):
        read_yaml(tmp_path)


def test_a_setting_with_a_key_twice_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"model\.fusion: 'dim' appears twice"):
        override({}, ["model.fusion={dim: 1, dim: 2}"])
    assert override({}, ["title=*star", "seed=1", "seed=2"]) == {"title": "*star", "seed": 2}


def test_what_is_written_loads_back_equal() -> None:
    made = build(Outer, {"fusion": "bilinear", "many": [{"rate": 1}, {}], "name": "x"})
    text = yaml.safe_dump(to_plain(made))
    assert build(Outer, parse_yaml(text, where="there")) == made
    assert to_plain({"path": Path("a") / "b", 1: (2,)}) == {"path": "a/b", "1": [2]}


def test_a_users_own_kind_is_named_by_its_dotted_path() -> None:
    assert kind_of(Inner()) == __name__


def test_a_list_may_be_written_short() -> None:
    assert override({"data": "scenes"}, ["data.0.seed=1"]) == {"data": [{"kind": "scenes", "seed": 1}]}
    assert override({"data": {"kind": "own"}}, ["data.0.limit=2"]) == {"data": [{"kind": "own", "limit": 2}]}
    assert override({"data": ["scenes", "b"]}, ["data.1.x=2"]) == {"data": ["scenes", {"kind": "b", "x": 2}]}
