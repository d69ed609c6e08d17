"""COMET: a translation scored against its source and reference by a model trained on human judgments.

COMET: A Neural Framework for MT Evaluation (Rei et al. 2020, arXiv:2009.09025). The scores are those of the authors'
own package, unbabel-comet, in a separate environment that you install and name: its pinned libraries conflict with
ours, and its checkpoints are pickled, which Sightweave itself never loads. Without it COMET is not computed, and no
other score is used in its place.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import PositiveFloat, PositiveInt

from sightweave.answers.scoring import ratios
from sightweave.core.config import config, place
from sightweave.core.errors import BackendError, DataError
from sightweave.core.types import Sample

TAG = "source"
"""Tag with the source sentence to translate."""
INSTALL = (
    "Install COMET in a separate environment (python -m venv comet; comet/bin/pip install unbabel-comet "
    "'setuptools<81') and set `python` to its interpreter."
)
MAX_SAID = 500
"""Maximum number of characters of COMET's error output to show in an error message."""


@config
class Config:
    """Options of COMET: its environment and model."""

    python: Annotated[str, place()] = ""
    """Path of the Python interpreter of an environment with unbabel-comet; if empty, COMET is not computed."""
    model: Annotated[str, place("Unbabel/wmt22-comet-da")] = "Unbabel/wmt22-comet-da"
    """Name of a COMET model, which COMET downloads, or path of a checkpoint. Use only one you trust: it is unpickled."""
    batch_size: PositiveInt = 16
    """Number of translations scored per batch."""
    timeout: PositiveFloat = 3600
    """Time limit in seconds for one set of translations, including loading the model."""

    def build(self) -> Comet:
        """Builds the metric."""
        return Comet(python=self.python, model=self.model, batch_size=self.batch_size, timeout=self.timeout)


class Comet:
    """The mean score of the translations, about 0 to 1 with the default model.

    Args:
        python: Path of the Python interpreter of COMET's environment.
        model: Name or path of the model.
        batch_size: Number of translations scored per batch.
        timeout: Time limit in seconds.
    """

    is_proportion = False

    def __init__(self, *, python: str, model: str, batch_size: int, timeout: float) -> None:
        self.python = python
        self.model = model
        self.batch_size = batch_size
        self.timeout = timeout
        self._known: dict[tuple[str, str, str], float] = {}
        self._version = ""

    def rows(self, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
        """A row per translation, float64 R 2: (score, 1). Only the first reference is used.

        An answer that could not be parsed (None) is an empty translation.

        Raises:
            DataError: there is not exactly one prediction per sample, or a sample lacks a reference or the tag
                ``source``.
            BackendError: the interpreter is not set or not found, COMET is not installed in it, or it failed.
        """
        ratios.check("comet", predictions, samples)

        untagged = [sample.id for sample in samples if not sample.tags.get(TAG)]
        if untagged:
            raise DataError(
                f"comet: {len(untagged)} of {len(samples)} samples have no tag {TAG!r} with the sentence to translate, the "
                f"first being {untagged[0]!r}; this metric scores translations only."
            )

        triples = []
        for answer, sample in zip(predictions, samples, strict=True):
            triples.append((sample.tags[TAG], answer or "", sample.references[0]))

        new = [triple for triple in dict.fromkeys(triples) if triple not in self._known]
        if new:
            self._known.update(zip(new, self._judge(new), strict=True))

        return ratios.with_ones([self._known[triple] for triple in triples])

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The mean score (shape ``...``) from summed rows (shape ``... 2``); NaN where there are no rows."""
        return ratios.mean(sums)

    def signature(self, samples: Sequence[Sample]) -> str:
        """The model's name and, after COMET has been called, its version."""
        return f"model:{self.model}" + (f"|unbabel-comet:{self._version}" if self._version else "")

    def _judge(self, triples: Sequence[tuple[str, str, str]]) -> list[float]:
        """COMET's scores of triples (source, translation, reference)."""
        local = Path(self.model).expanduser()
        request = {
            "model": str(local.resolve()) if local.is_file() else self.model,
            "batch_size": self.batch_size,
            "rows": [dict(zip(("src", "mt", "ref"), triple, strict=True)) for triple in triples],
        }
        reply = _parsed(_run(self._interpreter(), json.dumps(request), self.timeout))

        # The reply comes from another program, so everything in it is checked.
        if "missing" in reply:
            raise BackendError(
                f"comet: not computed: {self.python} cannot import COMET ({reply['missing']}). {INSTALL}"
            )
        scores = reply.get("scores")
        if not isinstance(scores, list) or len(scores) != len(triples):
            count = len(scores) if isinstance(scores, list) else "no"
            raise BackendError(
                f"comet: not computed: {self.python} returned {count} score(s) for {len(triples)} translation(s)."
            )
        for score in scores:
            if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
                raise BackendError(f"comet: not computed: {self.python} returned {score!r} as a score.")

        self._version = str(reply.get("version", ""))
        return [float(score) for score in scores]

    def _interpreter(self) -> str:
        """The absolute path of the Python interpreter of COMET's environment."""
        if not self.python:
            raise BackendError(f"comet: not computed: `python` is not set. {INSTALL}")

        found = shutil.which(os.path.expanduser(self.python))
        if found is None:
            raise BackendError(f"comet: not computed: program {self.python!r} not found. {INSTALL}")

        return os.path.abspath(found)


def _run(python: str, text: str, timeout: float) -> str:
    """Sends a request to COMET's environment and returns its output.

    The process runs in an empty folder, so that no file next to it can be imported in place of COMET.

    Raises:
        BackendError: the program took more than `timeout` seconds, or its exit status is not 0.
    """
    code = Path(__file__).parents[1].joinpath("scoring", "comet_judge.py").read_text(encoding="utf-8")

    # Pass the code itself, not its path: Python would put the path's folder first in the module search path.
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            [python, "-c", code],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as process,
    ):
        try:
            out, errors = process.communicate(text.encode(), timeout=timeout)
        except BaseException as error:
            # Needed after Ctrl-C too, because the process is in a session of its own and does not receive it.
            _kill(process)
            if isinstance(error, subprocess.TimeoutExpired):
                raise BackendError(
                    f"comet: not computed: {python} took more than {timeout:g} seconds. Raise `timeout`, or use a "
                    "smaller model."
                ) from None
            raise

    if process.returncode:
        last = errors.decode(errors="replace").strip()[-MAX_SAID:]
        raise BackendError(f"comet: not computed: {python} exited with status {process.returncode}: {last}")

    return out.decode(errors="replace")


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kills a process and its children, which would otherwise keep its pipes open."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    # No process groups on Windows, or the process has just ended.
    except (AttributeError, ProcessLookupError):
        process.kill()


def _parsed(output: str) -> dict[str, Any]:
    """The JSON object that the process printed.

    Raises:
        BackendError: the output is not a JSON object.
    """
    try:
        reply = json.loads(output)
    except (ValueError, RecursionError):
        reply = None

    if not isinstance(reply, dict):
        raise BackendError(
            f"comet: not computed: the COMET process printed {output[:80]!r}, which is not a JSON object."
        )

    return reply
