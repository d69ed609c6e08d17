"""Against Transformers' tokenizers: equal ids, except that nothing in a text is special."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from sightweave.core.errors import CheckpointError
from sightweave.data.inputs import pretrained_tokenizer
from sightweave.data.inputs.tokenizer import StreamDecoder, Tokenizer

pytest.importorskip("transformers")
from parity import _checkpoints

KINDS = ("byte_level", "byte_fallback", "unigram", "word_pieces")
LETTERS = [
    *"abcdefgh  <|>/s_[]0123\n\t.,?!'\u00e9\u00f1\u72d7\u8f66\U0001f600\u1e82\u0301",
    *("<|im_end|>", "</s>", "<pad>", "<tool_call>", "[SEP]", "<s>", " the", " red", " \u2581"),
]


def texts() -> list[str]:
    """A thousand strings of ordinary and odd letters, and of special tokens spelt out."""
    rng = random.Random(0)
    odd = ["".join(rng.choice(LETTERS) for _ in range(rng.randrange(60))) for _ in range(1000)]
    return odd + _checkpoints.TEXTS[:5]


@pytest.fixture(scope="module", params=KINDS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Tokenizer, Any]:
    folder = tmp_path_factory.mktemp(request.param)
    _checkpoints.llama(folder)
    theirs = getattr(_checkpoints, request.param)(folder)
    return pretrained_tokenizer.read(folder, 50), theirs


def test_equal_ids(pair: tuple[Tokenizer, Any]) -> None:
    ours, theirs = pair
    special = {name for name in theirs.all_special_tokens if name != theirs.unk_token}
    plain = [text for text in texts() if not any(name in text for name in theirs.all_special_tokens)]
    assert len(plain) > 300
    for text in plain:
        assert ours.encode(text) == theirs(text, add_special_tokens=False)["input_ids"], text
    ids_of_special = set(theirs.convert_tokens_to_ids(sorted(special)))
    for text in set(texts()) - set(plain):
        assert not ids_of_special & set(ours.encode(text)), text


def test_equal_texts(pair: tuple[Tokenizer, Any]) -> None:
    ours, theirs = pair
    if theirs.backend_tokenizer.decoder.__class__.__name__ == "WordPiece":
        pytest.skip("WordPiece loses the spaces before marks; a classifier writes no text")
    for text in _checkpoints.TEXTS[:5]:
        ids = ours.encode(text)
        assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True)
        stream = StreamDecoder(ours)
        assert "".join([*map(stream.push, ids), stream.close()]) == ours.decode(ids)


def test_special_tokens_of_ours_follow_theirs(pair: tuple[Tokenizer, Any]) -> None:
    ours, theirs = pair
    for name in theirs.all_special_tokens:
        assert ours.marked_ids(name) == [theirs.convert_tokens_to_ids(name)]
    added = {ours.image_id, *ours.before_image_ids, *ours.after_image_ids}
    assert min(added) >= len(theirs)
    assert ours.vocab_size % 64 == 0
    assert max(added) < ours.vocab_size
    assert ours.decode([*added, ours.end_id, ours.vocab_size - 1]) == ""


def test_saved_and_loaded(pair: tuple[Tokenizer, Any], tmp_path: Path) -> None:
    ours, _ = pair
    ours.save(tmp_path)
    again = Tokenizer.load(tmp_path, ours.template, ours.vocab_size)
    for text in texts()[::20]:
        assert again.encode(text) == ours.encode(text)
    assert again.speak_ids == ours.speak_ids
    assert again.vocab_size == ours.vocab_size


def test_turns_are_those_of_the_chat_template(tmp_path: Path) -> None:
    _checkpoints.llama(tmp_path)
    theirs = _checkpoints.byte_level(tmp_path)
    ours = pretrained_tokenizer.read(tmp_path, 50)
    asked = [
        {"role": "user", "content": "What is left of the dog?"},
        {"role": "assistant", "content": "a car"},
        {"role": "user", "content": "Which colour?"},
    ]
    expected = theirs.apply_chat_template(asked, add_generation_prompt=True)["input_ids"]
    said = [
        *ours.start_ids,
        *ours.encode("What is left of the dog?"),
        *ours.speak_ids,
        *ours.encode("a car"),
        ours.end_id,
        *ours.again_ids,
        *ours.encode("Which colour?"),
        *ours.speak_ids,
    ]
    assert said == expected


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ messages[0]['content'] }}", "the user text 0 times"),  # one turn only
        ("{{ raise_exception('no') }}", "TemplateError: no"),
        ("{% for m in messages %}{{ m.nothing.further }}{% endfor %}", "UndefinedError"),
        ("{{ messages.__class__.__mro__ }}", "SecurityError"),  # reaches out of its sandbox
        ("{% if %}", "not valid Jinja"),
        ("{% for m in messages %}{{ m['content'] | upper }}{% endfor %}", "inserting the texts gives"),
        ("{% for m in messages %}{{ m['content'] * 2 }}{% endfor %}", "2 times instead of 1"),
        (
            "{% for m in messages %}{{ m['content'] }}<|im_end|>{% endfor %}"
            "{% if add_generation_prompt %}Now{% endif %}",
            "its prompt is",
        ),
    ],
)
def test_a_chat_template_that_cannot_be_followed_is_refused(
    template: str, reason: str, tmp_path: Path
) -> None:
    _checkpoints.llama(tmp_path)
    _checkpoints.byte_level(tmp_path)
    (tmp_path / "chat_template.jinja").write_text(template)
    with pytest.raises(CheckpointError, match="cannot be reproduced exactly") as caught:
        pretrained_tokenizer.read(tmp_path, 50)
    assert reason in str(caught.value)
