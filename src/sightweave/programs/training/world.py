"""The processes that train one model together; only this module may use ``torch.distributed``.

So far a run has one process. The order of the data is already the same for any number of processes (see `Feed`), and the
training loop calls this module wherever processes have to agree.
"""

from __future__ import annotations

from dataclasses import dataclass

from sightweave.core.errors import BackendError


@dataclass(frozen=True, slots=True)
class World:
    """The rank of this process, and the number of processes.

    Raises:
        ValueError: no process, or a rank outside of 0 to `size` - 1.
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
        """Whether this process writes the files."""
        return self.rank == 0

    def mean(self, value: float) -> float:
        """The mean of the values of all processes."""
        self.check_alone()
        return value

    def agree(self, flag: bool) -> bool:
        """Whether the flag is set in any process; the result is the same in all of them."""
        self.check_alone()
        return flag

    def check_alone(self) -> None:
        """Checks that there is only one process, since several are not supported yet.

        Raises:
            BackendError: there are several processes.
        """
        if self.size > 1:
            raise BackendError(
                f"training with {self.size} processes is not supported yet (this is number {self.rank}); start a single one."
            )
