"""The length plan counts what training would see: exact on samples made by hand, and without decoding a pixel."""

from __future__ import annotations

import dataclasses
import json
import weakref
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contracts._compose import PLAIN_CASES, Case, compose, picture, sample, samples
from PIL import Image

from sightweave.core.errors import MediaError
from sightweave.core.types import Medium, Part, Sample
from sightweave.data.inputs import image_files
from sightweave.data.inputs.collate import bundle, pack
from sightweave.data.inputs.length_plan import Dropped, Example, Plan, plan
from sightweave.data.inputs.processor import Processor
from sightweave.data.inputs.too_long import encoded_length, fit

PROCESSOR = compose(Case("concat", (), "decoder_only"))[1]
EACH = PROCESSOR.layout.tokens_per_image
TILED = dataclasses.replace(PROCESSOR, tiles=dataclasses.replace(PROCESSOR.tiles, max_tiles=6))


def file(
    path: Path, size: tuple[int, int] = (96, 64), *, cut: int | None = None, broken: bool = False
) -> Medium:
    """A PNG of noise; `cut` keeps so many bytes of it, `broken` spoils its pixels behind a good header."""
    pixels = np.random.default_rng(size[0]).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, "PNG")
    data = path.read_bytes()[:cut]
    if broken:
        data = data[:60] + bytes(len(data) - 60)
    path.write_bytes(data)
    return Medium(path, path.name)


def said(name: str, words: int, *media: Medium) -> Sample:
    """A sample whose prompt has `words` tokens, and its answer one."""
    return sample(name, *media, " ball" * words if words else "", answer="red")


def counted(groups: Any, processor: Processor = PROCESSOR, **options: Any) -> Plan:
    return plan(groups, processor, **({"policy": "drop_row", "max_length": 2048} | options))


def in_groups() -> list[list[Sample]]:
    """The samples of the contract tests by their first picture: texts, shared, several, in the middle."""
    text, one, again, three, another, middle, short = samples()
    return [[text], [one, again, another], [three], [middle], [short]]


def test_every_number_of_samples_made_by_hand() -> None:
    lengths = {one.id: PROCESSOR.length(one) for group in in_groups() for one in group}
    found = counted(in_groups())
    assert (found.samples, found.kept, found.groups, found.total) == (7, 7, 5, 5)
    assert (found.dropped, found.turns_dropped, found.images_shrunk, found.is_partial) == ({}, 0, 0, False)
    assert found.image_tokens == EACH * (0 + 1 + 1 + 3 + 2 + 2 + 0)
    assert found.text_tokens + found.image_tokens == sum(lengths.values())
    ordered = sorted(lengths.values())
    assert found.percentiles == {"50": ordered[3], "90": ordered[6], "99": ordered[6], "max": ordered[6]}
    assert lengths[found.longest_id] == ordered[6]
    assert found.packed_share is None


def test_rows_that_are_too_long_are_dropped_with_five_examples() -> None:
    groups = [[said(f"s{words}", words) for words in range(first, first + 4)] for first in (0, 4)]
    lengths = {one.id: PROCESSOR.length(one) for group in groups for one in group}
    limit = sorted(lengths.values())[1]
    found = counted(groups, max_length=limit)
    left_out = [Example(name, length, limit) for name, length in lengths.items() if length > limit]
    assert found.kept == 2
    assert found.dropped == {"too_long": Dropped(6, tuple(left_out[:5]))}
    assert found.text_tokens == sum(length for length in lengths.values() if length <= limit)
    assert found.percentiles["max"] == max(lengths.values())
    assert found.longest_id == "s7"
    stopping = counted(groups, max_length=limit, policy="error")
    assert stopping.dropped == {"error": found.dropped["too_long"]}
    assert "training stops at the first sample that is too long" in stopping.to_text()
    assert f"; 6 over {limit} tokens ({left_out[0].id}: {left_out[0].tokens})" in stopping.to_text()


def test_an_empty_answer_is_left_out_as_in_training() -> None:
    empty = dataclasses.replace(
        said("empty", 1), parts=(Part("user", "how ?"), Part("assistant", " ", learn=True))
    )
    found = counted([[empty, said("full", 1)]])
    assert found.kept == 1
    assert found.dropped == {"empty_answer": Dropped(1, (Example("empty", None, 2048),))}


