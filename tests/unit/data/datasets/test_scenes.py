"""The embedded world as a data set."""

import pickle

import numpy as np
import pytest

from sightweave.core.config import build
from sightweave.core.errors import RecipeError
from sightweave.data.datasets.scenes import Config, Scenes
from sightweave.data.reading.dataset import task_of
from sightweave.data.scenes.layout import HELD_OUT
from sightweave.data.scenes.translations import is_held_out
from sightweave.data.tasks import captioning, image_translation, reading, translation


def test_a_training_picture():
    data = Config().build(split="train")
    assert len(data) == 1_000_000
    for index in range(30):
        records = data[index]
        assert len(records) == 9
        assert task_of(records[0]) == "captioning"
        assert {task_of(record) for record in records} == {"captioning", "vqa", "reasoning", "translation"}
        assert len({record.id for record in records}) == 9
        for record in records:
            assert record.id.startswith(f"scenes/0/train/{index}/{record.tags['type']}/")
            assert record.group == record.images[0].key == f"scenes/0/train/{index}"
            assert record.split == "train"
            assert len(record.regions) == len(data.scene(index).things)
            assert record.tags["template"]


def test_the_same_on_every_call_and_from_the_end():
    data = Config(size=20).build(split="scenes")
    assert len(data) == 20
    assert [record.id for record in data[-1]] == [record.id for record in data[19]]
    assert [record.tags for record in data[3]] == [record.tags for record in data[3]]
    with pytest.raises(IndexError, match="image index 20 is out of range"):
        data[20]


def test_held_out_splits_ask_one_of_each():
    data = Config().build(split="combinations")
    assert len(data) == 500
    for index in range(20):
        types = [record.tags["type"] for record in data[index]]
        assert all(types.count(kind) <= (2 if kind in ("plain", "ambiguous") else 1) for kind in types)
    assert max(len(data[index]) for index in range(20)) > 9
    assert len(Config(items="mix").build(split="scenes")[0]) == 9


def test_ambiguous_translations_carry_their_contrast():
    data = Config().build(split="scenes")
    found = [record for index in range(40) for record in data[index] if record.tags["type"] == "ambiguous"]
    assert found
    for record in found:
        assert isinstance(record, translation.Record)
        assert record.tags["sense"].startswith(f"{record.tags['word']}_")
        assert record.tags["contrast"] != record.targets[0]
        assert record.source_language == "en"


def test_a_picture_is_drawn_when_asked_for_and_can_be_sent():
    record = Config().build(split="train")[3][0]
    pixels = pickle.loads(pickle.dumps(record.images[0].source))()
    assert pixels.shape == (96, 96, 3)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, record.images[0].source())


def test_only_some_tasks():
    data = Config(tasks=("captioning", "reasoning"), items_per_image=4).build(split="train")
    for index in range(10):
        assert [task_of(record) for record in data[index]] == ["captioning", *["reasoning"] * 3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": "test"}, r"no split 'test'; available are train, scenes, combinations"),
        ({"size": 0}, r"size and items_per_image must be 1 or more \(got 0 and 9\)"),
        ({"tasks": ("vqa2",)}, r"no task 'vqa2'; available are captioning, vqa, reasoning, translation"),
    ],
)
def test_wrong_arguments(change, message):
    with pytest.raises(ValueError, match=message):
        Scenes(**{"seed": 0, "split": "train", "size": 5, **change})


def test_wrong_config():
    with pytest.raises(RecipeError, match="style"):
        build(Config, {"style": "painted"})


def test_texts_are_the_same_for_every_split():
    first, second = (next(iter(Config().build(split=split).texts())) for split in ("train", "scenes"))
    assert first == second


def test_validation_shares_no_scene_with_training_or_a_test():
    config = Config(size=2000)
    shown = {
        split: {(s.background, s.things) for s in map(config.build(split=split).scene, range(2000))}
        for split in config.splits
    }
    assert config.splits == ("train", "scenes", "combinations", "validation")
    assert len(set.union(*shown.values())) == 4 * 2000


def test_validation_is_like_the_test_of_new_scenes_and_holds_no_unmet_pair():
    data = Config().build(split="val")
    assert (len(data), data.split) == (500, "validation")
    for index in range(200):
        things = data.scene(index).things
        assert all(HELD_OUT.get(thing.name) != thing.color for thing in things)
        records = data[index]
        assert {record.split for record in records} == {"validation"}
        translations = [r for r in records if r.tags["type"] == "ambiguous"]
        assert not any(is_held_out(r.tags["word"], r.tags["template"]) for r in translations)
        types = [record.tags["type"] for record in records]
        assert all(types.count(kind) <= (2 if kind in ("plain", "ambiguous") else 1) for kind in types)
    with pytest.raises(ValueError, match="no split 'tests'"):
        Config().build(split="tests")


