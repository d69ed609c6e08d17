"""Tar archives by their headers, against Python's own writer; and archives that are cut or made to do harm."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest
from data_sets.webdataset import pack

from sightweave.core.errors import DataError
from sightweave.data.reading import tar_files

LONG = "folder/" * 30 + "a" * 80 + ".jpg"


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_places_and_sizes_are_those_that_tarfile_sees(tmp_path: Path, form: int) -> None:
    names = ["a.jpg", "x/" * 40 + "b" * 60 + ".txt", "empty.txt", "h\u00e9.json"]
    names += [LONG] if form != tarfile.USTAR_FORMAT else []
    path = pack(
        tmp_path / "a.tar", [(name, name.encode() * 60 * (name != "empty.txt")) for name in names], form
    )
    with tarfile.open(path) as archive:
        told = [(info.name, info.offset_data, info.size) for info in archive]
    assert [(one.name, one.offset, one.size) for one in tar_files.members(path)] == told
    assert [one.name for one in tar_files.members(path)] == names
    for one in tar_files.members(path):
        assert one.problem is None
        assert path.read_bytes()[one.offset : one.offset + one.size] == one.name.encode() * (one.size and 60)


def test_an_archive_that_is_cut_anywhere_is_an_error(tmp_path: Path) -> None:
    data = pack(tmp_path / "a.tar", [(f"{n}.txt", b"x" * 300 * n) for n in range(4)]).read_bytes()
    end = len(data.rstrip(b"\0")) // 512 * 512 + 512
    cut = tmp_path / "cut.tar"
    for size in [*range(0, end + 1024, 64), end + 1023]:
        cut.write_bytes(data[:size])
        with pytest.raises(DataError, match=r"cut.tar: byte \d+: .*truncated"):
            list(tar_files.members(cut))
    cut.write_bytes(data[: end + 1024])  # what follows the two blocks of zeros is only padding
    assert len(list(tar_files.members(cut))) == 4


def test_a_size_past_the_end_is_an_error(tmp_path: Path) -> None:
    info = tarfile.TarInfo("a.jpg")
    info.size = 10 << 30
    path = tmp_path / "a.tar"
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(10240))
    with pytest.raises(DataError, match="has 10737418240 bytes, but only 10240 follow"):
        list(tar_files.members(path))


def test_a_flipped_bit_in_a_header_is_an_error(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.tar", [("a.txt", b"1"), ("b.txt", b"2")])
    data = bytearray(path.read_bytes())
    data[1024] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="byte 1024: the header is damaged"):
        list(tar_files.members(path))


def test_another_format_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(b"<html>" * 1000)
    with pytest.raises(DataError, match="not a tar archive"):
        list(tar_files.members(path))
    path.write_bytes(gzip.compress(b"x"))
    with pytest.raises(DataError, match=r"decompress it first: gunzip -k a.tar"):
        list(tar_files.members(path))
    with pytest.raises(DataError, match="cannot be opened"):
        list(tar_files.members(tmp_path / "none.tar"))


def test_joined_archives_are_an_error(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.tar", [("a.txt", b"1")])
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(DataError, match="data follows the end of the archive, as in concatenated"):
        list(tar_files.members(path))


@pytest.mark.parametrize(
    ("name", "kind", "code"),
    [
        ("/etc/passwd", tarfile.REGTYPE, "tar_name"),
        ("a/../../b.jpg", tarfile.REGTYPE, "tar_name"),
        ("C:\\b.jpg", tarfile.REGTYPE, "tar_name"),
        ("b.jpg", tarfile.SYMTYPE, "tar_link"),
        ("b.jpg", tarfile.LNKTYPE, "tar_link"),
        ("b.jpg", tarfile.CHRTYPE, "tar_link"),
        ("b.jpg", tarfile.FIFOTYPE, "tar_link"),
        ("b.jpg", b"Z", "tar_link"),
    ],
)
def test_members_that_are_no_files_have_a_problem(tmp_path: Path, name: str, kind: bytes, code: str) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
        archive.addfile(tarfile.TarInfo("good.txt"))
    bad, good = tar_files.members(tmp_path / "a.tar")
    assert bad.problem is not None
    assert bad.problem.code == code
    assert (good.name, good.problem) == ("good.txt", None)


def test_folders_are_passed_over(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        info = tarfile.TarInfo("folder")
        info.type = tarfile.DIRTYPE
        archive.addfile(info)
        info = tarfile.TarInfo("folder/a.txt")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
    assert [one.name for one in tar_files.members(tmp_path / "a.tar")] == ["folder/a.txt"]


def test_sparse_files_are_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("a.jpg")
    info.type = tarfile.GNUTYPE_SPARSE
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(DataError, match="sparse"):
        list(tar_files.members(tmp_path / "a.tar"))
    info = tarfile.TarInfo("a.jpg")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "a.jpg"}
    (tmp_path / "b.tar").write_bytes(info.tobuf(tarfile.PAX_FORMAT) + bytes(1024))
    (member,) = tar_files.members(tmp_path / "b.tar")
    assert member.problem is not None
    assert member.problem.code == "tar_sparse"


def test_damaged_pax_records_are_an_error(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.tar", [(LONG, b"1")], tarfile.PAX_FORMAT)
    data = path.read_bytes()
    assert data.count(b" path=") == 1
    path.write_bytes(data.replace(b" path=", b"9path="))
    with pytest.raises(DataError, match="pax records"):
        list(tar_files.members(path))
