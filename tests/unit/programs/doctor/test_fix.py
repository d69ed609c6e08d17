"""A clean copy: each kind of file loses exactly its rows, everything else is copied, and the log says all."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import tarfile
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from sightweave.core.errors import DataError
from sightweave.programs.doctor.fix import LOG, fix


def clean(folder: Path, name: str, drop: set[int]) -> bytes:
    """The file of a copy from which rows were taken out."""
    out = folder.parent / "out"
    fix(folder, out, [(((str(folder / name), number),), "bad") for number in drop], [])
    return (out / name).read_bytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def test_lines_packed_or_not(folder: Path) -> None:
    (folder / "a.jsonl").write_bytes(b'{"a": 1}\n{"a": "\xe2\x80\xa8"}\r\n\n{"a": 4}')
    assert clean(folder, "a.jsonl", {1, 3}) == b'{"a": "\xe2\x80\xa8"}\r\n{"a": 4}'


def test_packed_text(folder: Path) -> None:
    (folder / "train.de.gz").write_bytes(gzip.compress("eins\nzwei\u2028halb\ndrei\n".encode()))
    assert gzip.decompress(clean(folder, "train.de.gz", {3})).decode() == "eins\nzwei\u2028halb\n"


def test_cells_with_lines_and_quotes_in_them(folder: Path) -> None:
    (folder / "a.csv").write_bytes(b'image,caption\r\na,"two\nlines, ""quoted"""\r\nb,plain\r\nc,"x"\r\n')
    assert clean(folder, "a.csv", {2, 5}) == b"image,caption\r\nb,plain\r\n"
    (folder / "b.csv").write_bytes(b"image,caption\na,one\rtwo\nb,plain\nc,last")  # a lone CR ends no line
    shutil.rmtree(folder.parent / "out")
    assert clean(folder, "b.csv", {3}) == b"image,caption\na,one\rtwo\nc,last"


ODD = 'a 15" screen'


