"""SPICE: F-score of the objects, attributes and relations that a caption and its references name.

SPICE: Semantic Propositional Image Caption Evaluation (Anderson et al. 2016, arXiv:1607.08822). The scores are those of
the authors' program, spice-1.0.jar, which needs Java 8 to 15 (its cache fails on later ones) and Stanford CoreNLP 3.6.0
in its folder ``lib``. Neither is included: install pycocoevalcap and let it download the models, or set the folder.
Without them SPICE is not computed, and no other score is used in its place. Written from the program's description; the
program itself was not run.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np

from sightweave.answers.scoring import java_programs, ngrams, ratios
from sightweave.core.config import config, place
from sightweave.core.errors import BackendError, DataError
from sightweave.core.types import Sample

JAR = "spice-1.0.jar"
LIBRARIES = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")
NEWEST_JAVA = 15


@config
class Config:
    """Options of SPICE: the reference program."""

    folder: Annotated[str, place()] = ""
    """Folder with spice-1.0.jar and ``lib``; if empty, the folder of an installed pycocoevalcap."""
    java: Annotated[str, place("java")] = "java"
    """Name or path of the Java executable, version 8 to 15."""
    memory_gigabytes: int = 8
    """Memory limit of the Java program, in gigabytes."""

    def build(self) -> Spice:
        """Builds the metric."""
        return Spice(folder=self.folder, java=self.java, memory_gigabytes=self.memory_gigabytes)


class Spice:
    """The mean over answers of the F-score over propositions, from the authors' program; 0 to 1.

    Args:
        folder: Folder of the jar; if empty, that of an installed pycocoevalcap.
        java: Name or path of the Java executable.
        memory_gigabytes: Memory limit of the program, in gigabytes.
    """

    is_proportion = False

    def __init__(self, *, folder: str = "", java: str = "java", memory_gigabytes: int = 8) -> None:
        self.folder = folder
        self.java = java
        self.memory_gigabytes = memory_gigabytes

    def rows(self, predictions: Sequence[str | None], samples: Sequence[Sample]) -> np.ndarray:
        """A row per answer, float64 R 2: (F, 1). An answer that could not be parsed (None) counts as empty.

        Raises:
            DataError: there is not exactly one prediction per sample, a sample has no references or gets no score, or
                references are not English.
            BackendError: Java (in a supported version), the jar or its models are missing, or the program failed.
        """
        texts = ngrams.tokenised("spice", predictions, samples)
        ngrams.check_english("spice", samples)
        folder = java_programs.folder_of("spice", self.folder, JAR)
        java = java_programs.find("spice", self.java, JAR)
        self._check(folder, java)

        entries = []
        for number, (answer, references) in enumerate(texts):
            entries.append({"image_id": number, "test": answer, "refs": references})

        with tempfile.TemporaryDirectory() as place:
            input_path, output_path = Path(place) / "input.json", Path(place) / "output.json"
            input_path.write_text(json.dumps(entries), encoding="utf-8")
            command = [java, f"-Xmx{self.memory_gigabytes}G", "-jar", JAR, str(input_path)]
            java_programs.run("spice", [*command, "-out", str(output_path), "-subset", "-silent"], folder)
            scores = read_scores(output_path, [sample.id for sample in samples])

        return np.stack([scores, np.ones(len(scores))], axis=1)

    def total(self, sums: np.ndarray) -> np.ndarray:
        """The mean F (shape ``...``) from summed rows (shape ``... 2``); NaN where there are no rows."""
        return ratios.mean(sums)

    def _check(self, folder: Path, java: str) -> None:
        """Rejects a folder without the models, and a version of Java that is too new.

        Raises:
            BackendError: a model is missing, or the version is too new.
        """
        missing = [name for name in LIBRARIES if not (folder / "lib" / name).is_file()]
        if missing:
            raise BackendError(
                f"spice: not computed: needs Java and {JAR} with its models, but {folder / 'lib'} has no "
                f"{' and no '.join(missing)}. Add them (pycocoevalcap's spice/get_stanford_models.py downloads them)."
            )

        version = java_programs.major_version("spice", java)
        if version > NEWEST_JAVA:
            raise BackendError(
                f"spice: not computed: needs Java 8 to {NEWEST_JAVA}, but {java} is version {version}, with which the "
                "program fails. Install Java 8 or 11 and set `java` to its executable."
            )


def read_scores(path: Path, ids: Sequence[str]) -> np.ndarray:
    """The F-scores in the program's output, in the order of the samples; float64 R.

    Raises:
        BackendError: the file does not have the format that the program writes.
        DataError: a sample has no score, because no propositions were found in its references.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        scores = {int(one["image_id"]): one["scores"]["All"]["f"] for one in found}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BackendError(f"spice: not computed: no scores in the program's output: {error!r}.") from None

    if sorted(scores) != list(range(len(ids))):
        raise BackendError(f"spice: the program returned {len(scores)} score(s) for {len(ids)} answer(s).")
    unscored = [ids[number] for number, score in scores.items() if not isinstance(score, int | float)]
    if unscored:
        raise DataError(
            f"spice: {len(unscored)} of {len(ids)} samples have no score, the first being {unscored[0]!r}: no "
            "propositions were found in their references; remove them."
        )

    return np.array([scores[number] for number in range(len(ids))], dtype=np.float64)
