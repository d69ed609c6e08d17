"""Reads and writes checkpoint folders: written atomically, and checked for damage whenever they are read.

A folder holds safetensors and JSON files, and a manifest with the size and SHA-256 of each::

    checkpoint/
      manifest.json       {"format_version": 1, "files": {"model.safetensors": {"bytes": ..., "sha256": ...}, ...}}
      model.safetensors
      run.json

A checkpoint is written to a temporary folder, flushed to disk and renamed, so a crash or a full disk never leaves a partial
one. The hashes detect damage, not tampering. Nothing is ever pickled or unpickled.
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
"""Maximum length of a file name in characters; operating systems report longer names with different errors."""
_SLACK, _SLACK_TENSORS, _SLACK_VALUES = 4, 1000, 1 << 26
"""Limits for how much larger than its weights file a model may be while it is built: a factor, and numbers of additional
tensors and values. Such models occur because other libraries build some parts twice and discard others."""
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_UNLISTED = frozenset((files.MARK, "encoder.onnx", "decoder.onnx"))
"""Files that may be missing from the manifest; earlier versions added ONNX files after writing it."""
_SHOWN = 10


def write_folder(
    path: Path,
    weights: Mapping[str, Mapping[str, Tensor]],
    documents: Mapping[str, Any] | None = None,
    texts: Mapping[str, str] | None = None,
    more: Callable[[Path], None] | None = None,
) -> None:
    """Writes ``<name>.safetensors`` and ``<name>.json`` files and moves the whole folder into place atomically.

    An existing checkpoint at `path` stays readable until it is replaced. A folder that is not a checkpoint is never
    replaced.

    Args:
        path: The checkpoint folder.
        weights: Tensors by file name (without suffix), then by tensor name.
        documents: JSON values by file name (without suffix).
        texts: Contents of further text files, by full file name.
        more: Called with the temporary folder, to write further files before it is moved into place.

    Raises:
        CheckpointError: The disk is full, `path` is not writable, or it holds files that are not part of a checkpoint.
            Existing files are unchanged.
    """
    path = Path(path)
    _refuse_foreign(path)

    try:
        with files.making(path.parent), files.temporary_folder(path) as temporary:
            aliases = _write_files(temporary, weights, documents or {}, texts or {})
            if more is not None:
                more(temporary)
            _write_manifest(temporary, aliases)
            files.swap(temporary, path)
    except (OSError, SafetensorError) as error:  # safetensors wraps disk errors
        raise _cannot_write(path, weights, error) from error


def write_entry(folder: Path, name: str, tensors: Mapping[str, Tensor]) -> None:
    """Writes one weights file of a folder that several processes write, and next to it its entry for the manifest.

    Once the entry exists, the file is complete and on disk. `finish_folder` collects the entries.

    Args:
        folder: The folder, which is not in place yet.
        name: File name with its suffix.
        tensors: Tensors by name.

    Raises:
        CheckpointError: The disk is full, or the folder is not writable.
    """
    try:
        aliases = _write_files(folder, {name.removesuffix(".safetensors"): tensors}, {}, {})
        file = folder / name
        files.force_to_disk(file)
        entry = {**_entry(file), "aliases": aliases[name]}
        files.write_text(_entry_path(folder, name), json.dumps(entry))
    except (OSError, SafetensorError) as error:
        raise _cannot_write(folder / name, {name: tensors}, error) from error


def write_failure(folder: Path, name: str, reason: str) -> None:
    """Reports in place of an entry that a file could not be written."""
    files.write_text(_entry_path(folder, name), json.dumps({"error": reason}))


def entry_of(folder: Path, name: str) -> dict[str, Any] | None:
    """The entry of a file that another process writes; None as long as it is not complete.

    Raises:
        CheckpointError: The file could not be written.
    """
    path = _entry_path(folder, name)
    if not path.is_file():
        return None
    entry = parse_json(path)
    if "error" in entry:
        raise CheckpointError(f"{folder / name}: another process could not write it: {entry['error']}")
    return {**entry}


def finish_folder(temporary: Path, path: Path, names: Sequence[str], documents: Mapping[str, Any]) -> None:
    """Writes the documents and the manifest of a folder whose weights several processes wrote, and moves it into place.

    Args:
        temporary: The folder.
        path: Where it is moved to.
        names: Names of the weights files, whose entries all exist.
        documents: JSON values by file name (without suffix).

    Raises:
        CheckpointError: As for `write_folder`.
    """
    _refuse_foreign(path)
    entries: dict[str, dict[str, Any]] = {}
    for name in names:
        entry = entry_of(temporary, name)
        assert entry is not None
        entries[name] = entry

    try:
        for name in names:
            _entry_path(temporary, name).unlink()
        _write_files(temporary, {}, documents, {})
        _write_manifest(temporary, {}, entries)
        files.swap(temporary, path)
    except OSError as error:
        raise _cannot_write(path, {}, error) from error


def _entry_path(folder: Path, name: str) -> Path:
    return folder / f".{name}.entry"


def _write_files(
    folder: Path,
    weights: Mapping[str, Mapping[str, Tensor]],
    documents: Mapping[str, Any],
    texts: Mapping[str, str],
) -> dict[str, dict[str, str]]:
    """Writes all files and returns the tensor aliases of each weights file: the stored name by alias."""
    aliases: dict[str, dict[str, str]] = {}
    for name, tensors in weights.items():
        file = folder / f"{name}.safetensors"
        kept, aliases[file.name] = _without_aliases(tensors)
        # Transformers refuses safetensors files without this "format" entry.
        save_file(kept, file, metadata={"format": "pt"})
        files.follow_umask(file)

    for name, value in documents.items():
        text = json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False)
        (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")

    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")

    return aliases


def _refuse_foreign(path: Path) -> None:
    """Raises `CheckpointError` if a folder contains anything except the files that our manifest lists."""
    if not path.exists():
        return
    if not path.is_dir():
        raise CheckpointError(f"{path}: is a file; a folder is needed.")

    names = {file.name for file in path.iterdir()}
    listed, what = set[str](), f"but no {MANIFEST} written by Sightweave"
    if files.has_key(path / MANIFEST, "format_version"):
        listed = {name.partition("/")[0] for name in _manifest(path)} | {MANIFEST}
        what = f"which {MANIFEST} does not list"

    others = sorted(names - listed - _UNLISTED)
    if others:
        raise CheckpointError(
            f"{path}: holds {', '.join(others[:_SHOWN])}, {what}; the new folder would replace them. "
            "Choose another folder, or move these files."
        )


def _entry(file: Path) -> dict[str, Any]:
    return {"bytes": file.stat().st_size, "sha256": _sha256(file)}


def _write_manifest(
    folder: Path,
    aliases: Mapping[str, Mapping[str, str]],
    known: Mapping[str, dict[str, Any]] | None = None,
) -> None:
    """Writes the manifest of all files in a folder, then flushes the folder to disk.

    Args:
        folder: The folder.
        aliases: For each weights file, the stored name by each other name of the same tensor.
        known: Entries of files that need not be read again.
    """
    entries: dict[str, dict[str, Any]] = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            name = file.relative_to(folder).as_posix()
            entries[name] = known[name] if known and name in known else _entry(file)
            if aliases.get(name):
                entries[name]["aliases"] = dict(aliases[name])

    manifest = {"format_version": FORMAT_VERSION, "files": entries}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")

    for file in folder.rglob("*"):
        files.force_to_disk(file)
    files.force_to_disk(folder)


def _without_aliases(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Splits tensors into those to store and aliases of them (tied weights), as the stored name by alias."""
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
    """Removes a checkpoint folder, and the previous version that an interrupted write may have left next to it.

    Raises:
        CheckpointError: The folder also holds files that are not part of the checkpoint; nothing is removed.
    """
    _refuse_foreign(path)
    for one in (path, files.aside(path)):
        if one.is_dir():
            shutil.rmtree(one)


