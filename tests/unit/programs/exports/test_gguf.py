"""Which tokenizers llama.cpp knows, and what is needed to ask it; tests/foreign asks the real one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from tokenizers import pre_tokenizers

import sightweave
from sightweave.core import from_transformers
from sightweave.core.errors import BackendError, ExportError
from sightweave.core.gguf import CUTS
from sightweave.programs.exports import gguf

BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def content(*steps: Any) -> dict[str, Any]:
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    if steps:
        made.pre_tokenizer = steps[0] if len(steps) == 1 else pre_tokenizers.Sequence(list(steps))
    return json.loads(made.to_str())  # type: ignore[no-any-return]  # an object


def split(pattern: str) -> Any:
    return pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")


@pytest.mark.parametrize(
    ("steps", "name"),
    [
        ((pre_tokenizers.ByteLevel(add_prefix_space=False),), "gpt-2"),
        (
            (pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)),
            "smollm",
        ),
        ((split(*CUTS["llama-bpe"]), BYTES), "llama-bpe"),
        ((split(*CUTS["qwen2"]), BYTES), "qwen2"),
    ],
)
def test_ways_of_cutting_are_recognised(steps: tuple[Any, ...], name: str) -> None:
    assert gguf.cuts_as(content(*steps)) == name


@pytest.mark.parametrize("name", CUTS)
def test_what_a_gguf_file_is_read_as_is_what_it_is_written_from(name: str) -> None:
    steps = from_transformers._pre_tokenizer(CUTS[name])
    made = tokenizers.Tokenizer.from_str(json.dumps(content() | {"pre_tokenizer": steps}))
    assert gguf.cuts_as(json.loads(made.to_str())) == name
    pieces = [piece for piece, _ in made.pre_tokenizer.pre_tokenize_str("in 1987")]
    assert len(pieces) == {"gpt-2": 2, "llama-bpe": 4, "qwen2": 6, "smollm": 6}[name]


@pytest.mark.parametrize(
    "steps",
    [
        (split(r"\d"), BYTES),
        (pre_tokenizers.ByteLevel(add_prefix_space=True),),
        (pre_tokenizers.Digits(individual_digits=False), pre_tokenizers.ByteLevel(add_prefix_space=False)),
        (pre_tokenizers.Whitespace(),),
        (),  # SentencePiece's way
    ],
)
def test_other_ways_are_refused(steps: tuple[Any, ...]) -> None:
    with pytest.raises(ExportError, match=r"llama\.cpp has no tokenizer that splits text by"):
        gguf.cuts_as(content(*steps))


def test_without_the_converter_it_says_what_to_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LLAMA_CPP", raising=False)
    recipe = {
        "data": [{"kind": "scenes", "size": 4}],
        "model": {
            "encoder": {
                "kind": "vit",
                "image_size": 16,
                "patch_size": 8,
                "dim": 16,
                "depth": 1,
                "num_heads": 2,
            },
            "connector": "linear",
            "fusion": "concat",
            "language_model": {"kind": "decoder_only", "dim": 16, "depth": 1, "num_heads": 2},
        },
        "train": {"stages": [{"steps": 1}]},
    }
    run = sightweave.build(recipe)
    with pytest.raises(BackendError, match=r"git clone https://github\.com/ggml-org/llama\.cpp"):
        sightweave.export(run, to="gguf", out=tmp_path / "out")
