"""What every export is: a file with settings, a way to say how its files are opened, and a place for one's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import RECIPE

import sightweave
from sightweave.core import catalog
from sightweave.core.errors import RecipeError

OWN = '''
"""A list of the names of the weights."""
from sightweave.core.config import config
from sightweave.programs.exports._base import Exported

USE = "```text\\nless names.txt\\n```"
LIMITS = "It holds no weights."


@config
class Config:
    """Which names."""

    prefix: str = ""
    """What the names begin with."""

    def export(self, source, folder, samples, *, card=""):
        folder.mkdir(parents=True)
        names = [name for name, _ in source.model.named_parameters() if name.startswith(self.prefix)]
        (folder / "names.txt").write_text("\\n".join(names))
        (folder / "README.md").write_text(card)
        return Exported(folder=folder, layout="names", program="", note="")
'''
"""An exporter of a user's own: one file, outside of the library."""


@pytest.mark.parametrize("kind", catalog.kinds("programs.exports"))
def test_each_kind_has_settings_that_are_checked(kind: str) -> None:
    module = catalog.module("programs.exports", kind)
    assert module.Config() == module.Config()
    assert callable(module.Config().export)
    with pytest.raises(RecipeError, match=f"export to {kind}: 1 mistake"):
        sightweave.export("nowhere", to=kind, no_such_option=1)


def test_an_exporter_of_ones_own_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "export_lab").mkdir()
    (tmp_path / "export_lab" / "names.py").write_text(OWN, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    run = sightweave.build(RECIPE | {"data": "scenes"})
    made = sightweave.export(run, to="export_lab.names", out=tmp_path / "out", samples=2, prefix="connector.")
    names = (made.folder / "names.txt").read_text(encoding="utf-8").split()
    assert names == [name for name, _ in run.model.named_parameters() if name.startswith("connector.")]
    assert "It holds no weights." in (made.folder / "README.md").read_text(encoding="utf-8")


def test_exports_are_listed() -> None:
    assert set(sightweave.kinds("exports")) == set(catalog.kinds("programs.exports"))
