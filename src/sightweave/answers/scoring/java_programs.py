"""Runs the reference programs of METEOR and SPICE, which a user must have: Java, and a jar that is not ours to ship."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

from sightweave.core.errors import BackendError

PACKAGE = "pycocoevalcap"
"""The Python package that brings both jars; only its folder is used, none of its code."""


def folder_of(metric: str, given: str, jar: str) -> Path:
    """The folder that holds a jar: the given one, or that of an installed pycocoevalcap.

    Raises:
        BackendError: the jar is in neither.
    """
    if given:
        folder = Path(given)
    else:
        spec = importlib.util.find_spec(PACKAGE)
        places = list(spec.submodule_search_locations or ()) if spec else []
        folder = Path(places[0]) / metric if places else Path()
    if (given or folder != Path()) and (folder / jar).is_file():
        return folder.resolve()
    where = f"{folder} has no such file" if given or folder != Path() else f"{PACKAGE} is not installed"
    raise BackendError(
        f"{metric}: not computed: needs Java and {jar}, but {where}. Install {PACKAGE} (`pip install {PACKAGE}`), "
        "or set `folder` to the folder of the jar."
    )


def find(metric: str, java: str, jar: str) -> str:
    """The path of the Java program.

    Raises:
        BackendError: there is none.
    """
    found = shutil.which(java)
    if found is None:
        raise BackendError(
            f"{metric}: not computed: needs Java and {jar}, but the program {java!r} was not found. Install a Java "
            "runtime, or set `java` to its executable."
        )
    return found


def major_version(metric: str, java: str) -> int:
    """The major version of a Java program, such as 8 (which calls itself 1.8) or 17.

    Raises:
        BackendError: it does not say.
    """
    done = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    said = re.search(r'version "(?:1\.)?(\d+)', done.stderr + done.stdout)
    if said is None:
        raise BackendError(
            f"{metric}: not computed: needs Java, but `{java} -version` printed {done.stderr[:200]!r}."
        )
    return int(said[1])


def run(metric: str, command: list[str], folder: Path, text: str = "") -> str:
    """What a program writes when it runs in a folder and reads a text.

    Raises:
        BackendError: it ends with an error.
    """
    done = subprocess.run(command, cwd=folder, input=text.encode(), capture_output=True, check=False)
    if done.returncode:
        raise BackendError(
            f"{metric}: not computed: {' '.join(command[:4])} ... exited with status {done.returncode}: "
            f"{done.stderr.decode(errors='replace').strip()[-500:]}"
        )
    return done.stdout.decode()
