"""Folders of weights and settings that are either whole or not there, and that are refused when damaged.

A folder holds safetensors and JSON files, and a manifest with the size and SHA-256 of each::

    checkpoint/
      manifest.json       {"format_version": 1, "files": {"model.safetensors": {"bytes": ..., "sha256": ...}, ...}}
      model.safetensors
      run.json

It is written beside its place, forced to the disk and renamed, so that neither a crash nor a full disk leaves half of it.
Hashes find damage, not forgery. Nothing is ever pickled or unpickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from sightweave.core import bounded, files, places
from sightweave.core.bounded import UnreadableError
from sightweave.core.errors import CheckpointError

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
MAX_JSON_BYTES = 1 << 28
_MAX_MANIFEST_BYTES = 16 << 20
_LONGEST_NAME = 200
"""Characters of a name of a file; systems refuse longer ones, each in its own way."""
_SLACK, _SLACK_TENSORS, _SLACK_VALUES = 4, 1000, 1 << 26
"""How much larger than its file a model may be while it is built: times, tensors and values. Other libraries make some
parts twice, and some that are dropped again."""
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_OWN = frozenset((files.MARK, "encoder.onnx", "decoder.onnx"))
"""What may stand in a folder without being listed: earlier versions wrote ONNX files after the manifest."""
_SHOWN = 10


def write_folder(
    path: Path,
    weights: Mapping[str, Mapping[str, Tensor]],
    documents: Mapping[str, Any] | None = None,
    texts: Mapping[str, str] | None = None,
    more: Callable[[Path], None] | None = None,
) -> None:
    """Writes ``<name>.safetensors`` and ``<name>.json`` files and puts the whole folder in place at once.

    An earlier one at `path` is replaced; until the last moment it stays readable. A folder of anything else is refused.

    Args:
        path: The folder.
        weights: Tensors by file name (without ending), then by their own names.
        documents: JSON values by file name (without ending).
        texts: Other files by their whole names.
        more: Writes further files into the folder it is given, before that folder is put in place.

    Raises:
        CheckpointError: the disk is full, the place cannot be written, or holds other files; what stood there is unharmed.
    """
    path = Path(path)
    _refuse_foreign(path)
    try:
        with files.making(path.parent), files.temporary_folder(path) as temporary:
            aliases = _fill(temporary, weights, documents or {}, texts or {})
            if more is not None:
                more(temporary)
            _seal(temporary, aliases)
            files.swap(temporary, path)
    except (OSError, SafetensorError) as error:  # safetensors wraps what the disk says
        raise _cannot_write(path, weights, error) from error


def _fill(
    folder: Path,
    weights: Mapping[str, Mapping[str, Tensor]],
    documents: Mapping[str, Any],
    texts: Mapping[str, str],
) -> dict[str, dict[str, str]]:
    """Writes all files and returns, by file of weights, the second names of its tensors."""
    aliases: dict[str, dict[str, str]] = {}
    for name, tensors in weights.items():
        file = folder / f"{name}.safetensors"
        kept, aliases[file.name] = _without_aliases(tensors)
        # Transformers reads no file that does not say which library's tensors it holds.
        save_file(kept, file, metadata={"format": "pt"})
        files.follow_umask(file)
    for name, value in documents.items():
        text = json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False)
        (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return aliases


def _refuse_foreign(path: Path) -> None:
    """Refuses a folder that would be replaced and holds anything but what a manifest of ours lists."""
    if not path.exists():
        return
    if not path.is_dir():
        raise CheckpointError(f"{path}: is a file; a folder is needed.")
    listed, what = set[str](), f"and no {MANIFEST} of Sightweave's"
    if files.has_key(path / MANIFEST, "format_version"):
        listed = {name.partition("/")[0] for name in _manifest(path)} | {MANIFEST}
        what = f"which {MANIFEST} does not list"
    others = sorted({one.name for one in path.iterdir()} - listed - _OWN)
    if others:
        raise CheckpointError(
            f"{path}: holds {', '.join(others[:_SHOWN])}, {what}; the new folder would replace them. "
            "Choose another folder, or move these files."
        )


def _seal(folder: Path, aliases: Mapping[str, Mapping[str, str]]) -> None:
    """Writes the manifest, and forces all to the disk."""
    entries: dict[str, dict[str, Any]] = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            name = file.relative_to(folder).as_posix()
            entries[name] = {"bytes": file.stat().st_size, "sha256": _sha256(file)}
            if aliases.get(name):
                entries[name]["aliases"] = dict(aliases[name])
    manifest = {"format_version": FORMAT_VERSION, "files": entries}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    for file in folder.rglob("*"):
        files.force_to_disk(file)
    files.force_to_disk(folder)


def _without_aliases(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors to store, and the names of those that are another one under a second name (tied weights)."""
    kept: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    first: dict[tuple[Any, ...], str] = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach()
        place = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.device)
        if tensor.numel() and place in first:
            aliases[name] = first[place]
            continue
        first[place] = name
        is_view = tensor.untyped_storage().nbytes() != tensor.numel() * tensor.element_size()
        kept[name] = tensor.clone(memory_format=torch.contiguous_format) if is_view else tensor.contiguous()
    return kept, aliases


