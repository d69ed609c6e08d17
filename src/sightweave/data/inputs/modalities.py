"""Operations on media that depend on their modality; those on images do not import torch.

`media._base.Loader` is the interface that every modality implements.
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
    """The loader class of a modality, for operations that need no settings.

    Raises:
        RecipeError: There is no such modality.
    """
    found: type[Loader] = catalog.module(FAMILY, modality).Loader
    return found


def by_modality(media: Sequence[Medium]) -> dict[str, list[int]]:
    """Indices of the media of each modality, by modality."""
    numbers: dict[str, list[int]] = {}
    for number, medium in enumerate(media):
        numbers.setdefault(medium.modality, []).append(number)
    return numbers


def check(medium: Medium) -> None:
    """Checks that a medium can be read, reading at most its header.

    Raises:
        MediaError: The medium cannot be read.
    """
    if medium.modality == IMAGE:
        image_files.probe(medium)
    else:
        loader_class(medium.modality).check(medium)


def digest(medium: Medium) -> str:
    """SHA-256 of a medium's file, or of its values if it has no file, as 64 hexadecimal digits.

    Raises:
        MediaError: The medium cannot be read.
    """
    if medium.modality == IMAGE:
        return image_files.digest(medium)
    return loader_class(medium.modality).digest(medium)


def contents(given: Iterable[Medium]) -> dict[Medium, str]:
    """A name for the content of each medium, such that two media have the same name if and only if they are equal."""
    distinct = list(dict.fromkeys(given))
    names: dict[Medium, str] = {}
    for modality, numbers in by_modality(distinct).items():
        those = [distinct[number] for number in numbers]
        names |= (
            image_contents.contents(those) if modality == IMAGE else loader_class(modality).contents(those)
        )
    return names


def refuse_unknown(media: Sequence[Medium], known: Mapping[str, Any], where: str) -> None:
    """Checks that a model has an encoder for each medium.

    Args:
        media: The media.
        known: Modalities that the model reads, as keys.
        where: Origin of the media, for messages.

    Raises:
        DataError: The modality of a medium is not among those that the model reads.
    """
    for medium in media:
        if medium.modality not in known:
            raise DataError(
                f"{where}: has {medium.key!r} of the modality {medium.modality!r}, but this model reads "
                f"{', '.join(known)}; leave it out, or train a model with model.media.{medium.modality}."
            )
