"""Outside programs: found or not, and what happens when they fail. The Python that runs the tests stands for one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sightweave.answers.scoring import java_programs
from sightweave.core.errors import BackendError


def test_a_folder_needs_the_jar(tmp_path: Path) -> None:
    (tmp_path / "m.jar").write_bytes(b"")
    assert java_programs.folder_of("m", str(tmp_path), "m.jar") == tmp_path.resolve()
    with pytest.raises(
        BackendError, match=r"m: not computed: needs Java and other\.jar, but .* has no such file"
    ):
        java_programs.folder_of("m", str(tmp_path), "other.jar")
    with pytest.raises(BackendError, match=r"not computed: needs Java and no-such\.jar"):
        java_programs.folder_of("m", "", "no-such.jar")


def test_a_program_is_found_or_named() -> None:
    assert java_programs.find("m", sys.executable, "m.jar") == sys.executable
    with pytest.raises(BackendError, match="the program 'no-such-java' was not found"):
        java_programs.find("m", "no-such-java", "m.jar")


def test_a_program_that_says_no_version_of_java_is_refused() -> None:
    with pytest.raises(BackendError, match="not computed: needs Java, but"):
        java_programs.major_version("m", sys.executable)


def test_a_program_reads_and_writes_in_a_folder(tmp_path: Path) -> None:
    code = "import os, sys; print(os.getcwd(), sys.stdin.read())"
    said = java_programs.run("m", [sys.executable, "-c", code], tmp_path, "hello")
    assert said.split() == [str(tmp_path), "hello"]
    with pytest.raises(BackendError, match=r"(?s)exited with status 3: .*bad news"):
        java_programs.run(
            "m",
            [sys.executable, "-c", "import sys; print('bad news', file=sys.stderr); sys.exit(3)"],
            tmp_path,
        )
