"""Reads the JSON files and safetensors weights of Transformers folders, without importing Transformers.

No code in a folder is ever run. A local folder is read without network access; if a file is missing, the error names the
command that downloads it. A name on the Hugging Face Hub is looked up in the Hub's local cache and downloaded if necessary.
GGUF files are accepted in place of a folder; Transformers converts them (`core/from_transformers.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sightweave.core import checkpoint, gguf
from sightweave.core.errors import CheckpointError

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
PROCESSOR_CONFIG = "processor_config.json"
IMAGE_PROCESSOR_CONFIG = "preprocessor_config.json"
CHAT_TEMPLATE = "chat_template.jinja"
OLD_CHAT_TEMPLATE = "chat_template.json"
MORE_CHAT_TEMPLATES = "additional_chat_templates"
_DEFAULT = "default"
"""Name of the chat template for plain conversations, in a folder with several templates."""
_FETCHED = ["*.json", "*.safetensors", "*.jinja"]
"""Patterns of the files that are downloaded from the Hub, which exclude pickles and code."""
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def is_named(value: str) -> bool:
    """Whether a recipe's value names a pretrained model: a Transformers folder, a GGUF file, or a name on the Hub."""
    return (
        gguf.is_named(value)
        or (Path(value).expanduser() / CONFIG).is_file()
        or _HUB_NAME.fullmatch(value) is not None
    )


def is_on_hub(value: Path | str) -> bool:
    """Whether a value is a Hub name, such as ``owner/model``, and not an existing local folder or a GGUF file."""
    if gguf.is_named(value):
        return False
    return not Path(value).expanduser().is_dir() and _HUB_NAME.fullmatch(str(value)) is not None


def read_config(folder: Path | str) -> dict[str, Any]:
    """Reads a folder's ``config.json``.

    Raises:
        CheckpointError: The folder or file does not exist, the file is not a JSON object, or the model needs custom code.
    """
    config = read_json(folder, CONFIG)
    if "auto_map" in config:
        raise CheckpointError(
            f"{Path(folder) / CONFIG}: auto_map requests the checkpoint's own code ({config['auto_map']}), which is "
            "never run. Convert the checkpoint to an architecture built into Transformers first."
        )
    return config


def read_json(folder: Path | str, name: str) -> dict[str, Any]:
    """Reads a folder's JSON file that holds an object.

    Raises:
        CheckpointError: The folder or file does not exist, or the file is not a JSON object.
    """
    file = _file(place(folder), name)
    value = checkpoint.parse_json(file)
    if not isinstance(value, dict):
        raise CheckpointError(f"{file}: expected a JSON object (got {type(value).__name__}).")
    return value


def has_processor(folder: Path | str) -> bool:
    """Whether the folder has a Transformers processor for text and images, rather than only a tokenizer."""
    where = place(folder)
    return any((where / name).is_file() for name in (PROCESSOR_CONFIG, IMAGE_PROCESSOR_CONFIG))


def chat_template(folder: Path | str) -> str | None:
    """The Jinja chat template that Transformers would use for a plain conversation; None if there is none.

    A processor stores it in ``processor_config.json``, ``chat_template.json`` or ``chat_template.jinja``, a tokenizer in
    ``chat_template.jinja`` or ``tokenizer_config.json``. Several named templates may be stored there and in
    ``additional_chat_templates``; the one named ``default`` is used.

    Raises:
        CheckpointError: A file cannot be read, or there are several templates but none is named ``default``.
    """
    where = place(folder)
    sides = [_of_processor, _of_tokenizer] if has_processor(where) else [_of_tokenizer, _of_processor]
    for side in sides:
        for found in side(where):
            if found is not None:
                return found
    return None


def _of_processor(folder: Path) -> Iterator[str | None]:
    for name in (PROCESSOR_CONFIG, OLD_CHAT_TEMPLATE):
        if (folder / name).is_file():
            yield _default(folder / name, read_json(folder, name).get("chat_template"))
    yield _of_files(folder)


def _of_tokenizer(folder: Path) -> Iterator[str | None]:
    yield _of_files(folder)
    if (folder / TOKENIZER_CONFIG).is_file():
        listed = read_json(folder, TOKENIZER_CONFIG).get("chat_template")
        yield _default(folder / TOKENIZER_CONFIG, listed)


def _of_files(folder: Path) -> str | None:
    """The default template in ``chat_template.jinja`` or ``additional_chat_templates``; None if there are no such files."""
    file = folder / CHAT_TEMPLATE
    more = sorted((folder / MORE_CHAT_TEMPLATES).glob("*.jinja"))
    named = {one.stem: one for one in more}
    if file.is_file():
        named[_DEFAULT] = file
    if not named:
        return None
    if _DEFAULT not in named:
        raise _no_default(folder / MORE_CHAT_TEMPLATES, list(named))

    try:
        return named[_DEFAULT].read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"{named[_DEFAULT]}: the chat template cannot be read ({type(error).__name__}); copy the file again."
        ) from None


