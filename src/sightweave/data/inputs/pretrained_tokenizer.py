"""The tokenizer of a folder of Transformers, with the special tokens that pictures and turns need.

Its own ids stay what they are. Where the folder has a chat template, turns are written as that one writes them; else with
marks of our own. Tokens that it lacks follow its last id, and the vocabulary is padded to a multiple of 64, as fast
kernels like it.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import tokenizers

from sightweave.core import transformers_folder
from sightweave.core.errors import CheckpointError
from sightweave.data.inputs import sandbox, tokenizer
from sightweave.data.inputs.tokenizer import FRAMED, Template, Tokenizer

logger = logging.getLogger(__name__)
MULTIPLE = 64
CONFIG = "tokenizer_config.json"
CHAT_TEMPLATE = "chat_template.jinja"
_FRAMED = ("idefics3", "smolvlm")
"""Models whose processor writes these tokens itself."""
_ASKED, _SAID, _MORE = "\ue000asked\ue001", "\ue000said\ue001", "\ue000more\ue001"
"""Texts that no template writes, by which its own words are found."""


def read(folder: Path | str, rows: int) -> Tokenizer:
    """The tokenizer of a checkpoint.

    Args:
        folder: As written by ``save_pretrained`` of a tokenizer.
        rows: Ids that the checkpoint's embedding has; the vocabulary has no fewer.

    Raises:
        CheckpointError: no tokenizer.json, a damaged one, or a kind that the Rust library does not know.
    """
    place = transformers_folder.place(folder)
    if not (place / tokenizer.FILE_NAME).is_file():
        raise CheckpointError(
            f"{place / tokenizer.FILE_NAME}: no such file. hf download OWNER/NAME {tokenizer.FILE_NAME} gets it; an older "
            "checkpoint has it once AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER) has run."
        )
    content = _neutral(tokenizer.read_file(place / tokenizer.FILE_NAME))
    try:
        rust = tokenizer.from_plain(content)
    except Exception as error:  # the Rust library raises bare exceptions
        raise CheckpointError(
            f"{place / tokenizer.FILE_NAME}: not a tokenizer: {type(error).__name__}: {error}"
        ) from None
    template = _template(place, rust)
    known = tokenizer.special_tokens(rust)
    rust.add_special_tokens([name for name in tokenizer.names(template) if name not in known])
    needed = max(rows, max(rust.get_vocab().values()) + 1)
    return Tokenizer(rust, template, vocab_size=-(-needed // MULTIPLE) * MULTIPLE)


def _neutral(content: Mapping[str, Any]) -> dict[str, Any]:
    """The file without pieces by which a text could spell a special token."""
    found = copy.deepcopy(dict(content))
    model = found.get("model")
    if isinstance(model, dict) and model.get("type") == "Unigram":
        # A Unigram model takes any of its pieces where their letters stand.
        for token in [token for token in found["added_tokens"] if token["special"]]:
            if token["id"] < len(model["vocab"]):
                model["vocab"][token["id"]][0] = tokenizer.HIDDEN + token["content"]
                found["added_tokens"].remove(token)
    steps = found.get("pre_tokenizer")
    for step in (steps or {}).get("pretokenizers", [steps]):
        # Theirs puts a space before the very first text only, and before ours some token always stands.
        if isinstance(step, dict) and step.get("prepend_scheme") == "first":
            step["prepend_scheme"] = "never"
    return found


def _template(folder: Path, rust: tokenizers.Tokenizer) -> Template:
    settings = transformers_folder.read_json(folder, CONFIG) if (folder / CONFIG).is_file() else {}
    model = transformers_folder.read_json(folder, transformers_folder.CONFIG)
    tokens = {name: _content(settings.get(name)) for name in ("bos_token", "eos_token", "pad_token")}
    end = tokens["eos_token"] or "<|end|>"
    before, after = _added_around(rust)
    plain = dataclasses.replace(FRAMED, pad=tokens["pad_token"] or end, end=end, start=before, space=False)
    if model.get("is_encoder_decoder"):
        special = {index: name for name, index in tokenizer.special_tokens(rust).items()}
        begin = special.get(model.get("decoder_start_token_id") or 0, end)
        return dataclasses.replace(plain, speak=after or end, begin=begin)
    source = _chat_template(folder, settings)
    if source is None:
        return plain
    try:
        return _turns(source, tokens, plain, rust, writes_frame=model.get("model_type") not in _FRAMED)
    except sandbox.TooMuchError as error:
        raise CheckpointError(f"{folder}: its chat template is not rendered: {error}.") from None
    except (
        jinja2.TemplateError,
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:
        logger.warning(
            "%s: its chat template is not one of turns (%s); <|user|> and <|assistant|> mark them instead.",
            folder,
            error,
        )
        return plain


def _added_around(rust: tokenizers.Tokenizer) -> tuple[str, str]:
    """The special tokens that the checkpoint puts before and after a text."""
    bare = rust.encode("a", add_special_tokens=False).ids
    whole = rust.encode("a").ids
    at = next((i for i in range(len(whole)) if whole[i : i + len(bare)] == bare), 0)
    before, after = whole[:at], whole[at + len(bare) :]
    names = {index: name for name, index in tokenizer.special_tokens(rust).items()}
    return "".join(names[index] for index in before), "".join(names[index] for index in after)


def _content(token: Any) -> str:
    """A special token's text, which stands alone or in a mapping."""
    return str(token.get("content", "")) if isinstance(token, Mapping) else str(token or "")


