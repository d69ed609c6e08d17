"""Plans training by the lengths of all samples, which are computed from image headers without decoding any image."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from typing import Any

from sightweave.core.errors import DataError
from sightweave.core.types import Sample
from sightweave.data.inputs import image_files
from sightweave.data.inputs.collate import Bundle, bundle, pack
from sightweave.data.inputs.processor import Processor
from sightweave.data.inputs.template import Encoded
from sightweave.data.inputs.too_long import Policy, TooLong, encoded_length, fit

_EXAMPLES = 5
"""Maximum number of examples for each reason."""
_REASONS_SHOWN = 3
"""Maximum number of reasons that the text lists."""
_BITS = 10
"""Number of leading bits that distinguish lengths in the histogram; up to 1,023 tokens, each length has its own bin."""


@dataclass(frozen=True, slots=True)
class Example:
    """A sample that training leaves out."""

    id: str
    tokens: int | None
    """Number of tokens before any shortening; None if it could not be determined."""
    limit: int
    """Maximum number of tokens."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """The samples that training leaves out for the same reason."""

    count: int
    examples: tuple[Example, ...]
    """Examples: the first samples that were left out for this reason, at most five."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Statistics on the lengths of a dataset's samples and on how training will treat them; made by `plan`."""

    samples: int
    """Number of samples that were counted."""
    kept: int
    """Number of samples that training uses, including shortened ones."""
    dropped: Mapping[str, Dropped]
    """Samples that training leaves out, by reason: ``too_long`` (``error`` under that policy), ``empty_answer``, or the code
    of an error."""
    turns_dropped: int
    """Number of kept samples that lose turns."""
    images_shrunk: int
    """Number of kept samples whose images are cut into fewer tiles."""
    text_tokens: int
    """Total number of text tokens of the kept samples, after shortening."""
    image_tokens: int
    """Total number of media tokens of the kept samples; an image counts once for each sample that contains it."""
    percentiles: Mapping[str, int]
    """Percentiles ``50``, ``90``, ``99`` and ``max`` of the number of tokens per sample before any shortening. Values up to
    1,023 and ``max`` are exact; others are rounded up by less than 0.2 %. Empty if no sample could be counted."""
    longest_id: str
    """Id of the first sample with ``max`` tokens."""
    padded_share: float | None
    """Fraction of positions that hold a token if each bundle has a row of its own, padded to the longest row of the
    microstep; None if no sample is kept."""
    packed_share: float | None
    """Fraction of positions that hold a token if the bundles of a microstep are packed into rows of `pack_to` tokens; None
    if nothing is packed."""
    max_length: int
    """Maximum number of tokens of a sample."""
    policy: Policy
    """Policy for samples that are too long."""
    pack_to: int | None
    """Number of tokens per row for packing; None if nothing is packed."""
    groups: int
    """Number of images whose samples were counted."""
    total: int | None
    """Number of images in total; None if unknown."""
    is_partial: bool
    """Whether only part of the data was counted."""

    def to_text(self) -> str:
        """A summary of at most six lines for a terminal."""
        lines = [f"{self.samples:,} samples, {self.kept:,} kept{self._left_out()}"]

        if self.is_partial:
            lines.append(self._extrapolated())
        if self.percentiles:
            half, most, longest = (self.percentiles[name] for name in ("50", "99", "max"))
            tokens = f"tokens: half up to {half:,}, 99 % up to {most:,}, longest {longest:,} ({_shown(self.longest_id)})"
            kept = self.text_tokens + self.image_tokens
            share = (
                f"; {_percent(self.image_tokens / kept)} of them image tokens" if self.image_tokens else ""
            )
            lines.append(tokens + share)

        if self.turns_dropped or self.images_shrunk:
            what = "without their oldest turns" if self.turns_dropped else "use fewer image tiles"
            lines.append(f"shortened: {self.turns_dropped or self.images_shrunk:,} {what} (train.too_long)")
        if self.padded_share is not None:
            lines.append(self._rows(self.padded_share))
        if "error" in self.dropped:
            lines.append("training stops at the first sample that is too long (train.too_long: error)")
        return "lengths: " + "\n         ".join(lines)

    def _left_out(self) -> str:
        if not self.dropped:
            return ""

        named = sorted(self.dropped.items(), key=lambda item: -item[1].count)
        words = []
        for reason, dropped in named[:_REASONS_SHOWN]:
            if reason in ("too_long", "error"):
                first = dropped.examples[0]
                example = f"{_shown(first.id)}: {first.tokens:,}"
                fate = "" if reason == "error" else " dropped"
                words.append(f"{dropped.count:,} over {self.max_length:,} tokens{fate} ({example})")
            else:
                words.append(f"{dropped.count:,} with {reason}")

        rest = [dropped.count for _, dropped in named[_REASONS_SHOWN:]]
        if rest:
            words.append(f"{sum(rest):,} for {len(rest)} more reasons")
        return "; " + ", ".join(words)

    def _extrapolated(self) -> str:
        if self.total is None:
            return f"counted on {self.groups:,} images only"
        about = round(self.samples * self.total / max(1, self.groups))
        return f"counted on {self.groups:,} of {self.total:,} images: about {about:,} samples in total"

    def _rows(self, padded: float) -> str:
        if self.packed_share is None or self.pack_to is None:
            return f"rows: {_percent(padded)} filled if padded (train.stages.N.pack_to packs them)"
        packed = f"{_percent(self.packed_share)} if packed to {self.pack_to:,} (train.stages.N.pack_to)"
        return f"rows: {_percent(padded)} filled if padded; {packed}"

    def to_json(self) -> dict[str, Any]:
        """All fields as a JSON object."""
        plain = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}

        dropped = {}
        for reason, one in self.dropped.items():
            examples = [dataclasses.asdict(example) for example in one.examples]
            dropped[reason] = {"count": one.count, "examples": examples}

        plain["dropped"] = dropped
        return plain | {"percentiles": dict(self.percentiles)}


