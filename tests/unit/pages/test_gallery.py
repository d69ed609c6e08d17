"""The choice is balanced, repeats, and shows many pictures."""

from collections import Counter

from sightweave.pages.gallery import choose, spread


def rows(split: str = "a") -> list[dict]:
    made = []
    for n in range(300):
        kind = ("vqa", "color") if n % 3 else ("captioning", "caption")
        made.append(
            {
                "split": split,
                "task": kind[0],
                "type": kind[1],
                "right": n % 25 != 0,
                "group": f"picture {n // 10}",
                "id": str(n),
            }
        )
    return made


def test_every_kind_has_its_part_right_and_wrong():
    chosen = choose([*rows("a"), *rows("b")], limit=20)
    counts = Counter((row["split"], row["task"], row["right"]) for row in chosen)
    assert sum(counts.values()) == 40
    for split in "ab":
        assert counts[split, "captioning", False] == 4  # there are no more
        assert counts[split, "vqa", False] == 5 or counts[split, "vqa", False] == 6
        assert counts[split, "captioning", True] >= 5
    assert len({row["id"] for row in chosen if row["split"] == "a"}) == 20


def test_many_pictures_are_shown():
    assert len({row["group"] for row in choose(rows(), limit=20)}) == 20


def test_the_first_ones_are_mixed():
    first = choose(rows(), limit=20)[:4]
    assert {(row["task"], row["right"]) for row in first} == {
        ("captioning", False),
        ("captioning", True),
        ("vqa", False),
        ("vqa", True),
    }


def test_it_repeats_and_takes_all_of_few():
    assert choose(rows(), limit=7) == choose(rows(), limit=7)
    assert len(choose(rows(), limit=1000)) == 300
    assert choose([]) == []


def test_rows_of_all_of_the_data_are_shown():
    made = [{**row, "task": "vqa", "type": "", "right": True} for row in rows()]
    assert spread(made) == spread(made[::-1])
    places = [int(row["id"]) for row in choose(spread(made), limit=20)]
    assert sum(place >= 150 for place in places) >= 5
    assert len(set(places)) == 20