@pytest.mark.parametrize(
    ("name", "text", "drop", "left"),
    [
        ("a.tsv", f"filepath\ttitle\na\t{ODD}\nb\tbad\nc\tlast\n", 3, f"a\t{ODD}\nc\tlast\n"),
        ("b.tsv", f"filepath\ttitle\na\t{ODD}\nb\tgood\nc\t{ODD}\n", 2, f"b\tgood\nc\t{ODD}\n"),
        ("c.csv", f"image,caption\r\na,{ODD}\r\nb,bad\r\nc,{ODD}\r\n", 3, f"a,{ODD}\r\nc,{ODD}\r\n"),
        ("g.csv", 'image;caption\na;one, two\nb;bad\nc;"x;y"\n', 3, 'a;one, two\nc;"x;y"\n'),
        ("d.csv", 'image,caption\na," ""x"" \r and\nmore"\nb,bad\n', 4, 'a," ""x"" \r and\nmore"\n'),
        ("e.csv", 'image,caption\n\n"a"x,broken\nb,"bad\n"\nc,last', 4, '\n"a"x,broken\nc,last'),
        ("f.csv", 'image,caption\n\ufeffa,x\n b,"bad"\nc, "odd" \n', 3, '\ufeffa,x\nc, "odd" \n'),
    ],
)
def test_a_quote_counts_only_where_the_reader_takes_it_for_one(
    folder: Path, name: str, text: str, drop: int, left: str
) -> None:
    (folder / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
    found = clean(folder, name, {drop}).removeprefix(b"\xef\xbb\xbf").decode()
    assert found == text[: text.index("\n") + 1] + left


def test_one_line_of_json_lines_under_the_name_of_json(folder: Path) -> None:
    (folder / "a.json").write_text('{"sentence": "x", "label": "True"}\n')
    assert clean(folder, "a.json", {1}) == b""


def test_arrays_members_and_lines_under_the_name_of_json(folder: Path) -> None:
    (folder / "a.json").write_text("[1, 2, 3]")
    (folder / "b.json").write_text('{"info": {}, "questions": [{"q": 1}, {"q": 2}]}')
    (folder / "c.json").write_text('{"k": {"q": 1}, "l": {"q": 2}}')
    (folder / "d.json").write_text('{"images": [{"id": 7}, {"id": 8}], "annotations": [{"image_id": 8}]}')
    (folder / "e.json").write_text('{"a": 1}\n{"a": 2}\n')
    drop = [("a", 1), ("b", 0), ("c", 0), ("d", 1), ("e", 1)]
    out = folder.parent / "out"
    assert fix(folder, out, [(((str(folder / f"{n}.json"), i),), "bad") for n, i in drop], []) == 5
    assert json.loads((out / "a.json").read_text()) == [1, 3]
    assert json.loads((out / "b.json").read_text()) == {"info": {}, "questions": [{"q": 2}]}
    assert json.loads((out / "c.json").read_text()) == {"l": {"q": 2}}
    assert json.loads((out / "d.json").read_text()) == {"images": [{"id": 7}], "annotations": []}
    assert (out / "e.json").read_text() == '{"a": 2}\n'
    log = [json.loads(line) for line in (out / LOG).read_text().splitlines()]
    assert {"file": "a.json", "row": 1, "change": "taken out", "reason": "bad"} in log


def test_parquet_and_both_forms_of_arrow(folder: Path) -> None:
    table = pa.table({"n": list(range(600))}).replace_schema_metadata({"mine": "kept"})
    parquet.write_table(table, folder / "a.parquet", row_group_size=250)
    with pa.OSFile(str(folder / "s.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=100)
    with pa.OSFile(str(folder / "f.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=100)
    out = folder.parent / "out"
    drop = [
        (((str(folder / name), n),), "bad")
        for name in ("a.parquet", "s.arrow", "f.arrow")
        for n in (0, 260, 599)
    ]
    fix(folder, out, drop, [])
    expected = [n for n in range(600) if n not in (0, 260, 599)]
    found = parquet.read_table(out / "a.parquet")
    assert found["n"].to_pylist() == expected
    assert found.schema.metadata[b"mine"] == b"kept"
    with pa.OSFile(str(out / "s.arrow")) as file:
        assert pa.ipc.open_stream(file).read_all()["n"].to_pylist() == expected
    with pa.OSFile(str(out / "f.arrow")) as file:
        assert pa.ipc.open_file(file).read_all()["n"].to_pylist() == expected


def test_members_of_a_shard_and_the_counts_beside_it(folder: Path) -> None:
    with tarfile.open(folder / "00000.tar", "w") as shard:
        for name in ("a.jpg", "a.txt", "b.jpg", "b.seg.txt", "c/a.jpg"):
            member = tarfile.TarInfo(name)
            member.size = len(name)
            shard.addfile(member, io.BytesIO(name.encode()))
    (folder / "00000_stats.json").write_text('{"successes": 3}')
    (folder / "00001_stats.json").write_text('{"successes": 9}')
    data = clean(folder, "00000.tar", {1})
    with tarfile.open(fileobj=io.BytesIO(data)) as shard:
        assert shard.getnames() == ["a.jpg", "a.txt", "c/a.jpg"]
        assert [shard.extractfile(m).read().decode() for m in shard] == shard.getnames()  # type: ignore[union-attr]
    out = folder.parent / "out"
    assert not (out / "00000_stats.json").exists()
    assert (out / "00001_stats.json").exists()
    assert "counts of 00000.tar" in (out / LOG).read_text()


def test_samples_of_a_shard_are_numbered_as_its_reader_does(folder: Path) -> None:
    names = ("._a.jpg", "a.jpg", "a.txt", "._b.jpg", "b.jpg", "b.txt", "a.json", "c.jpg", "c.txt")
    with tarfile.open(folder / "00000.tar", "w") as shard:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(name)
            shard.addfile(member, io.BytesIO(name.encode()))
    # Samples a, b, a again, c; the hidden files of macOS are none.
    with tarfile.open(fileobj=io.BytesIO(clean(folder, "00000.tar", {2}))) as shard:
        assert shard.getnames() == [name for name in names if name != "a.json"]


def test_links_are_followed_only_inside_the_data(folder: Path) -> None:
    (folder.parent / "private").mkdir()
    (folder.parent / "private" / "a.txt").write_text("PRIVATE")
    (folder / "photos").mkdir()
    (folder / "photos" / "a.png").write_bytes(b"picture")
    for name, target in {
        "out.txt": "../private/a.txt",
        "out": "../private",
        "in.png": "photos/a.png",
        "in": "photos",
        "loop": "loop",
        "nowhere": "gone.png",
    }.items():
        (folder / name).symlink_to(target)
    out = folder.parent / "clean"
    assert fix(folder, out, [], []) == 4
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*")) == [
        LOG,
        "in",
        "in.png",
        "photos",
        "photos/a.png",
    ]
    assert (out / "in.png").read_bytes() == (out / "in" / "a.png").read_bytes() == b"picture"
    assert (out / "in").resolve() == out / "photos"
    log = [json.loads(line) for line in (out / LOG).read_text().splitlines()]
    assert {one["file"]: one["reason"] for one in log} == {
        "loop": "a symbolic link that leaves the data",
        "nowhere": "not a regular file",
        "out": "a symbolic link that leaves the data",
        "out.txt": "a symbolic link that leaves the data",
    }


def test_a_link_to_a_located_photograph_is_erased_too(folder: Path) -> None:
    exif = b"\xff\xe1\x00\x0cExif\0\0GPS!"
    (folder / "a.jpg").write_bytes(b"\xff\xd8" + exif + b"\xff\xdapixels")
    (folder / "b.jpg").symlink_to("a.jpg")
    fix(folder, folder.parent / "clean", [], ["b.jpg"])
    assert b"GPS!" not in (folder.parent / "clean" / "a.jpg").read_bytes()
    assert b"GPS!" not in (folder.parent / "clean" / "b.jpg").read_bytes()


def test_a_snapshot_of_the_hub_is_copied_and_each_of_its_links_has_rows_of_its_own(tmp_path: Path) -> None:
    snapshot = tmp_path / "datasets--me--mine" / "snapshots" / "0a1b"
    blobs = tmp_path / "datasets--me--mine" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    (blobs / "1234").write_text('{"n": 1}\n{"n": 2}\n')
    (tmp_path / "other").write_text("PRIVATE")
    (snapshot / "a.jsonl").symlink_to("../../blobs/1234")
    (snapshot / "b.jsonl").symlink_to("../../blobs/1234")
    (snapshot / "c.jsonl").symlink_to("../../../other")
    out = tmp_path / "clean"
    fix(snapshot, out, [(((str(snapshot / "a.jsonl"), 1),), "bad")], [])
    assert (out / "a.jsonl").read_text() == '{"n": 2}\n'
    assert (out / "b.jsonl").read_text() == '{"n": 1}\n{"n": 2}\n'
    assert not (out / "c.jsonl").exists()


def test_a_copy_that_is_not_proved_is_not_kept(folder: Path) -> None:
    (folder / "a.jsonl").write_text('{"n": 1}\n')

    def proof(copy: Path) -> None:
        assert (copy / "a.jsonl").read_text() == ""
        raise DataError("not the same")

    out = folder.parent / "clean"
    out.mkdir()
    with pytest.raises(DataError, match="not the same"):
        fix(folder, out, [(((str(folder / "a.jsonl"), 1),), "bad")], [], proof=proof)
    assert sorted(p.name for p in folder.parent.iterdir()) == ["clean", "data"]
    assert not any(out.iterdir())


def test_rows_of_a_file_that_would_not_be_copied(folder: Path) -> None:
    (folder / "a.jsonl").write_text('{"n": 1}\n')
    with pytest.raises(
        DataError, match=r"a shard is outside the folder \(.*; give the folder that contains both\."
    ):
        fix(folder, folder.parent / "out", [(((str(folder.parent / "b.jsonl"), 1),), "bad")], [])
    assert not (folder.parent / "out").exists()


def test_what_is_refused_before_anything_is_copied(folder: Path) -> None:
    (folder / "a.xyz").write_text("?")
    out = folder.parent / "out"
    with pytest.raises(DataError, match=r"rows of a\.xyz cannot be taken out"):
        fix(folder, out, [(((str(folder / "a.xyz"), 0),), "bad")], [])
    assert not out.exists()
    with pytest.raises(DataError, match=r": is inside the data \("):
        fix(folder, folder / "out", [], [])
    out.mkdir()
    (out / "there").touch()
    with pytest.raises(DataError, match=r": is not empty; choose a new folder\."):
        fix(folder, out, [], [])


def test_a_single_file_is_copied_with_what_lies_beside_it(folder: Path) -> None:
    (folder / "a.jsonl").write_text('{"n": 1}\n{"n": 2}\n')
    (folder / "sub").mkdir()
    (folder / "sub" / "b.png").write_bytes(b"picture")
    out = folder.parent / "out"
    assert fix(folder / "a.jsonl", out, [(((str(folder / "a.jsonl"), 2),), "bad")], ["sub/b.png"]) == 2
    assert (out / "a.jsonl").read_text() == '{"n": 1}\n'
    assert (out / "sub" / "b.png").read_bytes() == b"picture"
    assert "unchanged: only JPEG files can be edited" in (out / LOG).read_text()


def test_only_what_was_named_is_copied_where_files_are_named(folder: Path) -> None:
    for name in ("a.jsonl", "a.png", "other.bin"):
        (folder / name).write_text("x\n")
    out = folder.parent / "out"
    outside = folder.parent / "outside.png"
    outside.write_text("x")
    fix(folder / "a.jsonl", out, [], [], [folder / "a.jsonl", folder / "a.png", outside])
    assert sorted(p.name for p in out.iterdir()) == ["a.jsonl", "a.png", LOG]
