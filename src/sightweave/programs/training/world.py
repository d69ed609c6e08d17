"""The processes that train one model together: the only place that may talk to ``torch.distributed``.

So far a run has one process. The order of the data is already the same on any number of them (see `Feed`), and the training
loop asks here wherever processes would have to agree.
"""

from __future__ import annotations

from dataclasses import dataclass

from sightweave.core.errors import BackendError


@dataclass(frozen=True, slots=True)
class World:
    """Which process this is, and of how many.

    Raises:
        ValueError: no process, or a rank that none of them has.
    """

    rank: int = 0
    """Number of this process, from 0."""
    size: int = 1
    """Number of processes."""

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.size:
            raise ValueError(f"the rank of {self.size} processes is 0 to {self.size - 1} (got {self.rank}).")

    @property
    def is_first(self) -> bool:
        """Whether this process writes what the others need not write again."""
        return self.rank == 0

    def mean(self, value: float) -> float:
        """The mean of the values of all processes."""
        self.check_alone()
        return value

    def agree(self, flag: bool) -> bool:
        """Whether any process says so, which is then what all of them do."""
        self.check_alone()
        return flag

    def check_alone(self) -> None:
        """Refuses more processes than one, which nothing here connects yet.

        Raises:
            BackendError: there are several processes.
        """
        if self.size > 1:
            raise BackendError(
                f"training with {self.size} processes is not supported yet (this is number {self.rank}); start a single one."
            )
