"""Imports Transformers, and converts a GGUF file to a Transformers config, tokenizer and weights."""

from __future__ import annotations

import atexit
import functools
import importlib.util
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from sightweave.core import box_operators, gguf
from sightweave.core.errors import BackendError, CheckpointError

_TOKENIZER = "tokenizer.json"
_COPIED_FILES = (_TOKENIZER, "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")
"""Files that are copied if they are next to the GGUF file, instead of being derived from it."""
_READ_ERRORS = (ValueError, KeyError, TypeError, RuntimeError, OSError, NotImplementedError)
"""Errors that Transformers raises for GGUF files that it cannot read."""


def described(value: str | Path) -> Path:
    """A temporary folder with the config and tokenizer files of a GGUF file, removed when this process ends.

    Raises:
        BackendError: Transformers or gguf is not installed.
        CheckpointError: The file does not exist or is damaged, Transformers does not support its architecture, or its
            pre-tokenizer is unknown and there is no tokenizer.json next to it.
    """
    file = gguf.file_of(value).resolve()
    seen = file.stat()
    return _described(file, seen.st_mtime_ns, seen.st_size)


@functools.lru_cache(maxsize=8)  # reading a vocabulary takes seconds, and every part of a model needs it
def _described(file: Path, changed: int, size: int) -> Path:
    stated = gguf.header(file)
    library = _reader()
    folder = Path(tempfile.mkdtemp(prefix="sightweave-gguf-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)

    # The config.
    place, name = str(file.parent), file.name
    try:
        config = library.AutoConfig.from_pretrained(place, gguf_file=name)
        config.architectures = None  # the file names none, and the model type is enough
        config.save_pretrained(folder)
    except _READ_ERRORS as error:
        raise CheckpointError(f"{file}: Transformers cannot read it: {_first_line(error)}") from error

    # Special tokens and the chat template are read from the GGUF file even if a tokenizer.json is next to it.
    beside = [one for one in _COPIED_FILES if (file.parent / one).is_file()]
    try:
        library.AutoTokenizer.from_pretrained(place, gguf_file=name).save_pretrained(folder)
    except _READ_ERRORS as error:
        if _TOKENIZER not in beside:
            raise CheckpointError(
                f"{file}: Transformers cannot read its tokenizer: {_first_line(error)}"
            ) from error

    for one in beside:
        shutil.copy(file.parent / one, folder / one)
    if _TOKENIZER not in beside:
        _set_pre_tokenizer(folder / _TOKENIZER, stated, file)
    return folder


def weights(value: str | Path) -> dict[str, Tensor]:
    """Reads all weights of a GGUF file in fp32, by the names that Transformers gives them.

    Raises:
        BackendError: Transformers or gguf is not installed.
        CheckpointError: The file does not exist or is damaged, or Transformers does not support its architecture.
    """
    import torch

    file = gguf.file_of(value)
    gguf.header(file)
    library = _reader()

    try:
        model = library.AutoModelForCausalLM.from_pretrained(
            str(file.parent), gguf_file=file.name, dtype=torch.float32
        )
    except _READ_ERRORS as error:
        raise CheckpointError(f"{file}: Transformers cannot read it: {_first_line(error)}") from error

    found: dict[str, Tensor] = model.state_dict()
    if model.config.tie_word_embeddings:  # Transformers' own files omit the tied output weights too
        found.pop("lm_head.weight", None)
    return found


def imported() -> Any:
    """Imports and returns the Transformers package, working around a torchvision whose operators do not load.

    Raises:
        BackendError: Transformers is not installed.
    """
    if importlib.util.find_spec("transformers") is None:
        raise BackendError("Transformers is not installed: pip install 'sightweave[hf]'.")
    box_operators.supply()
    import transformers

    return transformers


def _reader() -> Any:
    if importlib.util.find_spec("gguf") is None:
        raise BackendError(
            "reading a GGUF file needs the package gguf, which is not installed: pip install gguf."
        )
    return imported()


def _set_pre_tokenizer(file: Path, stated: Mapping[str, Any], source: Path) -> None:
    """Sets the right pre-tokenizer in a tokenizer.json, where the GGUF reader of Transformers (5.23) always writes GPT-2's.

    Args:
        file: The tokenizer.json to change.
        stated: Header of the GGUF file.
        source: The GGUF file, for messages.

    Raises:
        CheckpointError: The header names an unknown pre-tokenizer.
    """
    if stated.get("tokenizer.ggml.model") != "gpt2":  # other tokenizer models have no pre-tokenizer
        return

    way = stated.get("tokenizer.ggml.pre", "gpt-2")
    if way not in gguf.CUTS:
        raise CheckpointError(
            f"{source}: its tokenizer splits text by {way!r}; only {', '.join(gguf.CUTS)} are supported. Put the model's "
            f"{_TOKENIZER} next to the file."
        )

    content = json.loads(file.read_text(encoding="utf-8"))
    content["pre_tokenizer"] = _pre_tokenizer(gguf.CUTS[way])
    file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def _pre_tokenizer(steps: Sequence[str]) -> dict[str, Any]:
    """The ``pre_tokenizer`` entry of a tokenizer.json that splits text by the given steps."""
    found: list[dict[str, Any]] = []
    for step in steps:
        if step == gguf.DIGITS:
            found.append({"type": "Digits", "individual_digits": True})
        elif step != gguf.GPT2:  # the regex of ByteLevel itself
            found.append(
                {"type": "Split", "pattern": {"Regex": step}, "behavior": "Isolated", "invert": False}
            )

    uses_own = gguf.GPT2 in steps
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": uses_own}
    return {"type": "Sequence", "pretokenizers": [*found, level]}


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
