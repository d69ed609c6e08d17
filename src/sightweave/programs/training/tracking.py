"""The trackers of a run together: they start before the first step, get every row of the log, and end with the scores."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sightweave.core import config, terminal
from sightweave.core.errors import BackendError
from sightweave.programs.training.logs import Report, TrainingProgress
from sightweave.programs.training.trackers._base import State, TrackedRun, Tracker

logger = logging.getLogger(__name__)


class Tracking:
    """The trackers of a run; a context manager that ends those that `finish` has not ended.

    A tracker that fails during training is left out from then on with a warning, since its numbers are in
    ``metrics.jsonl`` and in TensorBoard too.

    Args:
        configs: Config of each tracker.

    Raises:
        BackendError: The package of a tracker is not installed.
    """

    def __init__(self, configs: Sequence[Any] = ()) -> None:
        self._waiting: dict[str, Tracker] = {}
        for one in configs:
            name = config.kind_of(one)
            self._waiting[name] = one.build()
        self._started: dict[str, Tracker] = {}

    def start(
        self, folder: Path, *, title: str, recipe: Mapping[str, Any], ids: Any = None
    ) -> dict[str, str]:
        """Starts all trackers, and returns the id that each has given to the run.

        Args:
            folder: The run's folder.
            title: The recipe's title.
            recipe: The resolved recipe as plain data.
            ids: Earlier ids of the run by tracker, as in ``run.json``, to resume it; any other value starts new runs.

        Raises:
            BackendError: A tracker cannot be reached or does not know the run.
        """
        known = ids.items() if isinstance(ids, Mapping) else ()
        found = {name: value for name, value in known if isinstance(value, str)}
        for name, tracker in self._waiting.items():
            run = TrackedRun(folder, title, recipe, found.get(name, ""))
            try:
                found[name] = tracker.start(run)
            except Exception as error:  # each package has its own errors
                what = f"resume its run {run.id!r}" if run.id else "start a run"
                raise BackendError(
                    f"train.trackers: {name} cannot {what}: {terminal.in_short(error)} To train without it, remove it "
                    "from train.trackers."
                ) from error
            self._started[name] = tracker
        self._waiting = {}
        return found

    @property
    def places(self) -> dict[str, str]:
        """Where the run can be seen, by tracker."""
        return {name: tracker.place for name, tracker in self._started.items()}

    def log(self, progress: TrainingProgress) -> None:
        """Gives the finite numbers of a row to all trackers."""
        numbers: dict[str, float] = {}
        for name, value in progress.values.items():
            if isinstance(value, int | float) and math.isfinite(value):
                numbers[name] = float(value)
        self._each(lambda one: one.log(progress.step - 1, numbers))

    def reporting(self, also: Report | None) -> Report:
        """A function for the rows of the log, which calls `log` and then another function."""

        def report(progress: TrainingProgress) -> None:
            self.log(progress)
            if also is not None:
                also(progress)

        return report

    def finish(
        self, state: State, *, scores: Mapping[str, float] | None = None, report: Path | None = None
    ) -> None:
        """Ends all trackers; for the arguments see `Tracker.finish`."""
        self._each(lambda one: one.finish(state, scores=scores or {}, report=report))
        self._started = {}

    def _each(self, call: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._started.items()):
            try:
                call(tracker)
            except Exception as error:  # the training is worth more than its copy elsewhere
                del self._started[name]
                logger.warning(
                    "tracker %s failed and gets no more numbers: %s", name, terminal.in_short(error)
                )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        is_stop = kind is None or not issubclass(kind, Exception)
        self.finish("interrupted" if is_stop else "failed")