def _cannot_write(
    path: Path, weights: Mapping[str, Mapping[str, Tensor]], error: Exception
) -> CheckpointError:
    needed = 0
    for tensors in weights.values():
        needed += sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    existing = next((folder for folder in path.parents if folder.exists()), Path.cwd())
    free = shutil.disk_usage(existing).free

    reason = getattr(error, "strerror", None) or error
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
    """Reads all tensors of ``<name>.safetensors`` and checks the folder, the file and the values.

    Args:
        path: The checkpoint folder.
        expected: The exact set of tensors that the file must hold, as shapes by name; None accepts any.
        name: The file name without its suffix.
        allow_nonfinite: Whether to accept NaN and infinite values.

    Raises:
        CheckpointError: The folder or its manifest is missing, the format is newer than this version, the folder holds a
            pickle, the file was truncated or changed, its names or shapes differ from `expected`, or values are not finite.
    """
    file, entry = _checked_file(Path(path), f"{name}.safetensors")
    if expected is not None:
        compare_shapes(file, _shapes(file, entry), expected)

    try:
        tensors = load_file(file)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file}: not a safetensors file: {error}. Copy it again.") from error

    for alias, kept in entry.get("aliases", {}).items():
        if kept in tensors:
            tensors[alias] = tensors[kept]
    if not allow_nonfinite:
        check_finite(file, tensors)
    return tensors


