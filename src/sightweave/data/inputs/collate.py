"""Stretches of tokens -> Batch: bundles of samples about one image, bundles into rows, rows into tensors.

A bundle is a trunk (the images) with one branch for each of its samples; a row holds one or more bundles, each a segment::

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
    """Samples that share their leading images."""

    encoded: list[Encoded]

    @property
    def length(self) -> int:
        """Number of tokens that it takes up in a row, targets included."""
        branches = [len(one.prompt) + len(one.target) for one in self.encoded]
        return len(self.encoded[0].trunk) + sum(branches)


def bundle(samples: Iterable[Encoded], *, share: bool = True) -> list[Bundle]:
    """Bundles the samples that have the same leading media; bundles are in order of first appearance.

    Samples of one group without media form a bundle too: questions about an image that training hides.
    """
    bundles: dict[tuple[TrunkKey, str, int], Bundle] = {}
    for number, encoded in enumerate(samples):
        group = "" if encoded.trunk_media or encoded.branch_media else encoded.sample.group
        is_shared = share and bool(encoded.trunk_media or group)
        key = (encoded.trunk_key, group, -1 if is_shared else number)
        bundles.setdefault(key, Bundle([])).encoded.append(encoded)
    return list(bundles.values())


def pack(bundles: Sequence[Bundle], capacity: int) -> list[list[Bundle]]:
    """Packs bundles into the fewest rows that `packing.fewest_rows` finds.

    Args:
        bundles: Bundles to place; one longer than `capacity` gets a row of its own.
        capacity: Maximum number of tokens in a row.
    """
    return [[bundles[i] for i in row] for row in fewest_rows([one.length for one in bundles], capacity)]


def deal(rows: Sequence[Sequence[Bundle]], count: int) -> list[list[list[Bundle]]]:
    """Splits rows into `count` hands of equal size, and of nearly equal tokens; no hand is empty.

    If there are fewer rows than hands, the row with the most samples is cut in two, and so on.

    Args:
        rows: Rows of bundles.
        count: Number of hands; there must be at least this many samples.

    Raises:
        ValueError: Fewer samples than hands.
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
        # In each round, the longest of the next rows goes to the hand with the fewest tokens.
        lightest = sorted(range(count), key=lambda i: held[i])
        for row, hand in zip(order[start : start + count], lightest, strict=False):
            hands[hand].append(cut[row])
            held[hand] += tokens[row]

    return hands


def _halves(row: list[Bundle]) -> tuple[list[Bundle], list[Bundle]]:
    """A row split between bundles, or between the samples of its only bundle, which then no longer share media."""
    if len(row) > 1:
        return row[: len(row) // 2], row[len(row) // 2 :]

    samples = row[0].encoded
    if len(samples) < 2:
        raise ValueError("rows of one sample each cannot be dealt to more hands than there are rows.")

    middle = len(samples) // 2
    return [Bundle(samples[:middle])], [Bundle(samples[middle:])]


@dataclass(slots=True)
class _Row:
    """One row of a token sequence while it grows."""

    ids: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    item: list[int] = field(default_factory=list)
    ar: list[int] = field(default_factory=list)
    segment: list[int] = field(default_factory=list)
    branch: list[int] = field(default_factory=list)

    def add(self, stretch: Stretch, *, position: int, items: Sequence[int], segment: int, branch: int) -> int:
        """Appends a stretch; `items` are the indices of the sample's media in the batch. Returns the next position."""
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
    """A medium of a batch: its place, and the samples that contain it."""

    medium: Medium
    row: int = 0
    segment: int = 0
    branch: int = 0
    samples: list[Sample] = field(default_factory=list)
    leads: list[bool] = field(default_factory=list)
    """For each sample, whether this is its first medium."""


@dataclass(frozen=True, slots=True)
class Collated:
    """A batch before any medium is loaded."""

    batch: Batch
    """The batch without its media."""
    shown: list[Shown]
    """Its media, in the order of their numbers in the tokens."""

    def with_media(self, loaded: Mapping[str, tuple[Sequence[int], Loaded]]) -> Batch:
        """The whole batch.

        Args:
            loaded: For each modality, the indices of its media in `shown`, ascending, and their values.
        """
        places = torch.tensor([(one.row, one.segment, one.branch) for one in self.shown])
        media = {}
        for modality, (numbers, read) in loaded.items():
            item = torch.tensor(numbers)
            row, segment, branch = places[item].T.contiguous()
            keys = tuple(self.shown[number].medium.key for number in numbers)
            media[modality] = Media(read.values, item, row, segment, branch, keys=keys)
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
    """Turns rows of bundles into tensors, for training and scoring; lists the media that they still need.

    Args:
        rows: Bundles of each row.
        layout: How the model needs its tokens laid out.
        pad_id: Fills rows on the right.
        answers: The list of answers, for a model that classifies.
    """
    shown: list[Shown] = []
    targets, sources = [_Row() for _ in rows], [_Row() for _ in rows]

    # Answer classification: the position of each answer, and the score of each class.
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
    )
    return Collated(batch, shown)


def _answer_scores(encoded: Encoded, answers: Sequence[str]) -> list[float]:
    """Each answer's share of the references, scaled so that the most common one scores 1."""
    references = encoded.sample.references or (encoded.sample.target,)
    counts = [float(references.count(answer)) for answer in answers]
    return [count / max(1.0, *counts) for count in counts]


def token_sequence(rows: Sequence[_Row], pad_id: int) -> TokenSequence:
    """Turns rows into tensors, padded on the right."""
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
    """One stretch per row, as in generation, each with its position and its media numbers."""
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
    """The embedding at the centre of each region, with the ids of the region's words.

    Args:
        regions: (number of the medium, region).
        starts: Where the embeddings of each medium begin among those of the batch.
        layout: Defines the grid of embeddings.
        place: Returns the centre of a region as fractions x, y of the transformed image.
        word_ids: Ids of a word.
    """
    if layout.grid is None or not regions:
        return None

    height, width = layout.grid
    at, words = [], []
    for item, region in regions:
        x, y = place(item, region)
        if not (0 <= x < 1 and 0 <= y < 1):
            continue  # cropped away

        at.append(starts[item] + int(y * height) * width + int(x * width))
        words.append(sorted({i for word in region.words for i in word_ids(word)}))
    return Regions(torch.tensor(at, dtype=torch.int64), _ragged(words)) if at else None


def caption_targets(words: Sequence[Sequence[int]]) -> Regions:
    """Ids of the words that describe each whole medium."""
    rows = [sorted(set(one)) for one in words]
    return Regions(torch.arange(len(rows)), _ragged(rows), whole=True)


def _ragged(rows: Sequence[Sequence[int]]) -> Tensor:
    full = np.full((len(rows), max(1, *map(len, rows))), -1, dtype=np.int64)
    for index, row in enumerate(rows):
        full[index, : len(row)] = row
    return torch.from_numpy(full)