def _chat_template(folder: Path, settings: Mapping[str, Any]) -> str | None:
    if (folder / CHAT_TEMPLATE).is_file():
        return (folder / CHAT_TEMPLATE).read_text(encoding="utf-8")
    found = settings.get("chat_template")
    return found if isinstance(found, str) else None


def _turns(
    source: str, tokens: Mapping[str, str], plain: Template, rust: tokenizers.Tokenizer, *, writes_frame: bool
) -> Template:
    """What a chat template writes around texts, found by rendering conversations of known texts.

    Raises:
        ValueError: it is not the same around every turn, or no special token ends an answer.
        TemplateError, TypeError: it cannot be rendered.
    """
    asked: dict[str, Any] = {"role": "user", "content": _ASKED}
    said: dict[str, Any] = {"role": "assistant", "content": _SAID}
    more: dict[str, Any] = {"role": "user", "content": _MORE}
    lists = False
    try:
        once = _render(source, tokens, [asked])
        lists = _ASKED not in once
    except sandbox.TooMuchError:
        raise
    except (jinja2.TemplateError, TypeError):
        lists = True
    if lists:  # a template of a model that sees pictures takes lists of parts
        asked, said, more = (
            {**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in (asked, said, more)
        )
        once = _render(source, tokens, [asked])
    start, speak = _cut(once, _ASKED)
    twice = _render(source, tokens, [asked, said, more])
    between, rest = _cut(_cut(twice, _ASKED)[1], _SAID)
    after, last = _cut(rest, _MORE)
    if not twice.startswith(start) or between != speak or last != speak:
        raise ValueError("it writes other words around a later turn than around the first")
    special = [token.content for token in rust.get_added_tokens_decoder().values() if token.special]
    end = max((name for name in special if after.startswith(name)), key=len, default="")
    if not end:
        raise ValueError(f"no special token stands right after an answer, but {after!r}")
    found = dataclasses.replace(plain, start=start, speak=speak, end=end, again=after.removeprefix(end))
    if not lists:
        return found
    picture = {"role": "user", "content": [{"type": "image"}, *asked["content"]]}
    shown, _ = _cut(_render(source, tokens, [picture]), _ASKED)
    before, behind = _cut(shown, plain.image)
    if not writes_frame:  # the processor does, wherever the template says <image>
        return dataclasses.replace(found, start=before)
    begins = before.startswith(start)
    return dataclasses.replace(
        found,
        start=start if begins else before,
        before_image=before.removeprefix(start) if begins else "",
        after_image=behind,
    )


def _cut(text: str, at: str) -> tuple[str, str]:
    before, found, after = text.partition(at)
    if not found:
        raise ValueError(f"it does not write {at!r} into {text!r}")
    return before, after


def _render(source: str, tokens: Mapping[str, str], messages: list[dict[str, Any]]) -> str:
    """What a chat template writes for messages, up to where the model speaks; it can reach nothing but them.

    Raises:
        TooMuchError: it takes too long, or writes too much.
    """
    environment = sandbox.Sandbox(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )

    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    environment.globals["raise_exception"] = refuse
    environment.globals["strftime_now"] = lambda form: ""
    return environment.from_string(source).render(messages=messages, add_generation_prompt=True, **tokens)
