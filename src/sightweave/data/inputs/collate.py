"""Collates encoded samples into a batch: groups samples with the same images into bundles, and bundles into rows.

A bundle is a trunk (the images) with a branch for each of its samples. A row holds one or more bundles, each as a segment::

    row      [ trunk | branch 1 | branch 2 ][ trunk | branch 1 ] pad
    segment    0       0          0           1       1
    branch     0       1          2           0       1
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from sightweave.core.batch import Batch, Media, Regions, TokenSequence
from sightweave.core.types import InputLayout, Medium, Region, Sample
from sightweave.data.inputs.media._base import Loaded
from sightweave.data.inputs.packing import fewest_rows
from sightweave.data.inputs.template import Encoded, Stretch, TrunkKey

IGNORE = -100


@dataclass(slots=True)
class Bundle:
    """Samples that share their leading media."""

    encoded: list[Encoded]

    @property
    def length(self) -> int:
        """Number of tokens of the bundle in a row, including targets."""
        branches = [len(one.prompt) + len(one.target) for one in self.encoded]
        return len(self.encoded[0].trunk) + sum(branches)


def bundle(samples: Iterable[Encoded], *, share: bool = True) -> list[Bundle]:
    """Groups samples with the same leading media into bundles, in order of first occurrence.

    Samples without media are bundled by their group: they are questions about an image that training hides.

    Args:
        samples: Encoded samples.
        share: Whether samples may share media; if not, each sample gets its own bundle.
    """
    bundles: dict[tuple[TrunkKey, str, int], Bundle] = {}
    for number, encoded in enumerate(samples):
        group = "" if encoded.trunk_media or encoded.branch_media else encoded.sample.group
        is_shared = share and bool(encoded.trunk_media or group)
        key = (encoded.trunk_key, group, -1 if is_shared else number)
        bundles.setdefault(key, Bundle([])).encoded.append(encoded)
    return list(bundles.values())


def pack(bundles: Sequence[Bundle], capacity: int) -> list[list[Bundle]]:
    """Packs bundles into as few rows as `packing.fewest_rows` can find.

    Args:
        bundles: Bundles to pack; a bundle longer than `capacity` gets a row of its own.
        capacity: Maximum number of tokens in a row.
    """
    return [[bundles[i] for i in row] for row in fewest_rows([one.length for one in bundles], capacity)]


def deal(rows: Sequence[Sequence[Bundle]], count: int) -> list[list[list[Bundle]]]:
    """Divides rows into `count` batches with nearly equal numbers of rows and tokens; no batch is empty.

    As long as there are fewer rows than batches, the row with the most samples is cut in two.

    Args:
        rows: Rows of bundles.
        count: Number of batches.

    Returns:
        The rows of each batch.

    Raises:
        ValueError: There are fewer samples than batches.
    """
    cut = [list(row) for row in rows]
    while len(cut) < count:
        samples = [sum(len(one.encoded) for one in row) for row in cut]
        fullest = samples.index(max(samples))
        cut[fullest : fullest + 1] = _halves(cut[fullest])

    tokens = [sum(one.length for one in row) for row in cut]
    order = sorted(range(len(cut)), key=lambda i: -tokens[i])

    hands: list[list[list[Bundle]]] = [[] for _ in range(count)]
    held = [0] * count
    for start in range(0, len(order), count):
        # In each round, the longest of the next rows goes to the batch with the fewest tokens.
        lightest = sorted(range(count), key=lambda i: held[i])
        for row, hand in zip(order[start : start + count], lightest, strict=False):
            hands[hand].append(cut[row])
            held[hand] += tokens[row]

    return hands


def _halves(row: list[Bundle]) -> tuple[list[Bundle], list[Bundle]]:
    """Splits a row between bundles, or between the samples of its only bundle, which then no longer share media."""
    if len(row) > 1:
        return row[: len(row) // 2], row[len(row) // 2 :]

    samples = row[0].encoded
    if len(samples) < 2:
        raise ValueError("there are fewer samples than batches to divide them into.")

    middle = len(samples) // 2
    return [Bundle(samples[:middle])], [Bundle(samples[middle:])]


@dataclass(slots=True)
class _Row:
    """One row of a token sequence that is being built; the fields are those of `TokenSequence`."""

    ids: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    item: list[int] = field(default_factory=list)
    ar: list[int] = field(default_factory=list)
    segment: list[int] = field(default_factory=list)
    branch: list[int] = field(default_factory=list)

    def add(self, stretch: Stretch, *, position: int, items: Sequence[int], segment: int, branch: int) -> int:
        """Appends a stretch and returns the position id after it.

        Args:
            stretch: The tokens.
            position: Position id of the first token.
            items: Index in the batch of each medium of the sample.
            segment: Segment of the tokens.
            branch: Branch of the tokens.
        """
        count = len(stretch)
        self.ids += stretch.ids
        self.labels += [i if learn else IGNORE for i, learn in zip(stretch.ids, stretch.learn, strict=True)]

        places = list(accumulate(stretch.step, initial=position))
        self.positions += places[:-1]

        self.item += [-1 if number < 0 else items[number] for number in stretch.item]
        self.ar += stretch.ar
        self.segment += [segment] * count
        self.branch += [branch] * count
        return places[-1]


@dataclass(slots=True)
class Shown:
    """A medium of a batch, its position, and the samples that contain it."""

    medium: Medium
    row: int = 0
    segment: int = 0
    branch: int = 0
    samples: list[Sample] = field(default_factory=list)
    leads: list[bool] = field(default_factory=list)
    """For each of `samples`, whether the medium is the sample's first one."""