def test_a_picture_in_an_answer_is_left_out_with_the_kind_of_its_error() -> None:
    parts = (Part("user", "draw"), Part("assistant", picture(1)), Part("assistant", "red", learn=True))
    found = counted([[dataclasses.replace(said("drawn", 1), parts=parts)]])
    assert found.dropped == {"DataError": Dropped(1, (Example("drawn", None, 2048),))}


@pytest.mark.parametrize("processor", [PROCESSOR, TILED], ids=["whole", "tiled"])
def test_damaged_pixels_are_counted_and_damaged_headers_dropped(processor: Processor, tmp_path: Path) -> None:
    broken, headless = file(tmp_path / "a.png", broken=True), file(tmp_path / "b.png", cut=12)
    missing = Medium(tmp_path / "c.png", "c.png")
    with pytest.raises(MediaError):
        image_files.load(broken)
    with pytest.raises(MediaError) as fault:
        image_files.probe(headless)
    groups = [
        [said("a1", 1, broken), said("a2", 2, broken)],
        [said("b", 1, headless)],
        [said("c", 1, missing)],
    ]
    found = counted(groups, processor)
    pictures = 1 if processor is PROCESSOR else 1 + 6  # of 96 x 64 pixels: the whole, and 2 x 3 squares of 32
    assert found.kept == 2
    assert found.image_tokens == 2 * pictures * EACH
    assert {reason: one.examples for reason, one in found.dropped.items()} == {
        fault.value.code: (Example("b", None, 2048),),
        "image_missing": (Example("c", None, 2048),),
    }


def test_a_jpeg_that_ends_early_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(MediaError):
        image_files.load(Medium(path, "a.jpg"))
    found = counted([[said("a", 1, Medium(path, "a.jpg"))]], TILED)
    assert (found.kept, found.image_tokens) == (1, 7 * EACH)


def test_a_functions_picture_is_asked_for_its_header_too() -> None:
    found = counted([[said("s", 1, Medium(lambda: b"no picture", "k"))], [said("t", 1, picture(3))]])
    assert found.kept == 1
    assert [one.examples[0].id for one in found.dropped.values()] == ["s"]


def test_shrunk_pictures_and_those_that_cannot_be_shrunk_enough(tmp_path: Path) -> None:
    large = file(tmp_path / "a.png")
    groups = [[said("few", 1, large)], [said("many", 60, large)], [said("text", 60)]]
    whole, cut = TILED.length(groups[0][0], max_tiles=0), TILED.length(groups[0][0])
    assert cut == whole + 6 * EACH
    limit = whole + 3 * EACH
    assert TILED.length(groups[2][0]) <= limit < TILED.length(groups[1][0], max_tiles=0)
    found = counted(groups, TILED, policy="shrink_image", max_length=limit)
    few = fit(groups[0][0], TILED, "shrink_image", limit)
    assert few is not None
    assert (found.kept, found.images_shrunk, found.turns_dropped) == (2, 1, 0)
    assert [example.id for example in found.dropped["too_long"].examples] == ["many"]
    assert found.image_tokens == len(few.trunk)
    assert EACH < len(few.trunk) < 7 * EACH
    assert found.percentiles["max"] == TILED.length(groups[1][0])
    assert "1 use fewer image tiles" in found.to_text()


def test_conversations_lose_turns() -> None:
    turns = [
        part for n in range(3) for part in (Part("user", f"how {n}"), Part("assistant", "red", learn=True))
    ]
    talk = Sample(id="talk", task="conversation", parts=tuple(turns), references=("red",))
    short = dataclasses.replace(talk, id="short", parts=talk.parts[:2])
    limit = PROCESSOR.length(talk) - 1
    found = counted([[talk, short]], policy="drop_turn", max_length=limit)
    left = fit(talk, PROCESSOR, "drop_turn", limit)
    assert left is not None
    assert (found.kept, found.turns_dropped, found.dropped) == (2, 1, {})
    assert found.text_tokens == encoded_length(left) + PROCESSOR.length(short)
    assert found.percentiles["max"] == limit + 1
    assert "1 without their oldest turns" in found.to_text()
    assert (
        counted([[said("one turn", 90)]], policy="drop_turn", max_length=limit).dropped["too_long"].count == 1
    )


