"""What llama.cpp writes to the terminal while it is asked: nothing, and its last line where it fails."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from sightweave.programs.exports._llama_cpp import last_line, quiet


def test_what_c_code_writes_stays_out_of_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet() as log:
        os.write(2, b"llama_model_loader: loaded meta data\n")
        subprocess.run([sys.executable, "-c", "import sys; print('clip_init', file=sys.stderr)"], check=True)
        assert last_line(log) == "clip_init"
    os.write(2, b"and after it\n")
    assert capfd.readouterr().err == "and after it\n"


def test_the_terminal_comes_back_after_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="no output"), quiet() as log:
        raise ValueError(last_line(log))
    os.write(2, b"back\n")
    assert capfd.readouterr().err == "back\n"
