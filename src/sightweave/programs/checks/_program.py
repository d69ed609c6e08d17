"""Runs the checks, and shows their findings as a table."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from rich.table import Table

from sightweave.core import catalog
from sightweave.core.errors import SightweaveError
from sightweave.core.terminal import markup
from sightweave.programs.checks._base import Finding, Subject

FAMILY = "programs.checks"
QUICK = ("counts", "gradients", "images", "labels", "leaks", "neighbours")
"""Names of the checks that run before every training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One check and its finding."""

    name: str
    title: str
    finding: Finding
    seconds: float

    def to_plain(self) -> dict[str, str | float]:
        """The check as plain data."""
        found = self.finding
        return {
            "check": self.name,
            "what": self.title,
            "state": found.state,
            "measured": found.measured,
            "needed": found.needed,
            "seconds": self.seconds,
        }


def run(subject: Subject, names: Iterable[str] = ()) -> list[Checked]:
    """Runs checks; an error inside a check counts as its failure.

    The state of the global random generators is restored.

    Args:
        subject: The model to check.
        names: Names of the checks; empty means all.
    """
    found = []
    for name in names or catalog.kinds(FAMILY):
        began = time.perf_counter()
        with torch.random.fork_rng(devices=[]):
            try:
                finding = catalog.module(FAMILY, name).check(subject)
            except (SightweaveError, ValueError, RuntimeError, IndexError, KeyError) as error:
                first = (str(error).strip() or "no message").splitlines()[0]
                finding = Finding(
                    state="fail", measured=f"{type(error).__name__}: {first}", needed="no error"
                )

        title = catalog.summary(FAMILY, name)
        found.append(Checked(name=name, title=title, finding=finding, seconds=time.perf_counter() - began))
    return found


def table(found: Sequence[Checked]) -> Table:
    """The findings as a table for the terminal."""
    made = Table("", "check", "measured", "needed")
    marks = {"pass": "[green]pass[/]", "fail": "[red]FAIL[/]", "skip": "[dim]skip[/]"}
    for one in found:
        texts = map(markup, (one.name, one.finding.measured, one.finding.needed))
        made.add_row(marks[one.finding.state], *texts)
    return made