def remove(path: Path) -> None:
    """Removes a folder that `write_folder` wrote, and one that its writer had set aside.

    Raises:
        CheckpointError: it holds other files too; nothing is removed.
    """
    _refuse_foreign(path)
    for one in (path, files.aside(path)):
        if one.is_dir():
            shutil.rmtree(one)


def _cannot_write(
    path: Path, weights: Mapping[str, Mapping[str, Tensor]], error: Exception
) -> CheckpointError:
    needed = sum(t.numel() * t.element_size() for tensors in weights.values() for t in tensors.values())
    there = next((place for place in path.parents if place.exists()), Path.cwd())
    free, reason = shutil.disk_usage(there).free, getattr(error, "strerror", None) or error
    needs = f"it needs {needed} bytes and" if needed else "only"
    return CheckpointError(
        f"{path}: cannot be written: {reason}; {needs} {free} are free. "
        "Existing files are unchanged; free some space or choose another folder."
    )


def read_weights(
    path: Path,
    expected: Mapping[str, Sequence[int]] | None = None,
    *,
    name: str = "model",
    allow_nonfinite: bool = False,
) -> dict[str, Tensor]:
    """All tensors of ``<name>.safetensors``, after every check; on an error nothing was changed anywhere.

    Args:
        path: The folder.
        expected: The shape of every tensor that must be there, and of no other; None accepts any.
        name: The file, without its ending.
        allow_nonfinite: Accept NaN and infinite values.

    Raises:
        CheckpointError: no folder, no manifest, a newer format, a truncated or changed file, a pickle, other names or
            shapes than expected, or values that are not finite.
    """
    file, entry = _checked_file(Path(path), f"{name}.safetensors")
    if expected is not None:
        compare_shapes(file, _shapes(file, entry), expected)
    try:
        tensors = load_file(file)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file}: not a safetensors file: {error}. Copy it again.") from error
    aliases = entry.get("aliases", {})
    tensors |= {alias: tensors[kept] for alias, kept in aliases.items() if kept in tensors}
    if not allow_nonfinite:
        check_finite(file, tensors)
    return tensors


def load_into(module: nn.Module, path: Path, *, name: str = "model", assign: bool = False) -> None:
    """Checks everything as `read_weights` does, then puts the weights into a module.

    Args:
        module: Gets the weights; with `assign` it may stand on the meta device.
        path: The folder.
        name: The file, without its ending.
        assign: Take the file's tensors themselves instead of copying them: no weights are held twice.

    Raises:
        CheckpointError: as `read_weights`; the module is unchanged.
    """
    own = module.state_dict()
    tensors = read_weights(path, {key: tuple(value.shape) for key, value in own.items()}, name=name)
    if assign:
        # Where a tensor lies in the file decides its alignment, and with it the last bit of sums: take aligned copies.
        tensors = {key: tensors.pop(key).clone() for key in list(tensors)}
    module.load_state_dict(tensors, assign=assign)


def shapes(path: Path, *, name: str = "model") -> dict[str, tuple[int, ...]]:
    """The shape of each tensor in ``<name>.safetensors``, of second names too, read from its header alone.

    Raises:
        CheckpointError: as `read_weights`, save for the values.
    """
    file, entry = _listed_file(Path(path), f"{name}.safetensors")
    return _shapes(file, entry)


