"""MLflow: numbers of a run in an MLflow server, a database or a folder.

The place is that of the variable ``MLFLOW_TRACKING_URI``, which the package reads itself, such as ``sqlite:///mlflow.db`` or
``http://localhost:5000``.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sightweave.core.config import config
from sightweave.programs.training.trackers._base import State, TrackedRun, require

_STATUS: Mapping[State, str] = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
_FORBIDDEN = re.compile(r"[^\w\-. /]")
"""Characters that a name in MLflow must not have."""
_MOST_PARAMETERS, _MOST_METRICS = 100, 1000
"""Maximum numbers of parameters and of metrics in one request."""
_MOST_LETTERS = 500
"""Maximum length of a parameter's value that all versions accept."""


@config
class Config:
    """Settings for MLflow."""

    experiment: str = "sightweave"
    """Experiment of the run; created if it does not exist."""

    def build(self) -> MlflowTracker:
        """A tracker that has not started.

        Raises:
            BackendError: The package is not installed.
        """
        require("mlflow")
        return MlflowTracker(experiment=self.experiment)


class MlflowTracker:
    """A run of MLflow.

    Args:
        experiment: Name of the experiment.
    """

    def __init__(self, *, experiment: str) -> None:
        self._experiment = experiment
        self._client: Any = None
        self._id = ""
        self._step = 0
        self._logged = -1
        """Last step that an earlier process logged."""

    def start(self, run: TrackedRun) -> str:
        """Begins or resumes a run and returns its id. MLflow's state of the process, the active run, is left alone."""
        from mlflow import MlflowClient

        self._client = MlflowClient()
        if run.id:
            self._client.update_run(run.id, status="RUNNING")
            self._id = run.id
            self._logged = self._last_step()
            return run.id

        known = self._client.get_experiment_by_name(self._experiment)
        experiment = (
            self._client.create_experiment(self._experiment) if known is None else known.experiment_id
        )
        tags = {"folder": str(run.folder.resolve()), "mlflow.note.content": run.title}
        self._id = str(self._client.create_run(experiment, run_name=run.name, tags=tags).info.run_id)
        self._write_recipe(run.recipe)
        return self._id

    def _last_step(self) -> int:
        """Last step for which the run has a metric; -1 if it has none."""
        last = -1
        for name in self._client.get_run(self._id).data.metrics:
            for metric in self._client.get_metric_history(self._id, name):
                last = max(last, metric.step)
        return last

    def _write_recipe(self, recipe: Mapping[str, Any]) -> None:
        """Writes the recipe as a file, and its settings as parameters."""
        from mlflow.entities import Param

        self._client.log_dict(self._id, dict(recipe), "recipe.json")
        found = [Param(_name(path), _shown(value)) for path, value in _leaves(recipe)]
        for first in range(0, len(found), _MOST_PARAMETERS):
            self._client.log_batch(self._id, params=found[first : first + _MOST_PARAMETERS])

    @property
    def place(self) -> str:
        """Tracking URI and id of the run."""
        return f"{self._client.tracking_uri} (run {self._id})"

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Adds numbers at a step.

        MLflow would keep both copies of a step that is repeated after a resume, so the second one is left out.
        """
        self._step = max(self._step, step)
        if step > self._logged:
            self._add(step, values)

    def _add(self, step: int, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        found = [Metric(_name(name), value, now, step) for name, value in values.items()]
        for first in range(0, len(found), _MOST_METRICS):
            self._client.log_batch(self._id, metrics=found[first : first + _MOST_METRICS])

    def finish(self, state: State, *, scores: Mapping[str, float], report: Path | None) -> None:
        """Writes the scores as metrics and the report's path as a tag, and ends the run."""
        self._add(self._step, scores)
        if report is not None:
            self._client.set_tag(self._id, "report", str(report.resolve()))
        self._client.set_terminated(self._id, _STATUS[state])


def _name(text: str) -> str:
    return _FORBIDDEN.sub("_", text)


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text[:_MOST_LETTERS]


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The settings of a recipe by path, such as ``train.stages.0.steps``; empty lists and mappings are values too."""
    items: list[tuple[Any, Any]] = []
    if isinstance(value, Mapping):
        items = list(value.items())
    elif isinstance(value, list | tuple):
        items = list(enumerate(value))

    if not items:
        yield path, value
    for key, inner in items:
        yield from _leaves(inner, f"{path}.{key}" if path else str(key))