def _default(file: Path, value: Any) -> str | None:
    """The default template in a ``chat_template`` value, which is a string, a list of named templates, or a mapping."""
    if value is None or isinstance(value, str):
        return value

    named = value
    if isinstance(value, list) and all(isinstance(one, dict) for one in value):
        named = {one.get("name"): one.get("template") for one in value}

    is_valid = isinstance(named, dict) and all(isinstance(one, str) for one in [*named, *named.values()])
    if not is_valid:
        raise CheckpointError(
            f"{file}: chat_template must be a string, or a list of named strings (got {str(value)[:80]!r})."
        )
    if _DEFAULT not in named:
        raise _no_default(file, list(named))
    return str(named[_DEFAULT])


def _no_default(place: Path, names: list[str]) -> CheckpointError:
    return CheckpointError(
        f"{place}: it has the chat templates {', '.join(names) or '(none)'}, but none is called {_DEFAULT!r}; put the "
        f"one to use into {CHAT_TEMPLATE}."
    )


def read_tensors(folder: Path | str) -> dict[str, Tensor]:
    """Reads all weights of a folder, by name, from a single file or from all files that an index lists.

    Raises:
        CheckpointError: The folder has no weights or only pickles, the index names a file outside the folder, a file is
            truncated or not safetensors, two files hold the same weight, or values are not finite.
    """
    if gguf.is_named(folder):
        from sightweave.core import from_transformers

        return from_transformers.weights(folder)

    where = place(folder)
    tensors: dict[str, Tensor] = {}
    for name in _weight_files(where):
        found = _read_one(_file(where, name))
        duplicates = sorted(tensors.keys() & found.keys())
        if duplicates:
            raise CheckpointError(f"{where / name}: {duplicates[0]} is also in another file of the index.")
        tensors |= found
    return tensors


def _weight_files(folder: Path) -> list[str]:
    """Names of the safetensors files in a folder; raises `CheckpointError` if its weights are pickled."""
    if (folder / INDEX).is_file():
        listed = read_json(folder, INDEX).get("weight_map")
        if not isinstance(listed, dict) or not all(map(checkpoint.is_plain_name, listed.values())):
            raise CheckpointError(
                f"{folder / INDEX}: weight_map must map weight names to plain file names in the same folder (got "
                f"{_odd(listed)!r}); the index is damaged, or points outside its folder."
            )
        return sorted(set(listed.values()))

    pickles = sorted(file.name for file in folder.iterdir() if file.suffix in checkpoint.PICKLES)
    if pickles and not (folder / WEIGHTS).is_file():
        raise CheckpointError(
            f"{folder}: its weights are a pickle ({pickles[0]}): pickles can run code and are never read. Convert them "
            f"in a sandbox: load them with Transformers and call save_pretrained, which writes {WEIGHTS}."
        )
    return [WEIGHTS]


def _read_one(file: Path) -> dict[str, Tensor]:
    checkpoint.refuse_pickle(file)
    try:
        tensors = load_file(file)
    except SafetensorError as error:
        raise CheckpointError(f"{file}: incomplete safetensors file: {error}. Copy it again.") from error
    checkpoint.check_finite(file, tensors)
    return tensors


def place(folder: Path | str) -> Path:
    """The local path of a model's folder, which is downloaded from the Hub, without any code, if it is not in the cache.

    For a GGUF file, this is a temporary folder with its config and tokenizer; `read_tensors` reads weights from the file.

    Raises:
        CheckpointError: The folder does not exist, or the model is neither in the Hub's cache nor can be downloaded.
        BackendError: A package needed for reading GGUF files is not installed.
    """
    if gguf.is_named(folder):
        # Imported here, since only GGUF files need Transformers.
        from sightweave.core import from_transformers

        return from_transformers.described(folder)

    here = Path(folder).expanduser()
    if here.is_dir():
        return here
    name = str(folder)  # a name on the Hub
    if _HUB_NAME.fullmatch(name) is None:
        raise CheckpointError(f"{name}: folder not found.")

    # Imported here, since it is slow to import and a local folder does not need it.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        try:
            return Path(snapshot_download(name, allow_patterns=_FETCHED, local_files_only=True))
        except LocalEntryNotFoundError:
            return Path(snapshot_download(name, allow_patterns=_FETCHED))
    except (HfHubHTTPError, OSError, ValueError) as error:  # not found, no permission, or no network
        raise CheckpointError(
            f"{name}: folder not found, and it could not be downloaded from the Hub: {str(error).strip().splitlines()[0]} "
            f"With a network connection, run hf download {name} --local-dir {name}."
        ) from None


def _file(folder: Path, name: str) -> Path:
    if not (folder / name).is_file():
        raise CheckpointError(
            f"{folder / name}: file not found. If the folder is from the Hub, run hf download OWNER/NAME {name} --local-dir "
            f"{folder}."
        )
    return folder / name


def _odd(listed: Any) -> Any:
    """The first invalid file name in a weight map, or the whole value if it is not a mapping."""
    if not isinstance(listed, dict):
        return listed
    return next(name for name in listed.values() if not checkpoint.is_plain_name(name))