def test_records_without_regions_are_the_same_but_for_them():
    data = Config().build(split="train")
    for index in range(10):
        for bare, whole in zip(data.without_regions()[index], data[index], strict=True):
            assert whole.regions
            assert bare.regions == ()
            assert (bare.id, bare.tags, task_of(bare)) == (whole.id, whole.tags, task_of(whole))
    assert data[0][0].regions


def test_a_scene_in_two_styles_is_two_pictures() -> None:
    """In one batch, one cache and one file of answers, equal keys mean equal pictures."""
    drawn, emoji = (Scenes(seed=3, split="scenes", size=2, style=style) for style in ("drawn", "emoji"))
    keys = [record.images[0].key for source in (drawn, emoji) for record in (source[0][0], source[1][0])]
    assert len(set(keys)) == 4
    assert keys[0] == drawn.scene(0).key
    assert {record.group for record in emoji[0]} == {keys[2]}


def signs(split: str = "scenes", **fields: object) -> Scenes:
    return Config(signs=2, **fields).build(split=split)  # type: ignore[arg-type]


def test_scenes_with_signs_ask_what_they_say_and_for_both_translations() -> None:
    for index in range(10):
        records = signs()[index]
        assert [type(one) for one in records] == [reading.Record] * 2 + [image_translation.Record] * 2
        assert [one.with_places for one in records[:2]] == [False, True]
        languages = {one.target_language for one in records[2:]} | {records[2].source_language}
        assert languages == {"en", "de", "fr"}
        assert len({one.id for one in records}) == 4
        assert len({one.images[0].key for one in records}) == 1


def test_target_images_are_those_of_the_languages() -> None:
    records = signs()[3][2:]
    source = records[0].images[0].source()
    targets = [one.target_image.source() for one in records]
    assert all(one.shape == source.shape and (one != source).any() for one in targets)
    assert len({one.target_image.key for one in records}) == 2


def test_held_out_signs_say_what_they_test() -> None:
    dataset = signs("combinations")
    found = [{one.tags["subset"] for one in dataset[index]} for index in range(6)]
    assert found == [{"phrases"}, {"faces"}, {"pairs"}] * 2
    assert all("subset" not in one.tags for one in signs("train")[0])


def test_scenes_with_signs_may_have_items_about_their_things() -> None:
    dataset = signs("train", tasks=("captioning", "reading", "vqa"), items_per_image=5)
    for index in range(10):
        records = dataset[index]
        assert 3 <= len(records) <= 5
        assert sum(isinstance(one, captioning.Record) for one in records) == 1
        assert sum(isinstance(one, reading.Record) for one in records) == 2
        assert len({one.id for one in records}) == len(records)


def test_controls_hide_or_swap_the_things_and_keep_the_answers() -> None:
    shown, hidden, swapped = (signs(things=name) for name in ("shown", "hidden", "swapped"))
    is_swapped = []
    for index in range(12):
        pictures = [dataset[index][0].images[0] for dataset in (shown, hidden, swapped)]
        assert len({one.key for one in pictures}) == 3
        first, second, third = (one.source() for one in pictures)
        assert (first != second).any()
        is_swapped.append((first != third).any())
        assert shown[index][2].signs == hidden[index][2].signs == swapped[index][2].signs
    assert any(is_swapped)
    assert len({dataset.fingerprint for dataset in (shown, hidden, swapped)}) == 3


def test_texts_of_signs_have_every_word() -> None:
    texts = "\n".join(signs().texts())
    for word in ("Ausgang", "aujourd'hui", "nouvelle", "jedes", "Fledermaus", "=> ", "ink=#"):
        assert word in texts


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"signs": 3}, r"signs must be 0, 1 or 2 \(got 3\)"),
        ({"tasks": ("reading",)}, r"no task 'reading' \(it needs signs: 1 or 2\)"),
        ({"things": "hidden"}, "things is 'hidden' and signs is 0"),
        ({"things": "gone", "signs": 1}, "things is 'gone' and signs is 1"),
    ],
)
def test_wrong_settings_of_signs(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Scenes(seed=0, split="train", size=1, **fields)  # type: ignore[arg-type]