def plan(
    groups: Iterable[Sequence[Sample]],
    processor: Processor,
    *,
    policy: Policy,
    max_length: int,
    pack_to: int | None = None,
    pictures: int = 8,
    limit: int = 20_000,
    total: int | None = None,
) -> Plan:
    """Counts the samples and tokens that training would use, in one pass and without decoding any image.

    Args:
        groups: Groups of samples, each with all samples of one image, in an order like that of training, since the filling
            of rows depends on which images are in the same microstep.
        processor: Converts samples to tokens.
        policy: Policy for samples that are too long; with ``error``, such samples are counted and no error is raised.
        max_length: Maximum number of tokens of a sample.
        pack_to: Number of tokens per row for packing; None plans without packing.
        pictures: Number of groups per microstep; groups without usable samples are skipped, as in training.
        limit: Maximum number of samples to count.
        total: Total number of groups; None uses the length of `groups`, if it has one.

    Raises:
        ValueError: A number is not positive.
    """
    numbers = {"max_length": max_length, "pack_to": pack_to, "pictures": pictures, "limit": limit}
    for name, number in numbers.items():
        if number is not None and number < 1:
            raise ValueError(f"plan: {name} must be above 0 (got {number}).")
    if total is None and isinstance(groups, Sized):
        total = len(groups)

    tally = _Tally(processor, policy, max_length, pack_to, pictures)
    is_partial = False
    for group in groups:
        room = limit - tally.samples
        is_partial = len(group) > room
        if not is_partial or room:
            tally.add(group[:room])
        if is_partial:
            break

    return tally.finish(total=total, is_partial=is_partial)


@dataclass
class _Slots:
    """Counts the token positions in the rows of microsteps, and how many of them are filled."""

    filled: int = 0
    places: int = 0

    def add(self, rows: Sequence[Sequence[Bundle]], form: str) -> None:
        for lengths in _row_lengths(rows, form):
            self.filled += sum(lengths)
            self.places += len(lengths) * max(lengths)

    @property
    def share(self) -> float | None:
        return self.filled / self.places if self.places else None


def _row_lengths(rows: Sequence[Sequence[Bundle]], form: str) -> list[list[int]]:
    """Number of tokens in each row, for each token sequence of the batch that `collate` would make."""
    prompts, targets = [], []
    for row in rows:
        prompt = target = 0
        for one in row:
            prompt += len(one.encoded[0].trunk)
            for encoded in one.encoded:
                prompt += len(encoded.prompt)
                # The target of an encoder-decoder starts with an additional token.
                target += len(encoded.target) + (form == "encoder_decoder")
        prompts.append(prompt)
        targets.append(target)

    if form == "classify":
        return [prompts]
    if form == "encoder_decoder":
        return [prompts, targets]
    return [[prompt + target for prompt, target in zip(prompts, targets, strict=True)]]