def _shapes(file: Path, entry: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    try:
        with safe_open(file, "pt") as weights:
            found = {key: tuple(weights.get_slice(key).get_shape()) for key in weights.keys()}  # noqa: SIM118  # no dict
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{file}: not a safetensors file: {error}. Copy it again.") from error
    aliases = entry.get("aliases", {})
    return found | {alias: found[kept] for alias, kept in aliases.items() if kept in found}


@contextlib.contextmanager
def no_larger_than(shapes: Mapping[str, Sequence[int]], *, where: Path) -> Iterator[None]:
    """Stops a model that is built inside from growing far beyond the weights that it is for.

    A description of a few bytes can ask for a model of any size, and to build that takes hours even without memory.

    Args:
        shapes: Of the weights.
        where: The folder, for the message.

    Raises:
        CheckpointError: more parameters, or more values in them, than the weights warrant.
    """
    most_tensors = _SLACK * len(shapes) + _SLACK_TENSORS
    most_values = _SLACK * sum(math.prod(shape) for shape in shapes.values()) + _SLACK_VALUES
    tensors = values = 0
    thread = threading.get_ident()

    def count(_module: nn.Module, _name: str, parameter: Any) -> None:
        nonlocal tensors, values
        if parameter is None or threading.get_ident() != thread:  # torch asks for models of other threads too
            return
        tensors, values = tensors + 1, values + parameter.numel()
        if tensors > most_tensors or values > most_values:
            raise CheckpointError(
                f"{where}: the recipe describes a model of more than {tensors - 1} tensors or {values} values, but the file "
                f"of weights holds {len(shapes)} tensors; they are from different runs."
            )

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()


def read_document(path: Path, name: str, *, most: int = MAX_JSON_BYTES) -> Any:
    """The value of ``<name>.json``, after the same checks.

    Args:
        path: The folder.
        name: The file, without its ending.
        most: Bytes of the file at most.

    Raises:
        CheckpointError: as `read_weights`, too large, or not JSON.
    """
    return parse_json(_checked_file(Path(path), f"{name}.json", most)[0], most=most)


def _checked_file(path: Path, name: str, most: int | None = None) -> tuple[Path, dict[str, Any]]:
    """A file that is as it was written, and its entry in the manifest."""
    file, entry = _listed_file(path, name)
    if most is not None and entry["bytes"] > most:
        raise CheckpointError(f"{file}: {entry['bytes']} bytes; the maximum is {most}.")
    digest = _sha256(file)
    if digest != entry["sha256"]:
        raise CheckpointError(
            f"{file}: its SHA-256 is {digest[:16]}..., expected {entry['sha256'][:16]}...; the file has changed."
        )
    return file, entry


def _listed_file(path: Path, name: str) -> tuple[Path, dict[str, Any]]:
    """A file of the size that the manifest says, and its entry there."""
    folder = _folder(path)
    entry = _manifest(folder).get(name)
    file = folder / name
    if entry is None:
        raise CheckpointError(f"{folder / MANIFEST}: does not list {name!r}; the checkpoint is incomplete.")
    if file.exists() and not file.is_file():
        raise CheckpointError(f"{file}: not a regular file; copy the folder again.")
    if not file.is_file():
        raise CheckpointError(f"{file}: listed in {MANIFEST} but missing; copy the folder again.")
    if file.suffix == ".safetensors":
        refuse_pickle(file)
    size = file.stat().st_size
    if size != entry["bytes"]:
        raise CheckpointError(
            f"{file}: {size} bytes, expected {entry['bytes']}; the file was truncated or changed."
        )
    return file, entry


def _folder(path: Path) -> Path:
    folder = files.whole(path)
    if not folder.is_dir():
        raise CheckpointError(f"{path}: checkpoint folder not found.")
    return folder


def _manifest(folder: Path) -> dict[str, Any]:
    pickles = sorted(file.name for file in folder.iterdir() if file.suffix in PICKLES)
    if pickles:
        raise CheckpointError(
            f"{folder}: holds {', '.join(pickles[:_SHOWN])}: pickles can run code and are never read. "
            "Convert them to safetensors in a sandbox and remove them."
        )
    file = folder / MANIFEST
    if not file.is_file():
        raise CheckpointError(places.no_checkpoint(folder))
    manifest = parse_json(file, most=_MAX_MANIFEST_BYTES)
    version = manifest.get("format_version") if isinstance(manifest, dict) else None
    if not isinstance(version, int):
        raise CheckpointError(f"{file}: no format_version (got {version!r}); not a checkpoint manifest.")
    if version > FORMAT_VERSION:
        raise CheckpointError(
            f"{file}: format_version {version}, but this version of Sightweave reads up to {FORMAT_VERSION}; "
            "upgrade Sightweave."
        )
    entries = manifest.get("files")
    if not isinstance(entries, dict) or not all(_is_entry(*item) for item in entries.items()):
        raise CheckpointError(
            f"{file}: 'files' must map plain file names to bytes and sha256; the manifest is damaged."
        )
    return entries


def _is_entry(name: str, entry: Any) -> bool:
    # ../../x must not lead out of the folder; a layout may have folders of its own.
    if not all(part != ".." and is_plain_name(part) for part in name.split("/")):
        return False
    if not isinstance(entry, dict):
        return False
    aliases = entry.get("aliases", {})
    return (
        isinstance(entry.get("bytes"), int)
        and isinstance(entry.get("sha256"), str)
        and isinstance(aliases, dict)
        and all(isinstance(kept, str) for kept in aliases.values())
    )


def is_plain_name(name: Any) -> bool:
    """Whether a value is the name of a file in the same folder: ``../../x`` leads out of it, and ``a/b`` into another."""
    if not isinstance(name, str) or len(name) > _LONGEST_NAME:
        return False
    return Path(name).name == name and "\\" not in name and "\0" not in name


def refuse_pickle(file: Path) -> None:
    """Raises `CheckpointError` where a file is a pickle, whatever its name says."""
    if file.suffix in PICKLES:
        raise CheckpointError(f"{file}: a pickle by its name; pickles can run code and are never read.")
    try:
        with bounded.opened(file) as stream:
            start = stream.read(9)
    except UnreadableError as error:
        raise CheckpointError(f"{file}: {error}") from error
    # Eight bytes of length, then the header's brace: the length may begin with a pickle's first byte.
    if start[8:] == b"{":
        return
    if start[:1] == b"\x80" or start[:4] == b"PK\x03\x04":
        raise CheckpointError(
            f"{file}: is a pickle despite its name; pickles can run code and are never read. "
            "Convert it to safetensors in a sandbox."
        )


def parse_json(file: Path, *, most: int = MAX_JSON_BYTES) -> Any:
    """A JSON value out of a file.

    Args:
        file: Its path.
        most: Bytes of the file at most.

    Raises:
        CheckpointError: no ordinary file, too large, not JSON, or nested too deep.
    """
    try:
        return bounded.parsed(file, most=most)
    except UnreadableError as error:
        raise CheckpointError(f"{file}: {error} Copy the folder again.") from error


def _sha256(file: Path) -> str:
    with file.open("rb", buffering=0) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def compare_shapes(
    file: Path, found: Mapping[str, tuple[int, ...]], expected: Mapping[str, Sequence[int]]
) -> None:
    """Refuses other names or shapes: counts of each fault, and the first few by name."""
    missing = [
        f"{key}: missing in the file, {tuple(expected[key])} in the model"
        for key in expected
        if key not in found
    ]
    extra = [f"{key}: {found[key]} in the file, not in the model" for key in found if key not in expected]
    other = [
        f"{key}: {found[key]} in the file, {tuple(shape)} in the model"
        for key, shape in expected.items()
        if key in found and found[key] != tuple(shape)
    ]
    faults = other + missing + extra
    if not faults:
        return
    shown = "".join(f"\n  {fault}" for fault in faults[:_SHOWN])
    more = f"\n  and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
    raise CheckpointError(
        f"{file}: these weights do not fit the model: {len(other)} with a different shape, {len(missing)} missing, "
        f"{len(extra)} unexpected. Build the model from the recipe saved with them.{shown}{more}"
    )


def check_finite(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raises `CheckpointError` where a weight is NaN or infinite."""
    for key, tensor in tensors.items():
        # One sum finds NaN and infinity; only where it overflowed is each value looked at.
        if (
            tensor.is_floating_point()
            and not tensor.sum().isfinite()
            and not (finite := tensor.isfinite()).all()
        ):
            count = int((~finite).sum())
            raise CheckpointError(
                f"{file}: {key} holds {count} values of {tensor.numel()} that are NaN or infinite; "
                "training had diverged. Use an earlier checkpoint, or allow_nonfinite=True to inspect this one."
            )
