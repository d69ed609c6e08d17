"""COMET: a translation beside its source and reference, judged by a model that learnt from human judgements.

COMET: A Neural Framework for MT Evaluation (Rei et al. 2020, arXiv:2009.09025). The scores are those of the authors' own
package, unbabel-comet, in an environment of its own that you install and name: its pinned libraries do not go with ours,
and its checkpoints are pickled, which Sightweave itself never reads. Without it COMET is not computed; nothing stands in
for it.
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
"""The sentence to translate."""
INSTALL = (
    "Install COMET in a separate environment (python -m venv comet; comet/bin/pip install unbabel-comet "
    "'setuptools<81') and set `python` to its interpreter."
)
MAX_SAID = 500
"""Characters of an error of the other program that are shown."""


@config
class Config:
    """Where COMET is, and which of its models judges."""

    python: Annotated[str, place()] = ""
    """Path of the interpreter of an environment with unbabel-comet; empty means that COMET is not computed."""
    model: Annotated[str, place("Unbabel/wmt22-comet-da")] = "Unbabel/wmt22-comet-da"
    """Name of a COMET model, which COMET downloads, or the path of a checkpoint of one. Trust it: it is unpickled."""
    batch_size: PositiveInt = 16
    """Number of translations scored per batch."""
    timeout: PositiveFloat = 3600
    """Time limit for one set of translations in seconds, loading included."""

    def build(self) -> Comet:
        """The metric."""
        return Comet(python=self.python, model=self.model, batch_size=self.batch_size, timeout=self.timeout)


class Comet:
    """The mean score of the translations, about 0 to 1 with the default model.

    Args:
        python: The interpreter of COMET's environment.
        model: Name or path of the model.
        batch_size: Translations at once.
        timeout: Seconds.
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
        """float64 R 2: (score, 1). Judged beside the first reference; an answer that could not be parsed is empty.

        Raises:
            DataError: not one prediction per sample, or a sample without a reference or without the tag ``source``.
            BackendError: no interpreter is named or found, COMET is not in it, or it failed.
        """
        ratios.check("comet", predictions, samples)
        bare = [sample.id for sample in samples if not sample.tags.get(TAG)]
        if bare:
            raise DataError(
                f"comet: {len(bare)} of {len(samples)} samples have no tag {TAG!r} with the sentence to translate, the "
                f"first being {bare[0]!r}; this metric scores translations only."
            )
        asked = [
            (sample.tags[TAG], answer or "", sample.references[0])
            for answer, sample in zip(predictions, samples, strict=True)
        ]
        new = [one for one in dict.fromkeys(asked) if one not in self._known]
        if new:
            self._known.update(zip(new, self._judge(new), strict=True))
        return ratios.with_ones([self._known[one] for one in asked])

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The mean score, from sums ``... 2``: shape ``...``; NaN where there are no rows."""
        return ratios.mean(sums)

    def signature(self, samples: Sequence[Sample]) -> str:
        """The model and, once it has judged, the version of COMET."""
        return f"model:{self.model}" + (f"|unbabel-comet:{self._version}" if self._version else "")

    def _judge(self, asked: Sequence[tuple[str, str, str]]) -> list[float]:
        """COMET's scores of (source, translation, reference)."""
        rows = [
            {"src": source, "mt": translation, "ref": reference} for source, translation, reference in asked
        ]
        local = Path(self.model).expanduser()
        model = str(local.resolve()) if local.is_file() else self.model
        said = _run(
            self._interpreter(),
            json.dumps({"model": model, "batch_size": self.batch_size, "rows": rows}),
            self.timeout,
        )
        told = _parsed(said)
        if "missing" in told:
            raise BackendError(
                f"comet: not computed: {self.python} cannot import COMET ({told['missing']}). {INSTALL}"
            )
        scores = told.get("scores")
        if not isinstance(scores, list) or len(scores) != len(asked):
            count = len(scores) if isinstance(scores, list) else "no"
            raise BackendError(
                f"comet: not computed: {self.python} returned {count} score(s) for {len(asked)} translation(s)."
            )
        for score in scores:
            if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
                raise BackendError(f"comet: not computed: {self.python} returned {score!r} as a score.")
        self._version = str(told.get("version", ""))
        return [float(score) for score in scores]

    def _interpreter(self) -> str:
        if not self.python:
            raise BackendError(f"comet: not computed: `python` is not set. {INSTALL}")
        found = shutil.which(os.path.expanduser(self.python))
        if found is None:
            raise BackendError(f"comet: not computed: program {self.python!r} not found. {INSTALL}")
        return os.path.abspath(found)


def _run(python: str, text: str, timeout: float) -> str:
    """What COMET's environment says to a text. It runs in an empty folder: a file beside it cannot pose as COMET."""
    code = Path(__file__).parents[1].joinpath("scoring", "comet_judge.py").read_text(encoding="utf-8")
    # Its file must not be run by its path: the folder that it lies in, with this module in it, would come first.
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
        except (
            BaseException
        ) as error:  # Ctrl-C too: it goes to us alone, since the other is in a session of its own
            _end(process)
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


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a program and all that it started: what lives on would hold its pipes open."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (AttributeError, ProcessLookupError):  # no process groups on Windows; or it has just ended
        process.kill()


def _parsed(said: str) -> dict[str, Any]:
    try:
        told = json.loads(said)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise BackendError(
            f"comet: not computed: the COMET process printed {said[:80]!r}, which is not a JSON object."
        )
    return told