def read_aliases(path: Path, name: str, *, is_checked: bool = True) -> dict[str, str]:
    """For a weights file, the stored name by each other name of the same tensor, after checking the file.

    Args:
        path: The checkpoint folder.
        name: The file name with its suffix.
        is_checked: Whether to compare its SHA-256 too, which reads the whole file.

    Raises:
        CheckpointError: As for `read_weights`, except that values are not checked.
    """
    look = _checked_file if is_checked else _listed_file
    _, entry = look(Path(path), name)
    return dict(entry.get("aliases", {}))


def load_into(module: nn.Module, path: Path, *, name: str = "model", assign: bool = False) -> None:
    """Loads the weights of ``<name>.safetensors`` into a module after all checks of `read_weights`.

    Args:
        module: The module; with `assign` it may be on the meta device.
        path: The checkpoint folder.
        name: The file name without its suffix.
        assign: Whether the loaded tensors replace the module's parameters instead of being copied into them, which avoids
            holding the weights in memory twice.

    Raises:
        CheckpointError: As for `read_weights`, or the module's names or shapes differ. The module is then unchanged.
    """
    expected = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    tensors = read_weights(path, expected, name=name)

    if assign:
        # Results may differ in the last bit with a tensor's memory alignment, which depends on its offset in the file. The
        # copies are all aligned alike.
        tensors = {key: tensors.pop(key).clone() for key in list(tensors)}
    module.load_state_dict(tensors, assign=assign)


def shapes(path: Path, *, name: str = "model") -> dict[str, tuple[int, ...]]:
    """The shape of each tensor in ``<name>.safetensors``, including aliases; only the file's header is read.

    Raises:
        CheckpointError: As for `read_weights`, except that neither the hash nor the values are checked.
    """
    file, entry = _listed_file(Path(path), f"{name}.safetensors")
    return _shapes(file, entry)


