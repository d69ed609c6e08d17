"""Finds near-duplicate images: a 64-bit hash finds candidates, a thumbnail confirms them, a medoid defines each group.

The hash is that of Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions (2010): 32 x 32 grey, the
8 x 8 lowest frequencies of a DCT without the constant ones, each above the median or not. Drawn scenes on plain
backgrounds share many of these bits, so the thumbnail is needed as well. For each of 4 x 4 cells it has the shade that
a tenth of the pixels is below (red, green, blue), and the grey that a tenth is above. Such percentiles, unlike means,
follow a change of brightness exactly, even where it saturates at white.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import Image

FINGERPRINT_BYTES = 72
"""Size of a fingerprint: 8 bytes of hash, 48 of the darker shades, 16 of the brighter greys."""
MAX_BITS = 10
"""Maximum number of differing hash bits between near-duplicates."""
MAX_SHADE = 7.0
"""Maximum root mean square difference of the darker shades (0 to 255) of near-duplicates, after matching the
brightness."""
MAX_BRIGHT = 14.0
"""Maximum root mean square difference of the brighter greys, likewise."""

_SIDE, _CELLS = 32, 4
_WAVES = np.cos(
    np.pi * np.arange(1, 9)[:, None] * (2 * np.arange(_SIDE)[None] + 1) / (2 * _SIDE), dtype=np.float64
).astype(np.float32)
# Waves below a quarter of a grey level are rounding or codec noise, which must not set bits.
_FAINT = 0.25 * (_SIDE / 2) ** 2
_GAINS = np.arange(1.0, 1.25, 0.03, dtype=np.float32)
# Five overlapping bands of the hash; near-duplicates nearly always share at least one of them.
_BAND_STARTS, _BAND_BITS = (0, 13, 26, 39, 51), 13
# Number of neighbours, in the order of the complete hash, that are compared if many images share a band.
_MAX_NEIGHBOURS = 4096
_CHUNK = 1 << 16  # number of rows to process at once
_MAX_ROUNDS = 2000


def perceptual_hash(pixels: UInt8[np.ndarray, "Hp Wp 3"]) -> int:
    """The 64-bit hash of an image; 0 for an image without any structure."""
    return int.from_bytes(fingerprint(pixels)[:8], "big")


def fingerprint(pixels: UInt8[np.ndarray, "Hp Wp 3"]) -> bytes:
    """The hash and the thumbnail of an image in `FINGERPRINT_BYTES` bytes, which are the input of `Duplicates`."""
    image = Image.fromarray(pixels)
    if image.size != (_SIDE, _SIDE):
        # Bilinear resizing averages over the area of each pixel; a box filter alone would alias fine patterns.
        image = image.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
    small, grey = np.asarray(image), np.asarray(image.convert("L"))

    # The hash has one bit for each low frequency: whether it is above the median.
    waves = (_WAVES @ grey.astype(np.float32) @ _WAVES.T).reshape(-1)
    waves[np.abs(waves) < _FAINT] = 0.0
    bits = np.packbits(waves > np.partition(waves, 31)[31]).tobytes()

    # The thumbnail has the tenth and the ninetieth percentile of each cell.
    side = _SIDE // _CELLS
    rank = (side * side - 1) // 10
    colours = small.reshape(_CELLS, side, _CELLS, side, 3).transpose(0, 2, 4, 1, 3).reshape(-1, side * side)
    greys = grey.reshape(_CELLS, side, _CELLS, side).transpose(0, 2, 1, 3).reshape(-1, side * side)
    dark = np.partition(colours, rank, axis=1)[:, rank].tobytes()
    bright = np.partition(greys, -1 - rank, axis=1)[:, -1 - rank].tobytes()
    return bytes(bits + dark + bright)


class Duplicates:
    """Collects fingerprints of images, 76 bytes each, and finds the near-duplicates among them."""

    def __init__(self) -> None:
        self._numbers = array("I")
        self._hashes = array("Q")
        self._shades = bytearray()

    def __len__(self) -> int:
        """Number of images added so far."""
        return len(self._numbers)

    def add(self, number: int, fingerprint: bytes) -> None:
        """Adds one image.

        Args:
            number: The caller's number for the image, 0 to 4,294,967,295.
            fingerprint: The image's result of the function `fingerprint`.

        Raises:
            ValueError: the fingerprint has another length, or the number is out of range.
        """
        if len(fingerprint) != FINGERPRINT_BYTES:
            raise ValueError(f"a fingerprint must have {FINGERPRINT_BYTES} bytes (got {len(fingerprint)}).")
        if not 0 <= number < 1 << 32:
            raise ValueError(f"an image number must be from 0 to {(1 << 32) - 1} (got {number}).")

        self._numbers.append(number)
        self._hashes.append(int.from_bytes(fingerprint[:8], "big"))
        self._shades += fingerprint[8:]

    def groups(self) -> list[tuple[int, ...]]:
        """Groups of two or more near-duplicates: their numbers in the order of adding, the largest group first.

        Every member is near its group's medoid; a chain of images that change little by little is split.
        """
        if not self._numbers:
            return []

        # Connect all near pairs; exact copies count once.
        numbers, hashes, shades = self._arrays()
        first = _first_of_equals(hashes, shades)
        parents = first.copy()
        degrees = np.zeros(len(first), np.int32)
        for left, right in _near_pairs(hashes, shades, _leaders(first)):
            np.add.at(degrees, left, 1)
            np.add.at(degrees, right, 1)
            _unite(parents, left, right)
        _flatten(parents)

        # Split each connected class into groups around medoids.
        found: list[NDArray[np.int64]] = []
        for members in _classes(parents):
            found += _around_medoids(members, degrees, first, hashes, shades)

        named = [tuple(numbers[np.sort(group)].tolist()) for group in found]
        return sorted(named, key=lambda group: (-len(group), group))

    def across(self, other: Duplicates) -> list[tuple[int, int]]:
        """Finds the images of `other` (a test set) that are near-duplicates of one of these (a training set).

        Returns:
            Pairs of (number here, number in `other`), one for each such image of `other`, in its order of adding.
        """
        if not self._numbers or not other._numbers:
            return []

        # Put both into one array, these first.
        ours, theirs = self._arrays(), other._arrays()
        numbers = np.concatenate([ours[0], theirs[0]])
        hashes = np.concatenate([ours[1], theirs[1]])
        shades = np.concatenate([ours[2], theirs[2]])
        mine = len(self)

        # Match exact copies first, with a distance that cannot be beaten.
        first = _first_of_equals(hashes, shades)
        partner = np.full(len(first), -1, np.int64)
        copies = first[mine:][first[mine:] < mine]
        partner[copies] = copies
        bits = np.where(partner >= 0, -1, MAX_BITS + 1)

        # Then find the nearest image by differing bits.
        for left, right in _near_pairs(hashes, shades, _leaders(first)):
            low, high = np.minimum(left, right), np.maximum(left, right)
            differing = np.bitwise_count(hashes[low] ^ hashes[high]).astype(np.int64)
            better = (low < mine) & (high >= mine) & (differing < bits[high])
            partner[high[better]], bits[high[better]] = low[better], differing[better]

        found = partner[first[mine:]]
        return [(int(numbers[found[i]]), int(numbers[mine + i])) for i in np.flatnonzero(found >= 0)]

    def _arrays(self) -> tuple[NDArray[np.uint32], NDArray[np.uint64], NDArray[np.uint8]]:
        """Numbers, hashes and shades as views of the collected data; nothing may be added while they exist."""
        shades = np.frombuffer(self._shades, np.uint8).reshape(-1, FINGERPRINT_BYTES - 8)
        return np.frombuffer(self._numbers, np.uint32), np.frombuffer(self._hashes, np.uint64), shades


def _first_of_equals(hashes: NDArray[np.uint64], shades: NDArray[np.uint8]) -> NDArray[np.int32]:
    """For each image, the index of the first one with an identical fingerprint, so that copies cost nothing later."""
    # Mix the shades into 64 bits, so that equal fingerprints become neighbours when sorted.
    mixed = np.empty_like(hashes)
    odd = np.array([2 * k + 0x9E3779B97F4A7C15 for k in range(8)], np.uint64)
    powers = odd ** np.arange(1, 9, dtype=np.uint64)
    for start in range(0, len(hashes), _CHUNK):
        words = np.ascontiguousarray(shades[start : start + _CHUNK]).view(np.uint64)
        mixed[start : start + _CHUNK] = (words * powers).sum(1, dtype=np.uint64)

    # Mark the beginning of each run of equal fingerprints.
    order = np.lexsort((mixed, hashes)).astype(np.int32)
    starts = np.ones(len(order), bool)
    for start in range(1, len(order), _CHUNK):
        end = min(start + _CHUNK, len(order))
        here, before = order[start:end], order[start - 1 : end - 1]
        same = (hashes[here] == hashes[before]) & (shades[here] == shades[before]).all(1)
        starts[start:end] = ~same

    # The sort is stable, so each run begins with the image that was added first.
    leaders = order[starts][np.cumsum(starts, dtype=np.int32) - 1]
    first = np.empty(len(order), np.int32)
    first[order] = leaders
    return first


def _leaders(first: NDArray[np.int32]) -> NDArray[np.int32]:
    """The indices of the images that are the first with their fingerprint."""
    everyone = np.arange(len(first), dtype=np.int32)
    leaders: NDArray[np.int32] = everyone[first == everyone]
    return leaders


def _near_pairs(
    hashes: NDArray[np.uint64], shades: NDArray[np.uint8], among: NDArray[np.int32]
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32]]]:
    """Yields confirmed near pairs among some images, possibly repeated.

    Only images whose hashes share a band are compared.
    """
    for start in _BAND_STARTS:
        # Sort by the hash, rotated so that this band comes first.
        turned = hashes[among]
        if start:
            turned = (turned << np.uint64(start)) | (turned >> np.uint64(64 - start))
        order = np.argsort(turned).astype(np.int32)
        turned = turned[order]
        order = among[order]
        piece = (turned >> np.uint64(64 - _BAND_BITS)).astype(np.uint16)

        # Work in chunks, so that memory does not grow with the number of images.
        for begin in range(0, len(order), _CHUNK):
            active = np.arange(begin, min(begin + _CHUNK, len(order)), dtype=np.int32)
            for step in range(1, _MAX_NEIGHBOURS + 1):
                active = active[: np.searchsorted(active, len(order) - step)]
                active = active[piece[active] == piece[active + step]]
                if not active.size:
                    break
                close = active[np.bitwise_count(turned[active] ^ turned[active + step]) <= MAX_BITS]
                if close.size:
                    left, right = order[close], order[close + step]
                    same = _are_near(hashes, shades, left, right)
                    yield left[same], right[same]


def _are_near(
    hashes: NDArray[np.uint64], shades: NDArray[np.uint8], left: NDArray[np.int32], right: NDArray[np.int32]
) -> NDArray[np.bool_]:
    """Whether each pair is a near-duplicate: by the bits of the hash, then by shades after matching the brightness."""
    same: NDArray[np.bool_] = np.bitwise_count(hashes[left] ^ hashes[right]) <= MAX_BITS
    rows = np.flatnonzero(same)

    # Brighten the darker image of each pair.
    a, b = shades[left[rows]].astype(np.float32), shades[right[rows]].astype(np.float32)
    swapped = (a[:, :48].sum(1) > b[:, :48].sum(1))[:, None]
    darker, brighter = np.where(swapped, b, a), np.where(swapped, a, b)

    # A plain image has no structure except its brightness, which must not be changed.
    confirmed = np.zeros(len(rows), bool)
    plain = hashes[left[rows]] == 0
    for gain in _GAINS:
        squares = (np.minimum(darker * gain, 255) - brighter) ** 2
        close = (squares[:, :48].mean(1) <= MAX_SHADE**2) & (squares[:, 48:].mean(1) <= MAX_BRIGHT**2)
        confirmed |= close & ~(plain & (gain > 1))

    same[rows] = confirmed
    return same


def _root(parents: NDArray[np.int32], node: int) -> int:
    while parents[node] != node:
        parents[node] = parents[parents[node]]
        node = int(parents[node])
    return node


def _unite(parents: NDArray[np.int32], left: NDArray[np.int32], right: NDArray[np.int32]) -> None:
    for one, two in zip(left.tolist(), right.tolist(), strict=True):
        low, high = sorted((_root(parents, one), _root(parents, two)))
        parents[high] = low


def _flatten(parents: NDArray[np.int32]) -> None:
    """Makes every image point directly to its root."""
    above = parents[parents]
    while not np.array_equal(above, parents):
        parents[:] = above
        above = parents[parents]


def _classes(roots: NDArray[np.int32]) -> Iterator[NDArray[np.int64]]:
    """Yields the members of every connected class with at least two images."""
    order = np.argsort(roots, kind="stable")
    starts = np.flatnonzero(np.diff(roots[order], prepend=-1))
    sizes = np.diff(starts, append=len(order))
    for begin, size in zip(starts[sizes > 1].tolist(), sizes[sizes > 1].tolist(), strict=True):
        yield order[begin : begin + size]


def _around_medoids(
    members: NDArray[np.int64],
    degrees: NDArray[np.int32],
    first: NDArray[np.int32],
    hashes: NDArray[np.uint64],
    shades: NDArray[np.uint8],
) -> list[NDArray[np.int64]]:
    """Splits a connected class into groups around medoids.

    The member with most neighbours takes those near it; the rest is split in the same way.
    """
    groups = []
    # The limit bounds the cost of an adversarial chain of a million images; real classes need few rounds.
    for _ in range(_MAX_ROUNDS):
        if len(members) < 2:
            break

        medoid = first[members[np.argmax(degrees[first[members]])]]
        near = _are_near(hashes, shades, np.full(len(members), medoid, np.int32), first[members])
        if near.sum() > 1:
            groups.append(members[near])
        members = members[~near]
    return groups