def slots(processor: Processor, steps: list[list[Sample]], pack_to: int | None) -> float:
    """Share of the slots of real batches that hold a token."""
    valid = []
    for step in steps:
        batch = processor.batch(step, pack_to=pack_to)
        valid += [one.valid.flatten() for one in (batch.target, batch.source) if one is not None]
    return sum(int(one.sum()) for one in valid) / sum(one.numel() for one in valid)


@pytest.mark.parametrize("case", PLAIN_CASES, ids=str)
def test_shares_are_those_of_the_batches_that_training_makes(case: Case) -> None:
    processor = compose(case)[1]
    groups = [*in_groups(), [said("long", 30)]]
    steps = [[one for group in groups[at : at + 4] for one in group] for at in (0, 4)]
    found = counted(groups, processor, pack_to=90, pictures=4)
    assert found.padded_share == pytest.approx(slots(processor, steps, None), abs=1e-12)
    assert found.packed_share == pytest.approx(slots(processor, steps, 90), abs=1e-12)
    assert found.padded_share < 1
    everything = [one for step in steps for one in step]
    assert found.text_tokens + found.image_tokens == sum(map(processor.length, everything))
    assert (found.image_tokens > 0) == processor.layout.in_sequence


def test_groups_with_nothing_left_are_passed_over() -> None:
    groups = [[said("long", 90)], [said("one", 3)], [], [said("two", 5)]]
    together = counted([[said("one", 3)], [said("two", 5)]], pictures=2)
    found = counted(groups, pictures=2, max_length=50)
    assert found.padded_share == together.padded_share
    assert found.padded_share is not None
    assert found.padded_share < 1


def test_packing_fills_more_and_a_longer_bundle_has_a_row_of_its_own() -> None:
    groups = [[said(f"s{n}", words)] for n, words in enumerate((2, 2, 2, 2, 40, 2, 2, 2))]
    lengths = [PROCESSOR.length(group[0]) for group in groups]
    bundles = bundle(PROCESSOR.encode(group[0]) for group in groups)
    for capacity in (4, 40, 1000):
        rows = [sum(one.length for one in row) for row in pack(bundles, capacity)]
        found = counted(groups, pack_to=capacity)
        assert found.packed_share == pytest.approx(sum(lengths) / (len(rows) * max(rows)))
    assert found.packed_share == 1.0
    assert found.padded_share == pytest.approx(sum(lengths) / (8 * max(lengths)))


def test_it_stops_early_and_reads_no_further() -> None:
    read = 0

    def stream() -> Iterator[list[Sample]]:
        nonlocal read
        while True:
            read += 1
            yield [said(f"{read}-{n}", n) for n in range(3)]

    found = counted(stream(), limit=7, total=100)
    assert (found.samples, found.kept, found.groups, found.total, read) == (7, 7, 3, 100, 3)
    assert found.is_partial
    assert "counted on 3 of 100 images: about 233 samples in total" in found.to_text()
    unknown = counted(stream(), limit=6)
    assert (unknown.samples, unknown.groups, unknown.total, unknown.is_partial) == (6, 2, None, True)
    assert "counted on 2 images only" in unknown.to_text()


def test_only_one_microstep_is_held() -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    most = 0

    def stream() -> Iterator[list[Sample]]:
        nonlocal most
        for number in range(60):
            source = partial(np.zeros, (8, 8, 3), np.uint8)
            alive.add(source)
            yield [said(f"s{number}", number % 7, Medium(source, f"k{number}"))]
            del source
            most = max(most, len(alive))

    assert counted(stream(), pictures=4, max_length=25).samples == 60
    assert most <= 6


def test_a_limit_that_is_just_enough_is_no_early_stop() -> None:
    groups = [[said("a", 1)], [said("b", 2)]]
    assert not counted(groups, limit=2).is_partial
    assert "counted on" not in counted(groups, limit=2).to_text()
    assert counted(groups, limit=1).is_partial


