"""Runs the reference programs of METEOR and SPICE. The user must install Java and the jars, which are not shipped."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

from sightweave.core.errors import BackendError

PACKAGE = "pycocoevalcap"
"""The Python package that contains both jars; only its folder is used, none of its code."""


def folder_of(metric: str, given: str, jar: str) -> Path:
    """The folder that contains a jar: the given one, or that of an installed pycocoevalcap.

    Raises:
        BackendError: the jar is in neither.
    """
    folder = Path(given) if given else _package_folder(metric)
    if folder is not None and (folder / jar).is_file():
        return folder.resolve()

    where = f"{PACKAGE} is not installed" if folder is None else f"{folder} has no such file"
    raise BackendError(
        f"{metric}: not computed: needs Java and {jar}, but {where}. Install {PACKAGE} (`pip install {PACKAGE}`), "
        "or set `folder` to the folder of the jar."
    )


def _package_folder(metric: str) -> Path | None:
    """The folder of a metric in the installed package; None if the package is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    locations = list(spec.submodule_search_locations or ()) if spec else []
    return Path(locations[0]) / metric if locations else None


def find(metric: str, java: str, jar: str) -> str:
    """The path of the Java executable.

    Raises:
        BackendError: the executable was not found.
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
        BackendError: the program does not print a version.
    """
    done = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)

    version = re.search(r'version "(?:1\.)?(\d+)', done.stderr + done.stdout)
    if version is None:
        raise BackendError(
            f"{metric}: not computed: needs Java, but `{java} -version` printed {done.stderr[:200]!r}."
        )

    return int(version[1])


def run(metric: str, command: list[str], folder: Path, text: str = "") -> str:
    """Runs a command in a folder, with a text on its standard input, and returns its standard output.

    Raises:
        BackendError: the exit status is not 0.
    """
    done = subprocess.run(command, cwd=folder, input=text.encode(), capture_output=True, check=False)

    if done.returncode:
        raise BackendError(
            f"{metric}: not computed: {' '.join(command[:4])} ... exited with status {done.returncode}: "
            f"{done.stderr.decode(errors='replace').strip()[-500:]}"
        )

    return done.stdout.decode()
