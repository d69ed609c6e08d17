"""The stream of batches: repeatable from anywhere, and nothing lost but what cannot be read."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contracts._compose import Case, compose, picture
from PIL import Image

from sightweave.core import catalog
from sightweave.core.device import num_cores
from sightweave.core.errors import DataError, RecipeError
from sightweave.core.types import Medium, Region
from sightweave.data.inputs import transforms
from sightweave.data.inputs.processor import Processor
from sightweave.data.tasks import captioning, vqa
from sightweave.programs.training import feed as feeds
from sightweave.programs.training.feed import Feed, Step, decoding_threads
from sightweave.programs.training.quarantine import Quarantine
from sightweave.programs.training.settings import Stage

TASKS = {name: catalog.config_class("data.tasks", name)().build() for name in catalog.kinds("data.tasks")}
PROCESSOR = compose(Case("concat", (), "decoder_only"))[1]


@dataclass
class Pictures:
    """So many pictures, with two questions and a caption each; some may be bad."""

    size: int = 7
    bad: frozenset[int] = frozenset()
    silent: frozenset[int] = frozenset()
    first: int = 0
    regions: tuple[Region, ...] = ()

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> list[Any]:
        number = self.first + index
        image = Medium(b"not a picture", key=f"bad-{number}") if index in self.bad else picture(number)
        said = "" if index in self.silent else "red"
        return [
            vqa.Record(
                id=f"{number}.1", images=(image,), question="what ?", answers=(said,), regions=self.regions
            ),
            vqa.Record(id=f"{number}.2", images=(image,), question="how many ?", answers=("two",)),
            captioning.Record(id=f"{number}.3", images=(image,), captions=("a blue ball",)),
        ]

    def texts(self) -> Iterator[str]:
        yield "red"


def feed(
    *data: Pictures,
    quarantine: Quarantine | None = None,
    processor: Processor = PROCESSOR,
    workers: int = 1,
    **stage: Any,
) -> Feed:
    return Feed(
        data,
        TASKS,
        processor,
        Stage(steps=1, **{"batch_size": 3, **stage}),
        seed=5,
        quarantine=quarantine or Quarantine(),
        workers=workers,
    )


def take(source: Feed, count: int, start: int = 0, within: int = 0) -> list[Step]:
    with closing(source.microsteps(start, within)) as stream:
        return list(islice(stream, count))


def numbers(step: Step) -> list[int]:
    return sorted({int(name.partition(".")[0]) for name in step.ids})


def same(one: Step, other: Step) -> bool:
    return (
        one.ids == other.ids
        and torch.equal(one.batch.target.ids, other.batch.target.ids)
        and torch.equal(one.batch.media["image"].dense, other.batch.media["image"].dense)
    )


@pytest.mark.parametrize("bad", [frozenset(), frozenset({2, 5})])
def test_a_restart_in_the_middle_goes_on_as_before(bad: frozenset[int]) -> None:
    data = Pictures(size=9, bad=bad)
    varied = Processor(
        tokenizer=PROCESSOR.tokenizer,
        transform=transforms.Config(size=32, augment="shift"),
        layout=PROCESSOR.layout,
    )
    settings = {"processor": varied, "augment": True, "samples_per_image": 2}
    whole = take(feed(data, **settings), 8)
    again = take(feed(data, **settings), 8)
    assert all(same(one, other) for one, other in zip(whole, again, strict=True))
    # Where the third microstep begins: nine pictures with none bad; else one epoch less the bad ones.
    starts = [at for at in range(20) if same(take(feed(data, **settings), 1, at)[0], whole[3])]
    assert starts
    later = take(feed(data, **settings), 5, starts[0])
    assert all(same(one, other) for one, other in zip(whole[3:], later, strict=True))


def test_a_microstep_says_which_pictures_it_holds_and_where_they_end() -> None:
    source = feed(Pictures(8), Pictures(4, first=8), batch_size=2, tasks=("captioning",))
    for step in take(source, 6):
        assert sorted(step.pictures) == numbers(step)
        assert step.end == step.position
    packed = feed(Pictures(12), Pictures(4, first=12), batch_size=2, pack_window=4, pack_to=150)
    steps = take(packed, 4)
    order = [packed.mix.at(at) for at in range(8)]
    for step in steps:
        assert sorted(step.pictures) == numbers(step)
        last = max(order.index((number >= 12, number % 12)) for number in numbers(step))
        assert step.end == last + 1
    assert max(step.end for step in steps) == steps[-1].position == 8


def test_every_picture_comes_once_an_epoch_from_all_sources() -> None:
    steps = take(feed(Pictures(5), Pictures(4, first=100)), 6)
    first, second = (sorted(n for step in part for n in numbers(step)) for part in (steps[:3], steps[3:]))
    assert first == second == [0, 1, 2, 3, 4, 100, 101, 102, 103]
    assert [step.ids for step in steps[:3]] != [step.ids for step in steps[3:]]


def test_a_bad_picture_is_written_down_once_and_costs_no_other(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path / "quarantine.jsonl")
    steps = take(feed(Pictures(7, bad=frozenset({3})), quarantine=quarantine), 8)
    assert all(len(numbers(step)) == 3 for step in steps)
    seen = [n for step in steps for n in numbers(step)]
    assert 3 not in seen
    assert all(seen.count(n) == 4 for n in (0, 1, 2, 4, 5, 6))
    (row,) = map(json.loads, (tmp_path / "quarantine.jsonl").read_text().splitlines())
    assert row["picture"] == "bad-3"
    assert row["message"]
    assert dict(quarantine.reasons) == {row["reason"]: 1}
    assert quarantine.seen == 7


def test_one_bad_picture_in_a_small_set_never_stops_a_long_run(monkeypatch: pytest.MonkeyPatch) -> None:
    quarantine = Quarantine()
    source = feed(
        Pictures(3, bad=frozenset({1})), quarantine=quarantine, batch_size=20, tasks=("captioning",)
    )
    take(source, 60)
    assert sum(quarantine.reasons.values()) == 1


def test_many_bad_pictures_of_many_stop_the_run() -> None:
    quarantine = Quarantine(seen=1000)
    for number in range(10):
        quarantine.add(f"p{number}", DataError("bad"))
    with pytest.raises(DataError, match=r"11 of 1000 images cannot be read .*more than 1%; the last: worse"):
        quarantine.add("p10", DataError("worse"))


def test_all_bad_is_an_error_that_counts() -> None:
    source = feed(Pictures(4, bad=frozenset(range(4))))
    with pytest.raises(DataError, match=r"none of 4 images has a usable sample .*left out: \{'.*': 4\}"):
        take(source, 1)


def test_no_sample_of_the_asked_tasks_is_an_error() -> None:
    with pytest.raises(DataError, match=r"none of 3 images has a usable sample \(tasks: translation"):
        take(feed(Pictures(3), tasks=("translation",)), 1)


def test_no_pictures_is_an_error() -> None:
    with pytest.raises(DataError, match="the data has no images"):
        feed(Pictures(0))


def test_an_empty_answer_is_left_out_and_the_pictures_others_stay() -> None:
    quarantine = Quarantine()
    steps = take(feed(Pictures(3, silent=frozenset({1})), quarantine=quarantine), 2)
    assert all("1.1" not in step.ids and "1.2" in step.ids for step in steps)
    assert dict(quarantine.reasons) == {"DataError": 1}


def test_a_sample_over_the_longest_and_one_that_is_no_text_are_left_out() -> None:
    short = Processor(
        tokenizer=PROCESSOR.tokenizer, transform=PROCESSOR.transform, layout=PROCESSOR.layout, max_length=45
    )

    class Odd(Pictures):
        def __getitem__(self, index: int) -> list[Any]:
            records = super().__getitem__(index)
            records.append(
                vqa.Record(id="long", images=(picture(index),), question="how " * 40, answers=("two",))
            )
            records.append(
                vqa.Record(id="half", images=(picture(index),), question="\ud800", answers=("two",))
            )
            return records

    quarantine = Quarantine()
    (step,) = take(feed(Odd(3), quarantine=quarantine, processor=short), 1)
    assert len(numbers(step)) == 3
    assert not {"long", "half"} & set(step.ids)
    assert sum(quarantine.reasons.values()) == 2


def test_a_picture_brings_only_so_many_samples_drawn_anew() -> None:
    steps = take(feed(Pictures(3), samples_per_image=1), 9)
    assert all(len(step.ids) == 3 for step in steps)
    assert len({name for step in steps for name in step.ids}) == 9


def test_words_come_from_where_they_are_asked() -> None:
    region = Region((0.1, 0.1, 0.3, 0.3), ("ball",))
    assert feed(Pictures(3), words="auto").words == "captions"
    assert feed(Pictures(3, regions=(region,)), words="auto").words == "regions"
    (step,) = take(feed(Pictures(3), learn="words", words="auto"), 1)
    assert step.batch.target is None
    assert step.batch.regions.whole
    (step,) = take(feed(Pictures(3, regions=(region,)), words="regions"), 1)
    assert step.batch.target is not None
    assert len(step.batch.regions.embedding) == 3


def test_words_that_cannot_be_are_refused_at_once() -> None:
    with pytest.raises(RecipeError, match="learn is words, but words is none; set words to auto"):
        feed(Pictures(3), learn="words")
    with pytest.raises(DataError, match="none of 3 images drawn over the data has any"):
        feed(Pictures(3), learn="words", words="regions")
    placeless = compose(Case("concat", (), "decoder_only"), connector="resampler")[1]
    with pytest.raises(RecipeError, match="belong to no positions"):
        feed(Pictures(3), words="regions", processor=placeless)


def test_drawn_pictures_are_asked_for_ahead_and_the_thread_ends() -> None:
    before = threading.active_count()
    drawn = []

    class Drawn(Pictures):
        def __getitem__(self, index: int) -> list[Any]:
            def draw() -> np.ndarray:
                drawn.append(index)
                return np.zeros((8, 8, 3), np.uint8)

            image = Medium(draw, key=str(index))
            return [captioning.Record(id=f"{index}.1", images=(image,), captions=("red",))]

    take(feed(Drawn(6)), 2)
    assert threading.active_count() == before
    assert len(drawn) >= 6


def test_a_sample_that_is_too_long_stops_the_run_where_that_is_asked() -> None:
    short = Processor(
        tokenizer=PROCESSOR.tokenizer, transform=PROCESSOR.transform, layout=PROCESSOR.layout, max_length=8
    )
    stage = Stage(steps=1, batch_size=3)
    source = Feed([Pictures(3)], TASKS, short, stage, seed=5, quarantine=Quarantine(), too_long="error")
    with pytest.raises(DataError, match=r"has \d+ tokens, more than max_length 8; raise inputs.max_length"):
        take(source, 1)


# Two windows of 2 x 3 pictures an epoch.
WINDOW = {"batch_size": 2, "pack_window": 3, "pack_to": 150}


def rows_of(step: Step) -> int:
    return len(step.batch.target.ids)


def test_a_window_is_packed_as_one_and_dealt_evenly() -> None:
    """Two pictures fill a row: three leave one half empty, and six fill three."""
    alone = take(feed(Pictures(12), batch_size=6, pack_to=100), 2)
    windows = take(feed(Pictures(12), batch_size=3, pack_window=2, pack_to=100), 4)
    for one, parts in zip(alone, (windows[:2], windows[2:]), strict=True):
        assert sorted(one.ids) == sorted(name for part in parts for name in part.ids)
        assert [rows_of(part) for part in parts] == [2, 1]
        assert rows_of(one) == 3
        filled = [int(part.batch.target.valid.sum()) for part in parts]
        assert sum(filled) == int(one.batch.target.valid.sum())
    apart = take(feed(Pictures(12), batch_size=3, pack_to=100), 4)
    assert [rows_of(step) for step in apart] == [2] * 4


def test_with_windows_every_sample_comes_once_an_epoch() -> None:
    steps = take(feed(Pictures(12), **WINDOW), 18)
    names = sorted(f"{picture}.{record}" for picture in range(12) for record in (1, 2, 3))
    for epoch in range(3):
        assert sorted(name for step in steps[6 * epoch : 6 * epoch + 6] for name in step.ids) == names
    assert [(step.position, step.within) for step in steps[:4]] == [(0, 1), (0, 2), (6, 0), (6, 1)]


@pytest.mark.parametrize("bad", [frozenset(), frozenset({2, 5, 7})])
@pytest.mark.parametrize("done", [1, 2, 3, 4, 8])
def test_a_restart_inside_a_window_goes_on_as_before(done: int, bad: frozenset[int]) -> None:
    data = Pictures(size=9, bad=bad)
    varied = Processor(
        tokenizer=PROCESSOR.tokenizer,
        transform=transforms.Config(size=32, augment="shift"),
        layout=PROCESSOR.layout,
    )
    fields = {"processor": varied, "augment": True, "samples_per_image": 2, **WINDOW}
    whole = take(feed(data, **fields), 12)
    before = whole[done - 1]
    later = take(feed(data, **fields), 12 - done, before.position, before.within)
    assert all(same(one, other) for one, other in zip(whole[done:], later, strict=True))


def test_a_window_of_one_is_what_the_processor_packs() -> None:
    (step,) = take(feed(Pictures(6), batch_size=4, pack_to=150, pack_window=1), 1)
    source = feed(Pictures(6))
    samples = {one.id: one for place in range(6) for one in source._samples(place)}
    batch = PROCESSOR.batch([samples[name] for name in step.ids], pack_to=150)
    assert torch.equal(batch.target.ids, step.batch.target.ids)
    assert torch.equal(batch.media["image"].dense, step.batch.media["image"].dense)
    assert (step.position, step.within) == (4, 0)


def test_fewer_rows_than_microsteps_still_give_each_something() -> None:
    steps = take(feed(Pictures(4), batch_size=1, pack_window=4, pack_to=5000, tasks=("captioning",)), 8)
    assert all(len(step.ids) == 1 for step in steps)
    assert sorted(name for step in steps[:4] for name in step.ids) == ["0.3", "1.3", "2.3", "3.3"]


def test_a_bad_picture_in_a_window_leaves_its_place_and_costs_no_other() -> None:
    quarantine = Quarantine()
    steps = take(feed(Pictures(12, bad=frozenset({3})), quarantine=quarantine, **WINDOW), 12)
    for epoch in (steps[:6], steps[6:]):
        assert sorted(n for step in epoch for n in numbers(step)) == [*range(3), *range(4, 12)]
    assert sum(quarantine.reasons.values()) == 1


def test_a_microstep_without_a_readable_picture_repeats_another() -> None:
    fields = {"batch_size": 1, "pack_window": 2, "pack_to": 150}
    steps = take(feed(Pictures(2, bad=frozenset({0})), **fields), 4)
    assert [numbers(step) for step in steps] == [[1]] * 4
    with pytest.raises(DataError, match="none of the images at positions 0 to 1 can be read"):
        take(feed(Pictures(2, bad=frozenset({0, 1})), **fields), 1)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"pack_window": 2}, "pack_window is 2, but pack_to is none"),
        (
            {"pack_window": 2, "pack_to": 100, "learn": "words", "words": "auto"},
            "pack_window is 2, but learn is words",
        ),
    ],
)
def test_a_window_without_rows_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Stage(steps=1, **fields)


@pytest.mark.parametrize("fields", [{"batch_size": 3}, WINDOW])
def test_any_number_of_decoding_threads_gives_the_same_bits(tmp_path: Path, fields: dict[str, Any]) -> None:
    class Files(Pictures):
        def __getitem__(self, index: int) -> list[Any]:
            path = tmp_path / f"{index}.jpg"
            if not path.exists():
                noise = np.random.default_rng(index).integers(0, 256, (9, 12, 3), dtype=np.uint8)
                Image.fromarray(noise).resize((300, 220)).save(path)
            if index in self.bad:
                path.write_bytes(b"not a picture")
            image = Medium(path, key=str(path))
            return [captioning.Record(id=f"{index}.1", images=(image,), captions=("red",))]

    before = threading.active_count()
    data = Files(8, bad=frozenset({2}))
    alone, *others = (
        take(
            feed(
                data,
                workers=workers,
                augment=True,
                processor=Processor(
                    tokenizer=PROCESSOR.tokenizer,
                    transform=transforms.Config(size=32, augment="shift"),
                    layout=PROCESSOR.layout,
                ),
                **fields,
            ),
            6,
        )
        for workers in (1, 2, 3)
    )
    for other in others:
        assert all(same(one, step) for one, step in zip(alone, other, strict=True))
    assert threading.active_count() == before


def test_the_number_of_decoding_threads_is_chosen_from_the_cores() -> None:
    assert decoding_threads(5) == 5
    assert decoding_threads(0) == min(8, max(1, num_cores() - 1))


def test_a_share_of_the_pictures_is_hidden_the_same_in_every_run() -> None:
    """A model that met prompts without a picture does not collapse there, so that control can be believed."""
    source = feed(Pictures(200), batch_size=4, hide_images=0.25)
    steps = take(source, 50)
    hidden = [step for step in steps if not step.batch.media or len(step.batch.media["image"].dense) < 4]
    shown = sum(len(step.batch.media["image"].dense) if step.batch.media else 0 for step in steps)
    assert 0.15 < 1 - shown / 200 < 0.35
    assert hidden
    # Nothing is lost: every picture's three samples are still there, each answered from its text alone.
    assert all(len(step.ids) == 12 for step in steps)
    again = take(feed(Pictures(200), batch_size=4, hide_images=0.25), 20, start=120)
    assert all(same(one, other) for one, other in zip(again, steps[30:], strict=True))


def test_no_picture_is_hidden_where_only_words_for_pictures_are_learnt() -> None:
    steps = take(feed(Pictures(40), batch_size=4, learn="words", words="captions", hide_images=0.5), 10)
    assert all(len(step.batch.media["image"].dense) == 4 for step in steps)


@pytest.mark.parametrize("workers", [1, 2])
def test_images_that_do_not_arrive_are_named_until_they_do(
    workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_read = threading.Event()

    class Hanging(Pictures):
        def __getitem__(self, index: int) -> list[Any]:
            assert may_read.wait(300)
            return super().__getitem__(index)

    def warn(text: str, *values: Any) -> None:
        said.append(text % values)
        if len(said) == 2:
            may_read.set()

    said: list[str] = []
    monkeypatch.setattr(feeds, "_STALLED_SECONDS", 0.01)
    monkeypatch.setattr(feeds.logger, "warning", warn)
    (step,) = take(feed(Hanging(), workers=workers), 1)
    assert len(step.pictures) == 3
    assert "stage 'main': waiting for images for 0.01 s, from position 0 on (data.0, image " in said[0]


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_in_a_thread_ends_the_stream(workers: int) -> None:
    class Broken(Pictures):
        def __getitem__(self, index: int) -> list[Any]:
            raise OSError(5, "Input/output error", "pictures.bin")

    with pytest.raises(OSError, match=r"pictures\.bin"):
        take(feed(Broken(), workers=workers), 1)
