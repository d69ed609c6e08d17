"""Reads the tokenizer of a Transformers folder and adds the special tokens that images and turns require.

The ids of existing tokens do not change. If the folder has a chat template, it is tested on several conversations and then
renders the turns; otherwise, turns are marked with our own tokens. Missing tokens are appended after the last id, and the
vocabulary is padded to a multiple of 64, which is faster on GPUs.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers

from sightweave.core import transformers_folder
from sightweave.core.errors import CheckpointError, DataError
from sightweave.core.types import Medium, Part
from sightweave.data.inputs import chat as chats
from sightweave.data.inputs import tokenizer
from sightweave.data.inputs.chat import Chat
from sightweave.data.inputs.tokenizer import FRAMED, Template, Tokenizer

logger = logging.getLogger(__name__)
MULTIPLE = 64
CONFIG = transformers_folder.TOKENIZER_CONFIG
_OLD_TOKENS = "special_tokens_map.json"
_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
"""Names of the tokens that are available to a chat template as variables."""
_FRAMED = ("idefics3", "smolvlm")
"""Types of models whose processor writes the tokens around an image."""
_PICTURE = Medium(b"", "a picture")
_ASKED, _SAID, _MORE = (
    Part("user", "What is it?"),
    Part("assistant", "A ball."),
    Part("user", "Which colour?"),
)


def read(folder: Path | str, rows: int) -> Tokenizer:
    """Reads the tokenizer of a checkpoint.

    Args:
        folder: A folder written by a tokenizer's ``save_pretrained``, or a name on the Hub.
        rows: Number of rows in the checkpoint's embedding table; the vocabulary is at least as large.

    Raises:
        CheckpointError: tokenizer.json is missing, damaged or of an unknown kind, or the chat template cannot be reproduced
            exactly.
    """
    place = transformers_folder.place(folder)
    if not (place / tokenizer.FILE_NAME).is_file():
        raise CheckpointError(
            f"{place / tokenizer.FILE_NAME}: file not found. Run hf download OWNER/NAME {tokenizer.FILE_NAME}; an older "
            "checkpoint gets it from AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)."
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
    """Changes the content of a tokenizer.json so that no text can be encoded as a special token."""
    found = copy.deepcopy(dict(content))
    model = found.get("model")
    if isinstance(model, dict) and model.get("type") == "Unigram":
        # A Unigram model may use any of its pieces, including special ones, where their letters occur in a text.
        special = [token for token in found["added_tokens"] if token["special"]]
        for token in special:
            if token["id"] < len(model["vocab"]):
                model["vocab"][token["id"]][0] = tokenizer.HIDDEN + token["content"]
                found["added_tokens"].remove(token)

    steps = found.get("pre_tokenizer")
    for step in (steps or {}).get("pretokenizers", [steps]):
        # The scheme "first" adds a space only at the start of the input, where a special token always precedes the text.
        if isinstance(step, dict) and step.get("prepend_scheme") == "first":
            step["prepend_scheme"] = "never"
    return found


def _template(folder: Path, rust: tokenizers.Tokenizer) -> Template:
    model = transformers_folder.read_json(folder, transformers_folder.CONFIG)
    tokens = _named_tokens(folder)
    end = tokens.get("eos_token", "")
    before, after = _added_around(rust)

    plain = dataclasses.replace(
        FRAMED,
        pad=tokens.get("pad_token") or end or "<|end|>",
        end=end or "<|end|>",
        start=before,
        space=False,
    )
    if model.get("is_encoder_decoder"):
        special = {index: name for name, index in tokenizer.special_tokens(rust).items()}
        begin = special.get(model.get("decoder_start_token_id") or 0, plain.end)
        return dataclasses.replace(plain, speak=after or plain.end, begin=begin)

    source = transformers_folder.chat_template(folder)
    if source is None:
        logger.info("%s: no chat template; %s and %s mark the turns.", folder, plain.again, plain.speak)
        return plain

    try:
        found = _in_words_of_chat(source, tokens, plain, rust, _image_tokens(folder, model))
    except DataError as error:
        raise CheckpointError(
            f"{folder}: its chat template cannot be reproduced exactly: {error}. Put a supported template into "
            f"{transformers_folder.CHAT_TEMPLATE}, or remove it to mark turns with {plain.again} and {plain.speak}."
        ) from None

    if model.get("model_type") in _FRAMED:  # the processor adds the tokens around the image token
        found = dataclasses.replace(found, before_image=FRAMED.before_image, after_image=FRAMED.after_image)
    if "strftime_now" in found.chat:
        logger.warning(
            "%s: its chat template includes the current date, so prompts change from day to day.", folder
        )
    if transformers_folder.has_processor(folder) and before and not found.start.startswith(before):
        found = dataclasses.replace(found, first=before)
    return found


def _named_tokens(folder: Path) -> dict[str, str]:
    """The checkpoint's special tokens by their names, such as ``bos_token``."""
    values: dict[str, Any] = {}
    for file in (_OLD_TOKENS, CONFIG):
        if not (folder / file).is_file():
            continue
        for name, value in transformers_folder.read_json(folder, file).items():
            if value is not None:
                values[name] = value

    return {name: _content(values[name]) for name in _TOKENS if values.get(name)}


