"""The controls of an evaluation: other images, degraded images, and other wordings.

A model that scores as well without the image does not look at it. One that scores much worse on a slightly degraded
image, or when the same question is worded differently, is brittle. Controls only change samples, so they work with any
predictor.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import cycle

import numpy as np

from sightweave.core.errors import DataError
from sightweave.core.types import Medium, Part, Prediction, Rendered, Sample
from sightweave.data.inputs.image_files import load, picture
from sightweave.data.inputs.modalities import contents, loader_class
from sightweave.programs.evaluation.copies import merged
from sightweave.programs.evaluation.prompts import reworded, rotated_options
from sightweave.programs.evaluation.worse import WORSE

Control = Callable[[Sequence[Sample], int], dict[int, Sample]]
"""Function from samples and a seed to changed samples, by the number of the original; samples to which the control does
not apply are missing."""
Copy = Callable[[Sequence[Sample]], dict[int, Prediction]]
"""Function from samples to answers that need no model, by the number of the sample; samples without one are missing."""


def no_image(samples: Sequence[Sample], seed: int = 0) -> dict[int, Sample]:
    """The samples that have media, without their media, as a blind model sees them."""
    return {number: sample.without_media() for number, sample in enumerate(samples) if sample.media}


def shuffled_image(samples: Sequence[Sample], seed: int = 0) -> dict[int, Sample]:
    """The samples that have media, each with another group's media.

    All samples of a group get the same media, and no group keeps its own: the groups form a circle in random order, and
    each gets the media of the next one that contains none of its images. Images are compared by their pixels, so a copy
    under another name is not another image.

    Raises:
        DataError: there are not two groups with different images.
    """
    content = contents(medium for sample in samples for medium in sample.media)
    media: dict[str, tuple[Medium, ...]] = {}
    shows: dict[str, set[str]] = {}
    kinds: dict[str, set[str]] = {}
    for sample in samples:
        if sample.media:
            shows.setdefault(sample.group, set()).update(content[medium] for medium in sample.media)
            # A group gives the media of its first sample, unless a later sample has more modalities.
            known = kinds.setdefault(sample.group, set())
            if not {medium.modality for medium in sample.media} <= known:
                media[sample.group] = sample.media
            known.update(medium.modality for medium in sample.media)

    names = list(media)
    order = np.random.default_rng(seed).permutation(len(names))
    circle = [names[i] for i in order]

    donor: dict[str, tuple[Medium, ...]] = {}
    for place, name in enumerate(circle):
        for step in range(1, len(circle)):
            other = circle[(place + step) % len(circle)]
            has_all = kinds[name] <= {medium.modality for medium in media[other]}
            if has_all and shows[name].isdisjoint(shows[other]):
                donor[name] = media[other]
                break
        else:
            raise DataError(
                f"shuffled_image: no other image for group {name!r} among {len(names)} group(s); "
                "shuffling needs at least two groups with different images."
            )

    return {
        number: _with_media(sample, donor[sample.group])
        for number, sample in enumerate(samples)
        if sample.media
    }


def blank_image(samples: Sequence[Sample], seed: int = 0) -> dict[int, Sample]:
    """The samples that have media, with every image replaced by uniform grey, which carries no information.

    In other modalities, each medium is replaced by what that modality defines as blank, such as silence.
    """
    made: dict[tuple[str, str], Medium] = {}
    changed = {}
    for number, sample in enumerate(samples):
        if not sample.media:
            continue

        blanks = [loader_class(medium.modality).blank(medium) for medium in sample.media]
        # Use one object for equal blanks, so that a grey image is encoded once.
        same = [made.setdefault((blank.modality, blank.key), blank) for blank in blanks]
        changed[number] = _with_media(sample, tuple(same))
    return changed


def other_sense(samples: Sequence[Sample], seed: int = 0) -> dict[int, Sample]:
    """Ambiguous sentences, each with an image of its other sense; a model that uses the image translates that sense.

    Applies to samples with ``tags["contrast"]``. The image comes from the same sentence with another translation
    (CoMMuTE has each sentence twice), or else from a sample with the same word (``tags["word"]``) in another sense
    (``tags["sense"]``), but never from the group of a sample with the same sense. The tags do not say whether that
    image happens to show the sample's own sense as well. Images are assigned in random order, so that each is used
    about equally often. Samples without a suitable image are left out.
    """
    rng = np.random.default_rng(seed)
    originals, samples = samples, merged(samples)

    # Index the ambiguous samples by sentence and by word.
    ambiguous = [n for n, sample in enumerate(samples) if sample.media and sample.tags.get("contrast")]
    by_sentence: dict[tuple[str, str], list[int]] = {}
    by_word: dict[str, list[int]] = {}
    pictures: dict[tuple[str, str], set[str]] = {}
    for n in ambiguous:
        tags = samples[n].tags
        by_sentence.setdefault((samples[n].prompt, tags.get("languages", "")), []).append(n)
        word = tags.get("word", "")
        if word:
            by_word.setdefault(word, []).append(n)
            pictures.setdefault((word, tags.get("sense", "")), set()).add(samples[n].group)

    # Give each sample the least used image that fits.
    used: Counter[str] = Counter()
    order = dict(zip(ambiguous, rng.permutation(len(ambiguous)).tolist(), strict=True))
    found: dict[int, Sample] = {}
    for n in ambiguous:
        own, tags = samples[n], samples[n].tags
        same = by_sentence[own.prompt, tags.get("languages", "")]
        word, sense = tags.get("word", ""), tags.get("sense", "")
        showing = {own.group} | pictures.get((word, sense), set())
        candidates = [m for m in same if set(samples[m].references).isdisjoint(own.references)]
        donors = [m for m in candidates if samples[m].group not in showing]
        if not donors:
            candidates = [m for m in by_word.get(word, []) if samples[m].tags.get("sense", "") != sense]
            donors = [m for m in candidates if samples[m].group not in showing]
        if donors:
            chosen = min(donors, key=lambda m: (used[samples[m].group], order[m]))
            used[samples[chosen].group] += 1
            found[n] = _with_media(originals[n], samples[chosen].media)
    return found


def worse(change: str) -> Control:
    """A control that degrades every image by the change in `WORSE` with this name."""

    def control(samples: Sequence[Sample], seed: int = 0) -> dict[int, Sample]:
        degraded: dict[str, Medium] = {}
        found: dict[int, Sample] = {}
        for number, sample in enumerate(samples):
            images = [medium for medium in sample.media if medium.modality == "image"]
            for medium in images:
                changed = Medium(partial(_changed, medium, change), f"{medium.key}#{change}")
                degraded.setdefault(medium.key, changed)

            if images:
                shown = [degraded.get(medium.key, medium) for medium in sample.media]
                found[number] = _with_media(sample, tuple(shown))
        return found

    control.__doc__ = WORSE[change].__doc__
    return control


def copied_source(samples: Sequence[Sample]) -> dict[int, Prediction]:
    """Images whose words are to be translated, answered with the same words and the same image, without asking the model.

    Applies to samples with ``tags["source"]``. An image that is only copied keeps its background and has every word where
    it should be; what the copy scores is therefore no sign of a translation.
    """
    found = {}
    for number, sample in enumerate(samples):
        images = [medium for medium in sample.media if medium.modality == "image"]
        if images and "source" in sample.tags:
            found[number] = Prediction(sample.tags["source"], drawing=partial(_copy, images[0]))
    return found


def _copy(image: Medium) -> Rendered:
    return Rendered(picture(image))


def _changed(medium: Medium, change: str) -> np.ndarray:
    return WORSE[change](load(medium))


def _with_media(sample: Sample, media: tuple[Medium, ...]) -> Sample:
    """Replaces a sample's media by others of the same modalities; if there are fewer, they are used repeatedly."""
    endless = {}
    for modality in {medium.modality for medium in media}:
        endless[modality] = cycle([medium for medium in media if medium.modality == modality])

    parts: list[Part] = []
    for part in sample.parts:
        if isinstance(part.content, Medium):
            part = replace(part, content=next(endless[part.content.modality]))
        parts.append(part)
    return replace(sample, parts=tuple(parts), regions=())


CONTROLS: Mapping[str, Control] = {
    "no_image": no_image,
    "shuffled_image": shuffled_image,
    "blank_image": blank_image,
    "other_sense": other_sense,
    **{name: worse(name) for name in WORSE},
    "reworded": reworded,
    "rotated_options": rotated_options,
}
"""The controls that ask the model again, by name."""
COPIES: Mapping[str, Copy] = {"copied_source": copied_source}
"""The controls that answer without asking the model, by name."""
ALL: Mapping[str, Callable[..., object]] = {**CONTROLS, **COPIES}
"""All controls, by name."""