def _shapes(file: Path, entry: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    try:
        with safe_open(file, "pt") as weights:
            found = {key: tuple(weights.get_slice(key).get_shape()) for key in weights.keys()}  # noqa: SIM118  # no dict
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{file}: not a safetensors file: {error}. Copy it again.") from error

    for alias, kept in entry.get("aliases", {}).items():
        if kept in found:
            found[alias] = found[kept]
    return found


@contextlib.contextmanager
def no_larger_than(shapes: Mapping[str, Sequence[int]], *, where: Path) -> Iterator[None]:
    """A context in which building a model fails as soon as it grows much larger than its weights file.

    A recipe of a few bytes can describe a model of any size, and building a huge one takes hours even on the meta device.

    Args:
        shapes: Shapes of the tensors in the weights file, by name.
        where: The checkpoint folder, for the message.

    Raises:
        CheckpointError: The model has far more parameters, or far more values in them, than the weights file.
    """
    most_tensors = _SLACK * len(shapes) + _SLACK_TENSORS
    most_values = _SLACK * sum(math.prod(shape) for shape in shapes.values()) + _SLACK_VALUES
    tensors = values = 0
    thread = threading.get_ident()

    def count(_module: nn.Module, _name: str, parameter: Any) -> None:
        nonlocal tensors, values
        # The hook is global, so it also sees models that other threads build.
        if parameter is None or threading.get_ident() != thread:
            return

        tensors, values = tensors + 1, values + parameter.numel()
        if tensors > most_tensors or values > most_values:
            raise CheckpointError(
                f"{where}: the recipe describes a model of more than {tensors - 1} tensors or {values} values, but the "
                f"weights file holds {len(shapes)} tensors; the two are from different runs."
            )

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()


def read_document(path: Path, name: str, *, most: int = MAX_JSON_BYTES) -> Any:
    """Reads the JSON value of ``<name>.json`` after checking the folder and the file as `read_weights` does.

    Args:
        path: The checkpoint folder.
        name: The file name without its suffix.
        most: Maximum size of the file in bytes.

    Raises:
        CheckpointError: As for `read_weights`, or the file is too large or not JSON.
    """
    file, _ = _checked_file(Path(path), f"{name}.json", most)
    return parse_json(file, most=most)


def _checked_file(path: Path, name: str, most: int | None = None) -> tuple[Path, dict[str, Any]]:
    """The path of a file and its manifest entry, after checking its size and hash."""
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
    """The path of a file and its entry in the manifest.

    Raises:
        CheckpointError: The file is not listed, is missing, or has another size than its entry.
    """
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
    """The manifest's entries by file name, after checking the manifest and that the folder holds no pickles."""
    # Refuse pickles even if the manifest does not list them.
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
    # Subfolders are allowed, but a name such as ../../x must not lead out of the folder.
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
    """Whether a value is a file name without any folder, unlike ``../../x`` or ``a/b``."""
    if not isinstance(name, str) or len(name) > _LONGEST_NAME:
        return False
    return Path(name).name == name and "\\" not in name and "\0" not in name


def refuse_pickle(file: Path) -> None:
    """Raises `CheckpointError` if a file is a pickle by its suffix or by its first bytes."""
    if file.suffix in PICKLES:
        raise CheckpointError(f"{file}: has the suffix of a pickle; pickles can run code and are never read.")

    try:
        with bounded.opened(file) as stream:
            start = stream.read(9)
    except UnreadableError as error:
        raise CheckpointError(f"{file}: {error}") from error
    # A safetensors file starts with eight bytes of length and a brace. The length itself may start with the first byte of a
    # pickle, so the brace is checked first.
    if start[8:] == b"{":
        return
    if start[:1] == b"\x80" or start[:4] == b"PK\x03\x04":
        raise CheckpointError(
            f"{file}: is a pickle despite its name; pickles can run code and are never read. "
            "Convert it to safetensors in a sandbox."
        )


def parse_json(file: Path, *, most: int = MAX_JSON_BYTES) -> Any:
    """Reads the JSON value in a file.

    Args:
        file: Path of the file.
        most: Maximum size of the file in bytes.

    Raises:
        CheckpointError: The file is not a regular file, is too large, or is not JSON or nested too deeply.
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
    """Raises `CheckpointError` if tensor names or shapes differ from the expected ones; the message lists the first few."""
    missing, extra, other = [], [], []
    for key, shape in expected.items():
        if key not in found:
            missing.append(f"{key}: missing in the file, {tuple(shape)} in the model")
        elif found[key] != tuple(shape):
            other.append(f"{key}: {found[key]} in the file, {tuple(shape)} in the model")
    for key in found:
        if key not in expected:
            extra.append(f"{key}: {found[key]} in the file, not in the model")
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
    """Raises `CheckpointError` if a weight is NaN or infinite."""
    for key, tensor in tensors.items():
        # A finite sum rules out NaN and infinity. Values are checked one by one only if it is not, since it may just have
        # overflowed.
        if not tensor.is_floating_point() or tensor.sum().isfinite():
            continue

        finite = tensor.isfinite()
        if not finite.all():
            count = int((~finite).sum())
            raise CheckpointError(
                f"{file}: {key}: {count} of {tensor.numel()} values are NaN or infinite; "
                "training had diverged. Use an earlier checkpoint, or allow_nonfinite=True to inspect this one."
            )