def _content(token: Any) -> str:
    """The text of a special token, which is given as a string or in a mapping."""
    return str(token.get("content", "")) if isinstance(token, Mapping) else str(token or "")


def _image_tokens(folder: Path, model: Mapping[str, Any]) -> list[str | int]:
    """The names or ids of the tokens that a folder declares as image tokens."""
    found: list[str | int] = []
    for name in (transformers_folder.PROCESSOR_CONFIG, CONFIG):
        if (folder / name).is_file():
            values = transformers_folder.read_json(folder, name)
            more = values.get("extra_special_tokens")
            named = values.get("image_token") or (more.get("image_token") if isinstance(more, dict) else "")
            found.append(_content(named))

    found += [model.get(name, -1) for name in ("image_token_id", "image_token_index")]
    return [one for one in found if isinstance(one, str | int) and one != ""]


def _added_around(rust: tokenizers.Tokenizer) -> tuple[str, str]:
    """The special tokens that a tokenizer adds before and after a text by default."""
    bare = rust.encode("a", add_special_tokens=False).ids
    whole = rust.encode("a").ids
    at = 0
    for start in range(len(whole)):
        if whole[start : start + len(bare)] == bare:
            at = start
            break

    before, after = whole[:at], whole[at + len(bare) :]
    names = {index: name for name, index in tokenizer.special_tokens(rust).items()}
    return "".join(names[index] for index in before), "".join(names[index] for index in after)


def _in_words_of_chat(
    source: str,
    tokens: Mapping[str, str],
    plain: Template,
    rust: tokenizers.Tokenizer,
    images: list[str | int],
) -> Template:
    """Makes the `Template` for a checkpoint's chat template, after testing it on several conversations.

    Args:
        source: Jinja source of the chat template.
        tokens: The checkpoint's special tokens by name.
        plain: Template with our own strings, whose fields are the defaults.
        rust: The checkpoint's tokenizer.
        images: Names or ids of the declared image tokens.

    Raises:
        DataError: Inserting texts after rendering gives a different result from rendering them, or texts are omitted.
    """
    eos = tokens.get("eos_token", "")
    tokens = {name: token for name, token in tokens.items() if name in source}
    source, image = chats.parted(source)
    if image:  # exported by this library, with the text around images
        before, _, after = image.partition(plain.image)
        plain = dataclasses.replace(plain, before_image=before, after_image=after)

    special = list(tokenizer.special_tokens(rust))
    by_id = {index: token.content for index, token in rust.get_added_tokens_decoder().items()}
    known = [by_id.get(one, "") if isinstance(one, int) else one for one in images]
    chat = _taking(source, tokens, [*filter(None, known), plain.image], special)
    _try(chat)

    # Determine the text around a plain question, for programs that cannot render the template.
    asked = chat.write([_ASKED], asks=True)
    start, speak = asked.text[: asked.said[0].start], asked.text[asked.said[0].end :]
    # Determine the token that ends an answer.
    answered = chat.write([_ASKED, _SAID], asks=False)
    tail = answered.text[answered.said[-1].end :].lstrip()
    end = max((name for name in special if tail.startswith(name)), key=len, default=eos)
    if not end:
        raise DataError(
            f"answers end with {tail!r}, which has no special token, and the tokenizer has no eos_token"
        )

    # Determine the text between two turns.
    twice = chat.write([_ASKED, _SAID, _MORE], asks=True)
    between = twice.text[twice.said[1].end : twice.said[2].start].lstrip()
    found = dataclasses.replace(
        plain, end=end, image=chat.image, start=start, speak=speak, again=between.removeprefix(end)
    )
    return _own_words(found, chat) or dataclasses.replace(
        found,
        before_image="" if chat.shows else plain.before_image,
        after_image="" if chat.shows else plain.after_image,
        chat=source,
        tokens=dict(tokens),
        lists=chat.lists,
        shows=chat.shows,
        lead=answered.text[len(asked.text) : answered.said[-1].start],
    )