@dataclass
class _Tally:
    """A plan that is being computed: counts so far, a few examples, and the waiting samples of one microstep."""

    processor: Processor
    policy: Policy
    max_length: int
    pack_to: int | None
    pictures: int
    samples: int = 0
    groups: int = 0
    kept: int = 0
    shortened: int = 0
    text_tokens: int = 0
    image_tokens: int = 0
    longest: int = -1
    longest_id: str = ""
    histogram: Counter[int] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[Example]] = field(default_factory=dict)
    padded: _Slots = field(default_factory=_Slots)
    packed: _Slots = field(default_factory=_Slots)
    waiting: list[list[Encoded]] = field(default_factory=list)

    def add(self, group: Sequence[Sample]) -> None:
        """Counts the samples of one image."""
        self.groups += 1
        self.samples += len(group)

        readable: set[str] = set()
        usable: list[Encoded] = []
        for sample in group:
            encoded = self._fitted(sample, readable)
            if encoded is not None:
                usable.append(encoded)

        for encoded in usable:
            marks = sum(item >= 0 for item in encoded.trunk.item + encoded.prompt.item)
            self.image_tokens += marks
            self.text_tokens += encoded_length(encoded) - marks

        self.kept += len(usable)
        if usable:
            self.waiting.append(usable)
        if len(self.waiting) == self.pictures:
            self._microstep()

    def _fitted(self, sample: Sample, readable: set[str]) -> Encoded | None:
        if not sample.has_target:
            self._drop("empty_answer", sample, None)
            return None
        try:
            self._read_headers(sample, readable)
            encoded = self.processor.encode(sample)
        except DataError as error:
            self._drop(str(getattr(error, "code", type(error).__name__)), sample, None)
            return None

        length = encoded_length(encoded)
        self.histogram[_bin(length)] += 1
        if length > self.longest:
            self.longest, self.longest_id = length, sample.id
        if length <= self.max_length:
            return encoded

        if self.policy in ("drop_turn", "shrink_image"):
            shorter = fit(sample, self.processor, self.policy, self.max_length)
            if shorter is not None:
                self.shortened += 1
                return shorter
        self._drop("error" if self.policy == "error" else TooLong.code, sample, length)
        return None

    def _read_headers(self, sample: Sample, readable: set[str]) -> None:
        """Raises `MediaError` if a medium of the sample cannot be read; media in `readable` are known to be readable.

        With tiles, the headers of images are not checked here, since encoding reads them.
        """
        for medium in sample.media:
            if medium.identity in readable or medium.modality not in self.processor.loaders:
                continue  # encoding reports modalities that the model does not read
            if medium.modality != "image":
                self.processor.loaders[medium.modality].size(medium)
            elif self.processor.tiles.max_tiles <= 1:
                image_files.probe(medium)
            readable.add(medium.identity)

    def _drop(self, reason: str, sample: Sample, tokens: int | None) -> None:
        self.counts[reason] += 1
        examples = self.examples.setdefault(reason, [])
        if len(examples) < _EXAMPLES:
            examples.append(Example(sample.id, tokens, self.max_length))

    def _microstep(self) -> None:
        """Counts the rows of the waiting groups, and clears them."""
        form = self.processor.layout.form
        bundles = bundle(encoded for group in self.waiting for encoded in group)
        self.padded.add([[one] for one in bundles], form)
        if self.pack_to is not None:
            self.packed.add(pack(bundles, self.pack_to), form)
        self.waiting.clear()

    def finish(self, *, total: int | None, is_partial: bool) -> Plan:
        """Completes the plan for all groups that were added."""
        if self.waiting:
            self._microstep()
        return Plan(
            samples=self.samples,
            kept=self.kept,
            dropped={
                reason: Dropped(count, tuple(self.examples[reason])) for reason, count in self.counts.items()
            },
            turns_dropped=self.shortened if self.policy == "drop_turn" else 0,
            images_shrunk=self.shortened if self.policy == "shrink_image" else 0,
            text_tokens=self.text_tokens,
            image_tokens=self.image_tokens,
            percentiles=self._percentiles(),
            longest_id=self.longest_id,
            padded_share=self.padded.share,
            packed_share=self.packed.share,
            max_length=self.max_length,
            policy=self.policy,
            pack_to=self.pack_to,
            groups=self.groups,
            total=total,
            is_partial=is_partial or (total is not None and self.groups < total),
        )

    def _percentiles(self) -> dict[str, int]:
        """Percentiles of the lengths: the smallest length that 50, 90 or 99 percent of the samples do not exceed.

        ``max`` is the exact length of the longest sample. Empty if no sample could be counted.
        """
        count, below = self.histogram.total(), 0
        found: dict[str, int] = {}
        for length in sorted(self.histogram):
            below += self.histogram[length]
            for percent in (50, 90, 99):
                if below * 100 >= percent * count:
                    found.setdefault(str(percent), min(length, self.longest))
        return found | {"max": self.longest} if count else {}


def _bin(length: int) -> int:
    """The bin of a length, given as its largest length; lengths with the same leading bits share a bin."""
    shift = max(0, length.bit_length() - _BITS)
    return (((length >> shift) + 1) << shift) - 1


def _percent(share: float) -> str:
    """Formats a fraction as a percentage, rounded down, so that 100 % means all."""
    return f"{int(share * 100 + 1e-9)} %"


def _shown(name: str) -> str:
    """Formats an id for a terminal: long ids are shortened to their end, and control characters are escaped."""
    name = name if len(name) <= 40 else "..." + name[-37:]
    return name if name.isprintable() else ascii(name)
