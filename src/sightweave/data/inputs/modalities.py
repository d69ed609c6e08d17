"""The modality of a medium, and operations that depend on it; those on images do not load torch.

`media._base.Loader` defines what a modality must provide.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sightweave.core import catalog
from sightweave.core.errors import DataError
from sightweave.core.types import Medium
from sightweave.data.inputs import image_contents, image_files

if TYPE_CHECKING:
    from sightweave.data.inputs.media._base import Loader

FAMILY = "data.inputs.media"
IMAGE = "image"


def loader_class(modality: str) -> type[Loader]:
    """The class that reads a modality, for operations that need no settings.

    Raises:
        RecipeError: There is no such modality.
    """
    found: type[Loader] = catalog.module(FAMILY, modality).Loader
    return found


def by_modality(media: Sequence[Medium]) -> dict[str, list[int]]:
    """Indices of the media of each modality, in order."""
    numbers: dict[str, list[int]] = {}
    for number, medium in enumerate(media):
        numbers.setdefault(medium.modality, []).append(number)
    return numbers


def check(medium: Medium) -> None:
    """Reads the header of a medium.

    Raises:
        MediaError: It cannot be read.
    """
    if medium.modality == IMAGE:
        image_files.probe(medium)
    else:
        loader_class(medium.modality).check(medium)


def digest(medium: Medium) -> str:
    """SHA-256 of the file of a medium, or of its values if it has none: 64 hexadecimal digits.

    Raises:
        MediaError: It cannot be read.
    """
    if medium.modality == IMAGE:
        return image_files.digest(medium)
    return loader_class(medium.modality).digest(medium)


def contents(given: Iterable[Medium]) -> dict[Medium, str]:
    """A name for the content of each medium; two media have the same name if and only if their contents are equal."""
    distinct = list(dict.fromkeys(given))
    names: dict[Medium, str] = {}
    for modality, numbers in by_modality(distinct).items():
        those = [distinct[number] for number in numbers]
        names |= (
            image_contents.contents(those) if modality == IMAGE else loader_class(modality).contents(those)
        )
    return names


def refuse_unknown(media: Sequence[Medium], known: Mapping[str, Any], where: str) -> None:
    """Rejects media that a model has no encoder for.

    Raises:
        DataError: There is such a medium; the message names the first one and what the model reads.
    """
    for medium in media:
        if medium.modality not in known:
            raise DataError(
                f"{where}: has {medium.key!r} of the modality {medium.modality!r}, but this model reads "
                f"{', '.join(known)}; leave it out, or train a model with model.media.{medium.modality}."
            )