@dataclass(frozen=True, slots=True)
class Collated:
    """A batch whose media are not loaded yet."""

    batch: Batch
    """The batch without its media."""
    shown: list[Shown]
    """The media of the batch, in the order of the indices by which tokens refer to them."""
    pictures: list[Medium] = field(default_factory=list)
    """The target images, in the order of their tokens."""

    def with_media(self, loaded: Mapping[str, tuple[Sequence[int], Loaded]]) -> Batch:
        """Completes the batch with loaded media.

        Args:
            loaded: For each modality, the ascending indices of its media in `shown`, and their values.
        """
        places = torch.tensor([(one.row, one.segment, one.branch) for one in self.shown])
        media = {}
        for modality, (numbers, read) in loaded.items():
            item = torch.tensor(numbers)
            row, segment, branch = places[item].T.contiguous()
            keys = tuple(self.shown[number].medium.key for number in numbers)
            rows = tuple(self.shown[number].row for number in numbers)
            media[modality] = Media(read.values, item, row, segment, branch, keys=keys, rows=rows)
        return replace(self.batch, media=media)


def _show(shown: list[Shown], media: Iterable[Medium], *, row: int, segment: int, branch: int) -> list[int]:
    """Appends media and returns their indices in the batch."""
    first = len(shown)
    shown += [Shown(medium, row, segment, branch) for medium in media]
    return list(range(first, len(shown)))


def collate(
    rows: Sequence[Sequence[Bundle]],
    *,
    layout: InputLayout,
    pad_id: int,
    answers: Sequence[str] = (),
) -> Collated:
    """Converts rows of bundles to tensors for training and scoring, and lists the media to be loaded.

    Args:
        rows: Bundles of each row.
        layout: Token layout that the model expects.
        pad_id: Id of the token that pads rows on the right.
        answers: List of answers, for a model that classifies answers.
    """
    shown: list[Shown] = []
    pictures: list[Medium] = []
    targets, sources = [_Row() for _ in rows], [_Row() for _ in rows]

    # For answer classification, collect the position of each answer and the scores of all classes.
    class_at: list[tuple[int, int]] = []
    scores: list[list[float]] = []
    for number, bundles in enumerate(rows):
        target, source = targets[number], sources[number]
        reader = source if layout.form == "encoder_decoder" else target

        for segment, one in enumerate(bundles):
            many = len(one.encoded) > 1
            trunk = one.encoded[0]
            shared = _show(shown, trunk.trunk_media, row=number, segment=segment, branch=0)
            start = reader.add(trunk.trunk, position=0, items=shared, segment=segment, branch=0)

            for index, encoded in enumerate(one.encoded):
                place = {"segment": segment, "branch": index + 1 if many else 0}
                items = shared + _show(shown, encoded.branch_media, row=number, **place)
                for item in items:
                    shown[item].samples.append(encoded.sample)
                    shown[item].leads.append(item == items[0])
                pictures += encoded.pictures
                after = reader.add(encoded.prompt, position=start, items=items, **place)
                if layout.form == "classify":
                    class_at.append((number, len(target.ids) - 1))
                    scores.append(_answer_scores(encoded, answers))
                elif layout.form == "encoder_decoder":
                    asked = Stretch([encoded.begin], [-1], [1], [False])
                    begin = target.add(asked, position=0, items=(), **place)
                    target.add(encoded.target, position=begin, items=(), **place)
                else:
                    target.add(encoded.target, position=after, items=items, **place)

    target_tokens = token_sequence(targets, pad_id)
    width = target_tokens.ids.shape[1]
    batch = Batch(
        target=target_tokens,
        source=token_sequence(sources, pad_id) if layout.form == "encoder_decoder" else None,
        class_at=torch.tensor([row * width + at for row, at in class_at]) if class_at else None,
        class_scores=torch.tensor(scores) if scores else None,
        image_tokens=layout.image_tokens if pictures else None,
    )
    return Collated(batch, shown, pictures)


