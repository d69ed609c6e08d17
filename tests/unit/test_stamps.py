"""What `recipes/stamps.py` makes of the package's files, without a download."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import scripts
from PIL import Image


@pytest.fixture(scope="module")
def stamps() -> ModuleType:
    return scripts.load("stamps")


def stamp(folder: Path, name: str, text: str | None) -> None:
    picture = folder / f"{name}.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(picture)
    if text is not None:
        picture.with_suffix(".txt").write_text(text, encoding="utf-8")


def test_a_stamp_becomes_its_kind_its_caption_and_its_translations(
    stamps: ModuleType, tmp_path: Path
) -> None:
    stamp(
        tmp_path,
        "animals/birds/owl",
        "An owl.\nde.utf8=Eine Eule.\nfr.utf8=\nzh_CN.utf8=\u732b\u5934\u9e70\nzh_TW.utf8=x\n",
    )
    stamp(tmp_path, "animals/no-text", None)
    stamp(tmp_path, "town/no-sentence", "\nde.utf8=Haus\n")
    kind, caption, german, chinese = stamps.rows(tmp_path, tmp_path)
    assert (kind["question"], kind["answer"]) == (stamps.QUESTION, "animal")
    assert caption["caption"] == "An owl."
    assert (german["source"], german["target"], german["target_language"]) == ("An owl.", "Eine Eule.", "de")
    assert (chinese["target"], chinese["target_language"]) == ("\u732b\u5934\u9e70", "zh")
    assert {row["image"] for row in (kind, caption, german, chinese)} == {"animals/birds/owl.png"}


def test_one_sentence_is_in_one_split_and_near_copies_are_for_training(
    stamps: ModuleType, tmp_path: Path
) -> None:
    sentences = [f"The letter {number}." for number in range(300)]
    for number, sentence in enumerate(sentences):
        for face in ("filled", "outlined"):
            stamp(tmp_path, f"symbols/{face}/{number}", sentence)
    splits: dict[str, set[str]] = {}
    for row in stamps.rows(tmp_path, tmp_path):
        if "caption" in row:
            splits.setdefault(row["caption"], set()).add(row["split"])
    assert all(len(found) == 1 for found in splits.values())
    held_out = [sentence for sentence, found in splits.items() if found == {"test"}]
    assert 0.06 * len(sentences) < len(held_out) < 0.18 * len(sentences)
    assert stamps.split(Path("dreydl.png"), held_out[0], "any") == "train"


def test_variants_of_a_stamp_are_on_one_side_of_validation(stamps: ModuleType, tmp_path: Path) -> None:
    names = [f"{chr(97 + number % 26)}{chr(97 + number // 26)}x" for number in range(300)]
    for name in names:
        stamp(tmp_path, f"animals/{name}", f"A {name}.")
        stamp(tmp_path, f"animals/cartoon/{name}-2", f"A happy {name}.")
        stamp(tmp_path, f"animals/{name}_left", f"A {name}, seen from the side.")
    found: dict[str, set[str]] = {name: set() for name in names}
    for row in stamps.rows(tmp_path, tmp_path):
        if row["split"] != "test":
            found[Path(row["image"]).stem[:3]].add(row["split"])
    assert max(map(len, found.values())) == 1
    validated = sum(sides == {"validation"} for sides in found.values())
    assert 0.09 * len(names) < validated < 0.21 * len(names)


@pytest.mark.parametrize(
    ("name", "common"),
    [
        ("animals/cats/lion-2", "animals/lion"),
        ("animals/cats/cartoon/Lion", "animals/lion"),
        ("symbols/chess/b_1_king", "symbols/1_king"),
        ("symbols/music/note_012_a", "symbols/note_012_a"),
        ("symbols/math/7", "symbols/7"),
        ("sports/football_helmet_side", "sports/football_helmet"),
    ],
)
def test_a_group_is_the_name_without_what_varies(stamps: ModuleType, name: str, common: str) -> None:
    assert stamps.group(Path("stamps") / f"{name}.png", Path("stamps")) == common


def test_a_sentence_joins_what_names_do_not(stamps: ModuleType) -> None:
    root = Path("stamps")
    said = {
        root / "animals/lion.png": "A lion.",
        root / "animals/lion-2.png": "A happy lion.",
        root / "animals/big-cat.png": "A happy lion.",
        root / "animals/tiger.png": "A tiger.",
        root / "symbols/lion.png": "A sign.",
    }
    *lions, tiger, sign = stamps.groups(said, root).values()
    assert len(set(lions)) == 1
    assert len({lions[0], tiger, sign}) == 3


def test_what_cannot_be_downloaded_is_named(stamps: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(stamps.PreparationError, match=r"^no-such-program is not installed\.$"):
        stamps.run("no-such-program", cwd=tmp_path)
    with pytest.raises(stamps.PreparationError, match=r"ls no-such-file failed: .*No such file"):
        stamps.run("ls", "no-such-file", cwd=tmp_path)
