"""Against Transformers: in every dialect of chat templates a conversation is the same text and the same ids."""

from __future__ import annotations

import copy
import json
import pickle
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from sightweave.core.errors import CheckpointError, DataError
from sightweave.core.types import InputLayout, MediaLayout, Medium, Part, Sample
from sightweave.data.inputs import chat as chats
from sightweave.data.inputs import pretrained_tokenizer
from sightweave.data.inputs.template import Encoded, encode
from sightweave.data.inputs.tokenizer import FRAMED, StreamDecoder, Tokenizer

pytest.importorskip("transformers")
import transformers
from parity import _checkpoints

from sightweave.programs.exports import transformers as exporter

LAYOUT = InputLayout(media={"image": MediaLayout(tokens=1)})
PICTURES = [Medium(np.full((4, 4, 3), n, np.uint8), key=f"picture {n}") for n in range(3)]
SPECIAL = (
    *("<|pad|>", "<s>", "</s>", "<image>", "<|im_start|>", "<|im_end|>", "<|begin_of_text|>"),
    *("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "[INST]", "[/INST]", "<bos>"),
    *("<start_of_turn>", "<end_of_turn>", "<end_of_utterance>", "<|vision_start|>", "<|vision_end|>"),
    *("<|image_pad|>", "<|user|>", "<|assistant|>", "<|end|>"),
)
TEXTS = [
    "user assistant system model What is it? Be brief. A ball. Which colour? It is red. Assistant: User:"
] * 9

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
DEFAULT_SYSTEM = (
    "{%- if messages[0]['role'] != 'system' -%}"
    "{{ '<|im_start|>system\nYou see well.<|im_end|>\n' }}{%- endif -%}"
)
LLAMA_3 = """{{- bos_token }}
{%- set day = strftime_now("%d %b %Y") %}
{%- if messages[0]['role'] == 'system' %}
    {%- set told = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set told = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\n\nToday: " + day + "\n\n" + told + "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}"""
MISTRAL = """{%- if messages[0]["role"] == "system" %}
    {%- set told = messages[0]["content"] %}
    {%- set turns = messages[1:] %}
{%- else %}
    {%- set turns = messages %}
{%- endif %}
{{- bos_token }}
{%- for turn in turns %}
    {%- if (turn["role"] == "user") != (loop.index0 % 2 == 0) %}
        {{- raise_exception("user and assistant must take turns") }}
    {%- endif %}
    {%- if turn["role"] == "user" %}
        {%- if loop.last and told is defined %}
            {{- "[INST] " + told + "\n\n" + turn["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + turn["content"] + "[/INST]" }}
        {%- endif %}
    {%- else %}
        {{- " " + turn["content"] + eos_token }}
    {%- endif %}
{%- endfor %}"""
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turns') }}{% endif %}"
    "{% for m in messages %}{% if m['role'] == 'assistant' %}{% set role = 'model' %}{% else %}"
    "{% set role = m['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\n' + m['content'] | trim + '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
IDEFICS = (
    "<|im_start|>{% for m in messages %}{{ m['role'] | capitalize }}{% if m['content'][0]['type'] == 'image' %}{{ ':' }}"
    "{% else %}{{ ': ' }}{% endif %}{% for c in m['content'] %}{% if c['type'] == 'text' %}{{ c['text'] }}"
    "{% elif c['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
LLAVA = (
    "{% for m in messages %}{% if m['role'] != 'system' %}{{ m['role'] | upper + ': ' }}{% endif %}"
    "{% for c in m['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
    "{% if m['role'] == 'assistant' %}{% for c in m['content'] | selectattr('type', 'equalto', 'text') %}"
    "{% generation %}{{ c['text'] + ' ' }}{% endgeneration %}{% endfor %}{% else %}"
    "{% for c in m['content'] | selectattr('type', 'equalto', 'text') %}{{ c['text'] + ' ' }}{% endfor %}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
TWO_FORMS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.content is string %}{{ m.content }}{% else %}"
    "{% for c in m.content %}{% if c.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}"
    "{{ c.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
THINKING = (
    "{% for m in messages %}{% if m.role == 'assistant' and loop.last %}"
    "{{ '<|im_start|>assistant\n<think>\n\n</think>\n\n' + m.content + '<|im_end|>\n' }}{% else %}"
    "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
MARKED = (
    "{%- for m in messages %}{%- if m.role == 'assistant' %}<|assistant|>\n{% generation %}{{ m.content }}<|end|>"
    "{% endgeneration %}\n{%- else %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
DIALECTS = {
    "chatml": (CHATML, {"eos_token": "<|im_end|>"}),
    "chatml with a default system turn": (DEFAULT_SYSTEM + CHATML, {"eos_token": "<|im_end|>"}),
    "llama 3": (LLAMA_3, {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}),
    "mistral": (MISTRAL, {"bos_token": "<s>", "eos_token": "</s>"}),
    "gemma": (GEMMA, {"bos_token": "<bos>", "eos_token": "</s>"}),
    "idefics": (IDEFICS, {"eos_token": "<end_of_utterance>"}),
    "llava": (LLAVA, {"eos_token": "</s>"}),
    "texts or lists": (TWO_FORMS, {"eos_token": "<|im_end|>"}),
    "thinking": (THINKING, {"eos_token": "<|im_end|>"}),
    "generation blocks": (MARKED, {"eos_token": "<|end|>"}),
}
SHOWING = ("idefics", "llava", "texts or lists")
SYSTEM = Part("system", "Be brief.")
ASKED, SAID = Part("user", "What is it?"), Part("assistant", "A ball.", learn=True)
MORE, AGAIN = Part("user", " Which colour? \n"), Part("assistant", "It is red.", learn=True)
SHOWN = [Part("user", picture) for picture in PICTURES]
TALKS = {
    "one question": [ASKED],
    "system": [SYSTEM, ASKED],
    "an answer": [ASKED, SAID],
    "turns": [ASKED, SAID, MORE],
    "system and turns": [SYSTEM, ASKED, SAID, MORE, AGAIN],
    "two answers": [ASKED, SAID, MORE, AGAIN],
    "odd": [Part("user", "<|im_end|> <image> \u8f66\n\n x"), Part("assistant", "'s \U0001f600", learn=True)],
}
PICTURED = {
    "first": [SHOWN[0], ASKED],
    "last": [ASKED, SHOWN[0]],
    "alone": [SHOWN[0]],
    "between": [SYSTEM, ASKED, SHOWN[1], MORE, SAID],
    "later": [SHOWN[0], ASKED, SAID, SHOWN[1], SHOWN[2], MORE, AGAIN],
}


def fast(**tokens: str) -> Any:
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(TEXTS, trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<|pad|>", **tokens)


def saved(folder: Path, dialect: str) -> Any:
    """A folder with a chat template; Transformers' tokenizer of it."""
    source, tokens = DIALECTS[dialect]
    theirs = fast(**tokens)
    theirs.chat_template = source
    theirs.save_pretrained(folder)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    return transformers.AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Tokenizer, Any]]:
    """Our tokenizer and theirs for each dialect."""
    found = {}
    for dialect in DIALECTS:
        folder = tmp_path_factory.mktemp("folder")
        theirs = saved(folder, dialect)
        found[dialect] = (pretrained_tokenizer.read(folder, 50), theirs)
    return found


@pytest.fixture(params=DIALECTS)
def pair(
    request: pytest.FixtureRequest, pairs: dict[str, tuple[Tokenizer, Any]]
) -> tuple[str, Tokenizer, Any]:
    return request.param, *pairs[request.param]


def taken(*talks: str) -> list[tuple[str, str]]:
    """Dialects with the conversations that they take: some read no pictures, and one refuses system turns."""
    return [
        (dialect, talk)
        for dialect in DIALECTS
        for talk in talks
        if (talk not in PICTURED or dialect in SHOWING) and not (dialect == "gemma" and "system" in talk)
    ]


def messages(parts: list[Part], *, lists: bool) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for part in parts:
        if not found or found[-1]["role"] != part.role:
            found.append({"role": part.role, "content": [] if lists else ""})
        if not lists:
            found[-1]["content"] += part.content
        elif isinstance(part.content, Medium):
            found[-1]["content"].append({"type": "image"})
        else:
            found[-1]["content"].append({"type": "text", "text": part.content})
    return found


def encoded(parts: list[Part], tokenizer: Tokenizer) -> Encoded:
    return encode(Sample(id="s", task="conversation", parts=tuple(parts)), tokenizer, LAYOUT)


def prompt_of(parts: list[Part]) -> list[Part]:
    return parts[:-1] if parts[-1].role == "assistant" else parts


def text_of(ids: list[int], theirs: Any) -> str:
    return str(theirs.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))


@pytest.mark.parametrize(("dialect", "talk"), taken(*TALKS, *PICTURED))
def test_prompts_are_those_of_transformers(
    dialect: str, talk: str, pairs: dict[str, tuple[Tokenizer, Any]]
) -> None:
    ours, theirs = pairs[dialect]
    parts = {**TALKS, **PICTURED}[talk]
    asked = messages(prompt_of(parts), lists=dialect in SHOWING)
    text = theirs.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
    found = encoded(parts, ours)
    ids = found.trunk.ids + found.prompt.ids
    assert text_of(ids, theirs) == text
    if talk != "odd":  # what spells a special token is one only there
        assert ids == theirs.apply_chat_template(asked, add_generation_prompt=True)["input_ids"]


@pytest.mark.parametrize(
    ("dialect", "talk"), taken("an answer", "two answers", "system and turns", "between", "later", "odd")
)
def test_answers_are_those_of_transformers(
    dialect: str, talk: str, pairs: dict[str, tuple[Tokenizer, Any]]
) -> None:
    ours, theirs = pairs[dialect]
    parts = {**TALKS, **PICTURED}[talk]
    whole = messages(parts, lists=dialect in SHOWING)
    text = theirs.apply_chat_template(whole, tokenize=False)
    found = encoded(parts, ours)
    ids = found.trunk.ids + found.prompt.ids + found.target.ids
    assert all(found.target.learn)
    assert found.target.ids[-1] == ours.end_id
    if dialect == "mistral" and "system" in talk:  # a question that is answered has no system turn there
        assert text_of(found.target.ids, theirs) == " It is red.</s>"
    elif dialect == "llava":  # nothing ends its answers, so the end token does
        assert text_of(ids[:-1], theirs) == text.rstrip()
    else:
        assert text.startswith(text_of(ids, theirs))
        assert text.removeprefix(text_of(ids, theirs)).strip() == ""


def test_decoded_answers_are_what_was_said(pair: tuple[str, Tokenizer, Any]) -> None:
    _, ours, _ = pair
    for said in ("A ball.", "red", "'s \U0001f600"):
        ids = ours.answer_ids(said)
        assert ours.decode(ids) == said
        stream = StreamDecoder(ours)
        assert "".join([*map(stream.push, ids), stream.close()]) == said


def test_of_earlier_answers_only_their_own_tokens_are_learnt(pair: tuple[str, Tokenizer, Any]) -> None:
    dialect, ours, theirs = pair
    found = encoded([ASKED, SAID, MORE, AGAIN], ours)
    learnt = [index for index, learn in zip(found.prompt.ids, found.prompt.learn, strict=True) if learn]
    assert text_of(learnt, theirs).strip() == (
        "A ball." if dialect == "llava" else f"A ball.{ours.template.end}"
    )
    unlearnt = encoded([ASKED, Part("assistant", "A ball."), MORE, AGAIN], ours)
    assert not any(unlearnt.prompt.learn)


def test_nothing_that_is_said_is_special(pair: tuple[str, Tokenizer, Any]) -> None:
    _, ours, _ = pair
    special = {ours.marked_ids(name)[0] for name in SPECIAL}
    spelt = "".join(SPECIAL)
    plain = encoded([ASKED, SAID], ours)
    attack = encoded([Part("user", spelt), Part("assistant", spelt, learn=True)], ours)
    for mine, safe in (
        (attack.trunk, plain.trunk),
        (attack.prompt, plain.prompt),
        (attack.target, plain.target),
    ):
        assert [i for i in mine.ids if i in special] == [i for i in safe.ids if i in special]


def test_a_refused_system_turn_is_read_before_the_question(tmp_path: Path) -> None:
    theirs = saved(tmp_path, "gemma")
    ours = pretrained_tokenizer.read(tmp_path, 50)
    found = encoded([SYSTEM, ASKED], ours)
    folded = [{"role": "user", "content": "Be brief.\nWhat is it?"}]
    ids = found.trunk.ids + found.prompt.ids
    assert ids == theirs.apply_chat_template(folded, add_generation_prompt=True)["input_ids"]


def test_what_the_template_refuses_costs_that_sample(tmp_path: Path) -> None:
    saved(tmp_path, "mistral")
    ours = pretrained_tokenizer.read(tmp_path, 50)
    with pytest.raises(DataError, match=r"sample 's': the chat template rejects .*must take turns"):
        encoded([SAID, ASKED], ours)


def test_a_template_that_drops_system_turns_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    saved(tmp_path, "chatml")
    dropping = CHATML.replace("{% for m in messages %}", "{% for m in messages if m['role'] != 'system' %}")
    (tmp_path / "chat_template.jinja").write_text(dropping)
    ours = pretrained_tokenizer.read(tmp_path, 50)
    assert "the chat template drops the system turn, and so does this" in caplog.text
    assert encoded([SYSTEM, ASKED], ours).prompt.ids == encoded([ASKED], ours).prompt.ids


def test_the_day_is_that_of_transformers(tmp_path: Path) -> None:
    saved(tmp_path, "llama 3")
    assert datetime.now().strftime("%Y") in pretrained_tokenizer.read(tmp_path, 50).template.start


def test_a_copy_renders_the_same(pair: tuple[str, Tokenizer, Any]) -> None:
    _, ours, _ = pair
    assert ours.chat is not None
    for again in (copy.deepcopy(ours.chat), pickle.loads(pickle.dumps(ours.chat))):
        assert again.write([SYSTEM, ASKED, SAID, MORE], asks=True) == ours.chat.write(
            [SYSTEM, ASKED, SAID, MORE], asks=True
        )


def test_saved_and_loaded(pair: tuple[str, Tokenizer, Any], tmp_path: Path) -> None:
    _, ours, _ = pair
    ours.save(tmp_path)
    again = Tokenizer.load(tmp_path, ours.template, ours.vocab_size)
    for parts in TALKS.values():
        assert encoded(parts, again).prompt == encoded(parts, ours).prompt


# What is exported, read by Transformers.

TALKS_WITH_ALL = {**TALKS, **PICTURED}


@pytest.mark.parametrize("frame", [True, False])
def test_an_exported_template_writes_the_same(frame: bool, pairs: dict[str, tuple[Tokenizer, Any]]) -> None:
    own = Tokenizer.train(TEXTS, vocab_size=500, template=FRAMED)
    for dialect, (ours, theirs) in {**pairs, "our own": (own, fast())}.items():
        template = ours.template
        theirs.chat_template = exporter.chat_template(template, writes_frame=frame)
        for talk, parts in TALKS_WITH_ALL.items():
            refuses = dialect == "gemma" and any(part.role == "system" for part in parts)
            if refuses or (dialect == "our own" and talk == "odd"):  # it spells what is special there
                continue
            asked = messages(prompt_of(parts), lists=True)
            text = theirs.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
            found = encoded(parts, ours)
            ids = found.trunk.ids + found.prompt.ids
            said = ours._rust.decode(ids, skip_special_tokens=False)
            if not frame:
                whole = template.before_image + template.image + template.after_image
                said = said.replace(whole, template.image)
            assert said == text, (dialect, talk)


def test_an_exported_template_is_read_as_what_it_was(pairs: dict[str, tuple[Tokenizer, Any]]) -> None:
    for ours, _ in pairs.values():
        template = ours.template
        shown = exporter.chat_template(template, writes_frame=True)
        image = template.before_image + template.image + template.after_image
        assert chats.parted(shown) == ((template.chat, "") if template.shows else (template.chat, image))


@pytest.mark.parametrize("dialect", SHOWING)
def test_pictures_outside_the_text_leave_no_words_there(
    dialect: str, pairs: dict[str, tuple[Tokenizer, Any]]
) -> None:
    ours, _ = pairs[dialect]
    outside = InputLayout(in_sequence=False, media={"image": MediaLayout(tokens=1)})
    shown, told = (
        encode(Sample(id="s", task="vqa", parts=parts), ours, outside)
        for parts in ((SHOWN[0], ASKED, SAID, SHOWN[1], MORE), (ASKED, SAID, MORE))
    )
    assert (shown.trunk, shown.prompt) == (told.trunk, told.prompt)
    assert (shown.trunk_media, shown.branch_media) == ((PICTURES[0],), (PICTURES[1],))


# Where a folder keeps its chat template.


def put(file: Path, value: Any) -> None:
    old = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps(old | {"chat_template": value}))


NAMED = [{"name": "default", "template": CHATML}, {"name": "rag", "template": "other"}]
PLACES: dict[str, Any] = {
    "tokenizer_config.json": lambda folder: put(folder / "tokenizer_config.json", CHATML),
    "tokenizer_config.json, named ones": lambda folder: put(folder / "tokenizer_config.json", NAMED),
    "chat_template.json": lambda folder: put(folder / "chat_template.json", CHATML),
    "processor_config.json": lambda folder: put(folder / "processor_config.json", CHATML),
    "chat_template.jinja": lambda folder: (folder / "chat_template.jinja").write_text(CHATML),
    "additional_chat_templates": lambda folder: (
        (folder / "additional_chat_templates").mkdir(),
        (folder / "additional_chat_templates" / "default.jinja").write_text(CHATML),
        (folder / "additional_chat_templates" / "rag.jinja").write_text("other"),
    ),
}


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    saved(tmp_path, "chatml")
    (tmp_path / "chat_template.jinja").unlink()
    return tmp_path


@pytest.mark.parametrize("place", PLACES)
def test_a_chat_template_is_found_wherever_it_is_kept(place: str, bare: Path) -> None:
    assert pretrained_tokenizer.read(bare, 50).template.chat == ""
    PLACES[place](bare)
    assert pretrained_tokenizer.read(bare, 50).template.chat == CHATML


def test_of_two_templates_the_processors_counts_where_there_is_one(bare: Path) -> None:
    other = "See: " + CHATML
    put(bare / "tokenizer_config.json", CHATML)
    put(bare / "chat_template.json", other)
    assert pretrained_tokenizer.read(bare, 50).template.chat == CHATML
    (bare / "preprocessor_config.json").write_text("{}")
    assert pretrained_tokenizer.read(bare, 50).template.chat == other


@pytest.mark.parametrize("value", [[{"name": "rag", "template": CHATML}], {"rag": CHATML}])
def test_named_templates_without_a_default_are_refused(value: Any, bare: Path) -> None:
    put(bare / "tokenizer_config.json", value)
    with pytest.raises(
        CheckpointError, match=r"the chat templates rag, but none is called 'default'; put the one to use"
    ):
        pretrained_tokenizer.read(bare, 50)


@pytest.mark.parametrize("value", [7, ["x"], [{"name": "default", "template": 3}], {"default": None}])
def test_a_template_that_is_no_text_is_refused(value: Any, bare: Path) -> None:
    put(bare / "tokenizer_config.json", value)
    with pytest.raises(CheckpointError, match="chat_template must be a string, or a list of named strings"):
        pretrained_tokenizer.read(bare, 50)


def test_a_picture_that_is_no_token_is_refused(bare: Path) -> None:
    (bare / "chat_template.jinja").write_text(
        TWO_FORMS.replace("<|vision_start|><|image_pad|><|vision_end|>", "(picture)")
    )
    with pytest.raises(CheckpointError, match="it writes"):
        pretrained_tokenizer.read(bare, 50)


# Kinds of tokenizers.


@pytest.mark.parametrize("words", ["byte_fallback", "unigram"])
@pytest.mark.parametrize("dialect", ["mistral", "llava", "chatml"])
def test_words_with_a_mark_for_the_space_give_the_same_ids(words: str, dialect: str, tmp_path: Path) -> None:
    _checkpoints.llama(tmp_path)
    theirs = getattr(_checkpoints, words)(tmp_path)
    theirs.chat_template = DIALECTS[dialect][0]
    theirs.add_special_tokens({"extra_special_tokens": ["<image>", "<|im_start|>", "<|im_end|>"]})
    theirs.save_pretrained(tmp_path)
    ours = pretrained_tokenizer.read(tmp_path, 50)
    for parts in (TALKS["one question"], TALKS["turns"], TALKS["two answers"]):
        asked = messages(prompt_of(parts), lists=dialect in SHOWING)
        ids = theirs.apply_chat_template(asked, add_generation_prompt=True)["input_ids"]
        found = encoded(parts, ours)
        assert found.trunk.ids + found.prompt.ids == ids
        whole = theirs.apply_chat_template(messages(parts, lists=dialect in SHOWING))["input_ids"]
        if parts[-1].role == "assistant":
            answer = found.target.ids[: -1 if dialect == "llava" else None]
            assert (ids + answer)[: len(whole)] == whole[: len(ids + answer)]
            assert ours.decode(found.target.ids) == parts[-1].content


def test_special_tokens_that_take_white_space_along_take_it_here_too(tmp_path: Path) -> None:
    theirs = fast(eos_token="<|end|>")
    greedy = [
        tokenizers.AddedToken(name, rstrip=True, lstrip=name == "<|end|>", special=True, normalized=False)
        for name in ("<|user|>", "<|assistant|>", "<|end|>")
    ]
    theirs.add_tokens(greedy, special_tokens=True)
    theirs.chat_template = MARKED
    theirs.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    again = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert again("<|user|>\n a", add_special_tokens=False)["input_ids"] == [
        *again("<|user|>", add_special_tokens=False)["input_ids"],
        *again("a", add_special_tokens=False)["input_ids"],
    ]
    ours = pretrained_tokenizer.read(tmp_path, 50)
    for parts in (TALKS["one question"], TALKS["turns"]):
        asked = messages(prompt_of(parts), lists=False)
        found = encoded(parts, ours)
        expected = again.apply_chat_template(asked, add_generation_prompt=True)["input_ids"]
        assert found.trunk.ids + found.prompt.ids == expected


def test_a_processor_puts_the_first_token_before_a_template_that_does_not(tmp_path: Path) -> None:
    _checkpoints.llama(tmp_path)
    theirs = _checkpoints.byte_fallback(tmp_path)
    first = theirs.bos_token_id
    for source, alone in ((LLAVA, 0), (MISTRAL, 1)):  # the second one writes it by itself
        (tmp_path / "chat_template.jinja").write_text(source)
        for name, count in (("other.json", alone), ("preprocessor_config.json", 1)):
            (tmp_path / name).write_text("{}")
            ours = pretrained_tokenizer.read(tmp_path, 50)
            found = encoded([ASKED, SAID, MORE], ours)
            ids = found.trunk.ids + found.prompt.ids
            assert ids.count(first) == count
            assert not count or ids[0] == first
        (tmp_path / "preprocessor_config.json").unlink()