def _answer_scores(encoded: Encoded, answers: Sequence[str]) -> list[float]:
    """Target score of each answer: its count among the references, divided by the count of the most common answer."""
    references = encoded.sample.references or (encoded.sample.target,)
    counts = [float(references.count(answer)) for answer in answers]
    return [count / max(1.0, *counts) for count in counts]


def token_sequence(rows: Sequence[_Row], pad_id: int) -> TokenSequence:
    """Converts rows to tensors, padded on the right."""
    width = max(len(row.ids) for row in rows)

    def dense(name: str, fill: int) -> Tensor:
        full = np.full((len(rows), width), fill, dtype=np.int64)
        for index, row in enumerate(rows):
            values = getattr(row, name)
            full[index, : len(values)] = values
        return torch.from_numpy(full)

    lengths = torch.tensor([len(row.ids) for row in rows])
    plain = all(not any(row.segment) and not any(row.branch) and all(row.ar) for row in rows)
    return TokenSequence(
        ids=dense("ids", pad_id),
        labels=dense("labels", IGNORE),
        positions=dense("positions", 0),
        item=dense("item", -1),
        ar=dense("ar", 1),
        segment=dense("segment", -1),
        branch=dense("branch", 0),
        valid=torch.arange(width) < lengths[:, None],
        plain=plain,
    )


def stretch_rows(
    stretches: Sequence[Stretch], starts: Sequence[int], items: Sequence[Sequence[int]]
) -> list[_Row]:
    """Makes rows with one stretch each, as for generation.

    Args:
        stretches: Tokens of each row.
        starts: Position id of each row's first token.
        items: Indices in the batch of the media of each row.
    """
    rows = []
    for stretch, start, numbers in zip(stretches, starts, items, strict=True):
        row = _Row()
        row.add(stretch, position=start, items=numbers, segment=0, branch=0)
        rows.append(row)
    return rows


def region_targets(
    regions: Sequence[tuple[int, Region]],
    *,
    starts: Sequence[int],
    layout: InputLayout,
    place: Callable[[int, Region], tuple[float, float]],
    word_ids: Callable[[str], Sequence[int]],
) -> Regions | None:
    """Labels the embedding at the centre of each region with the ids of the region's words.

    Args:
        regions: Pairs of a medium's index and a region of the medium.
        starts: Index of each medium's first embedding among those of the batch.
        layout: Token layout, which defines the grid of embeddings.
        place: Returns the centre of a region as fractions x, y of the transformed image.
        word_ids: Returns the ids of a word.

    Returns:
        The labels; None if there are no visible regions, or the embeddings do not form a grid.
    """
    if layout.grid is None or not regions:
        return None

    height, width = layout.grid
    at, words = [], []
    for item, region in regions:
        x, y = place(item, region)
        if not (0 <= x < 1 and 0 <= y < 1):
            continue  # the centre was cropped away

        at.append(starts[item] + int(y * height) * width + int(x * width))
        words.append(sorted({i for word in region.words for i in word_ids(word)}))
    return Regions(torch.tensor(at, dtype=torch.int64), _ragged(words)) if at else None


def caption_targets(words: Sequence[Sequence[int]]) -> Regions:
    """Labels whole media, each with the distinct ids of the words that describe it."""
    rows = [sorted(set(one)) for one in words]
    return Regions(torch.arange(len(rows)), _ragged(rows), whole=True)


def _ragged(rows: Sequence[Sequence[int]]) -> Tensor:
    full = np.full((len(rows), max(1, *map(len, rows))), -1, dtype=np.int64)
    for index, row in enumerate(rows):
        full[index, : len(row)] = row
    return torch.from_numpy(full)