def _own_words(found: Template, chat: Chat) -> Template | None:
    """Recovers the `Template` from a chat template that this library exported; None if it is from another library."""
    if not chat.shows:
        return None

    shown = chat.write([Part("user", _PICTURE), _ASKED], asks=True).text
    before, _, after = shown.partition(chat.image)
    after = after.partition(str(_ASKED.content))[0]

    for space in (False, True):
        start, again, after = (text.removesuffix(" " * space) for text in (found.start, found.again, after))
        before = before.removeprefix(start)
        own = dataclasses.replace(
            found, start=start, again=again, before_image=before, after_image=after, space=space
        )
        image = before + chat.image + after
        if chat.source == chats.in_words(
            start=start, speak=own.speak, end=own.end, again=again, image=image, space=space
        ):
            return own

    return None


def _taking(source: str, tokens: Mapping[str, str], known: list[str], special: list[str]) -> Chat:
    """Determines the form of content that a chat template accepts, and returns it as a `Chat`.

    A template that supports images is given lists with images; any other template is given the image token in texts.

    Args:
        source: Jinja source of the template.
        tokens: Special tokens by name.
        known: Possible image tokens; the last one is our own.
        special: All special tokens of the tokenizer.

    Raises:
        DataError: The template writes something for an image that is not a special token.
    """
    bare = Chat(source, tokens, lists=True, shows=True, image=known[0])
    question = {"type": "text", "text": chats.PROBE}
    without = _rendered(bare, [{"role": "user", "content": [question]}])
    with_it = _rendered(bare, [{"role": "user", "content": [{"type": "image"}, question]}])
    if chats.PROBE not in with_it:
        takes_lists = chats.PROBE in without
        return Chat(source, tokens, lists=takes_lists, shows=False, image=known[-1])

    names = dict.fromkeys([*known, *special])
    added = [name for name in names if with_it.count(name) == without.count(name) + 1]
    if added:
        return Chat(source, tokens, lists=True, shows=True, image=_image_among(added, known))
    if with_it != without:
        raise DataError(f"it writes {with_it!r} for an image, which has no special token")
    return Chat(source, tokens, lists=True, shows=False, image=known[-1])


def _rendered(chat: Chat, messages: list[chats.Message]) -> str:
    """Renders messages as a prompt; empty if the template rejects them."""
    try:
        return chat.render(messages, asks=True)
    except DataError:
        return ""


def _image_among(added: list[str], known: list[str]) -> str:
    """Chooses the image token among the tokens that a template writes for an image."""
    named = [name for name in added if name in known] or [name for name in added if "image" in name.lower()]
    if len(added) > 1 and not named:
        raise DataError(
            f"an image is written as {' '.join(added)}, and it is unclear which of these is the image token"
        )
    return [*named, *added][0]


def _try(chat: Chat) -> None:
    """Checks our rendering against the template's own on various conversations.

    Raises:
        DataError: The two differ, or the template does not accept a plain question.
    """
    chat.write([_ASKED], asks=True)
    leaves_out_system = False
    for name, parts in chats.conversations(_PICTURE):
        for asks in (True, False):
            try:
                theirs = chat.render(chat.messages(parts), asks=asks)
            except DataError:
                continue  # what Transformers rejects is rejected here too, or rendered without its system turn

            ours = chat.write(parts, asks=asks)
            said = sum(isinstance(part.content, str) for part in parts)
            leaves_out_system = leaves_out_system or len(ours.said) < said
            if ours.text != theirs:
                raise DataError(f"{name}: it writes {theirs!r}, but inserting the texts gives {ours.text!r}")

    _try_answers(chat)
    if leaves_out_system:
        logger.warning("the chat template drops the system turn, and so does this model's prompt.")


def _try_answers(chat: Chat) -> None:
    """Checks that a conversation with an answer starts with the prompt, so that training and generation use the same one.

    Raises:
        DataError: The conversation with the answer does not start with the prompt.
    """
    asked = chat.write([_ASKED], asks=True).text
    answered = chat.write([_ASKED, _SAID], asks=False).text
    if not answered.startswith(asked):
        raise DataError(f"its prompt is {asked!r}, but the answer follows {answered!r}")
