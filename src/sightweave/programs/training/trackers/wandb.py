"""Weights & Biases: numbers of a run on its server, or with ``WANDB_MODE=offline`` in the run's folder.

Entity, project and mode can also be set by the variables ``WANDB_ENTITY``, ``WANDB_PROJECT`` and ``WANDB_MODE``, which the
package reads itself. ``wandb sync RUN/wandb/offline-run-*`` uploads a run that was tracked offline.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sightweave.core.config import config
from sightweave.programs.training.trackers._base import State, TrackedRun, require


@config
class Config:
    """Settings for Weights & Biases."""

    project: str = ""
    """Project of the run; empty means that of WANDB_PROJECT, or W&B's default."""
    entity: str = ""
    """User or team that owns the project; empty means that of WANDB_ENTITY, or the user's default."""

    def build(self) -> WandbTracker:
        """A tracker that has not started.

        Raises:
            BackendError: The package is not installed.
        """
        require("wandb")
        return WandbTracker(project=self.project, entity=self.entity)


class WandbTracker:
    """A run of Weights & Biases.

    Args:
        project: Project of the run; empty for the default.
        entity: Owner of the project; empty for the default.
    """

    def __init__(self, *, project: str = "", entity: str = "") -> None:
        self._project, self._entity = project, entity
        self._run: Any = None

    def start(self, run: TrackedRun) -> str:
        """Begins or resumes a run and returns its id. The package's own lines are not printed."""
        import wandb

        self._run = wandb.init(
            project=self._project or None,
            entity=self._entity or None,
            name=run.name,
            id=run.id or None,
            resume="allow" if run.id else None,
            dir=run.folder,
            config=dict(run.recipe),
            notes=run.title or None,
            # Otherwise the package would print, and would take over the output of this process.
            settings=wandb.Settings(silent=True, console="off"),
        )
        self._run.summary["folder"] = str(run.folder.resolve())
        return str(self._run.id)

    @property
    def place(self) -> str:
        """Address of the run's page or, in offline mode, the path of the folder to upload."""
        return str(Path(self._run.dir).parent if self._run.offline else self._run.url)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Adds numbers at a step.

        W&B would drop the numbers of a step that is repeated after a resume, with a warning for each; they are left out.
        Offline, the package does not know which steps an earlier process logged.
        """
        if step >= self._run.step:
            self._run.log(dict(values), step=step)

    def finish(self, state: State, *, scores: Mapping[str, float], report: Path | None) -> None:
        """Writes the scores, the state and the report's path into the summary, and ends the run."""
        self._run.summary.update({**scores, "state": state})
        if report is not None:
            self._run.summary["report"] = str(report.resolve())
        self._run.finish(exit_code=int(state == "failed"))