def test_the_first_of_a_longer_data_set_is_told_from_all_of_it() -> None:
    found = counted(iter([[said("a", 1)], [said("b", 2)]]), total=50)
    assert "counted on 2 of 50 images: about 50 samples in total" in found.to_text()
    assert "about 0 samples" in counted([], total=50).to_text()


def test_long_lengths_share_bins_and_the_longest_is_exact() -> None:
    groups = [[said(f"s{words}", words)] for words in (900, 3000, 3001, 3003, 5000)]
    lengths = [PROCESSOR.length(group[0]) for group in groups]
    found = counted(groups, max_length=10_000)
    assert lengths[2] <= found.percentiles["50"] <= lengths[2] * 1.002
    assert found.percentiles["99"] == found.percentiles["max"] == lengths[4]
    assert 500 < lengths[0] < 1024
    # Half of two are not longer than the shorter one.
    assert counted(groups[:2], max_length=10_000).percentiles["50"] == lengths[0]
    assert counted([[said("first", 4)], [said("second", 4)]]).longest_id == "first"


def test_the_text_of_a_plan() -> None:
    dropped = {
        "image_truncated": Dropped(2, (Example("x", None, 512),)),
        "too_long": Dropped(12, (Example("vqa-17", 640, 512),)),
    }
    made = Plan(
        samples=1204,
        kept=1190,
        dropped=dropped,
        turns_dropped=0,
        images_shrunk=0,
        text_tokens=39,
        image_tokens=61,
        percentiles={"50": 48, "90": 100, "99": 201, "max": 640},
        longest_id="vqa-17",
        padded_share=0.719,
        packed_share=0.96,
        max_length=512,
        policy="drop_row",
        pack_to=1024,
        groups=300,
        total=300,
        is_partial=False,
    )
    assert made.to_text().splitlines() == [
        "lengths: 1,204 samples, 1,190 kept; 12 over 512 tokens dropped (vqa-17: 640), 2 with image_truncated",
        "         tokens: half up to 48, 99 % up to 201, longest 640 (vqa-17); 61 % of them image tokens",
        "         rows: 71 % filled if padded; 96 % if packed to 1,024 (train.stages.N.pack_to)",
    ]
    more = {f"image_{n}": Dropped(n, (Example("x", None, 512),)) for n in range(1, 6)}
    crowded = dataclasses.replace(made, dropped=more, packed_share=None, pack_to=None, image_tokens=0)
    first, tokens, rows = crowded.to_text().splitlines()
    assert first.endswith("; 5 with image_5, 4 with image_4, 3 with image_3, 3 for 2 more reasons")
    assert tokens.endswith("(vqa-17)")
    assert rows.endswith("71 % filled if padded (train.stages.N.pack_to packs them)")


def test_an_id_from_a_file_cannot_steer_the_terminal_or_fill_it() -> None:
    assert "\x1b" not in counted([[said("\x1b[2J", 1)]]).to_text()
    assert max(map(len, counted([[said("folder/" * 90 + "9.png", 1)]]).to_text().splitlines())) < 125


def test_nothing_at_all_is_a_plan_too() -> None:
    for groups in ([], [[]], [[said("long", 30)]]):
        found = counted(groups, max_length=5, pack_to=64)
        assert (found.kept, found.padded_share, found.packed_share) == (0, None, None)
        assert "0 kept" in found.to_text()
        assert "rows:" not in found.to_text()
    assert found.percentiles["max"] == PROCESSOR.length(said("long", 30))
    assert counted([]).percentiles == {}


def test_plain_data_survives_json() -> None:
    found = counted(in_groups(), max_length=40, pack_to=64)
    assert found.dropped
    plain = found.to_json()
    assert json.loads(json.dumps(plain)) == plain
    assert set(plain) == {one.name for one in dataclasses.fields(Plan)}
    first = found.dropped["too_long"].examples[0]
    assert plain["dropped"]["too_long"]["examples"][0] == {
        "id": first.id,
        "tokens": first.tokens,
        "limit": 40,
    }


@pytest.mark.parametrize("name", ["max_length", "pack_to", "pictures", "limit"])
def test_numbers_that_are_not_above_zero_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"plan: {name} must be above 0 \(got 0\)"):
        counted([], **{name: 0})
