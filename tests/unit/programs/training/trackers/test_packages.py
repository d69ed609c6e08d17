"""W&B and MLflow themselves, offline, where they are installed; and what is said where they are not.

The packages are large, so they are no dependency of the tests. Run this file in an environment that has them.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from sightweave.core import catalog
from sightweave.core.errors import BackendError
from sightweave.programs.training.trackers._base import TrackedRun, require

KINDS = catalog.kinds("programs.training.trackers")
RECIPE = {"seed": 3, "train": {"stages": [{"steps": 4, "name": "words"}], "quantize": {}}, "long": "x" * 9000}
SCORES = {"scores/test/vqa": 0.75, "scores/test/vqa/no_image": 0.25}


def tracker(kind: str) -> Any:
    return catalog.config_class("programs.training.trackers", kind)().build()


@pytest.mark.parametrize("kind", KINDS)
def test_a_package_that_is_not_installed_says_how_to_install_it(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = catalog.config_class("programs.training.trackers", kind)()
    # Only a folder of its name, such as W&B leaves in the working folder, is on the path.
    (tmp_path / kind).mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, kind, raising=False)
    importlib.invalidate_caches()
    with pytest.raises(BackendError, match=rf"{kind} is not installed; run `pip install {kind}`"):
        config.build()
    with pytest.raises(BackendError, match="no_such_package is not installed"):
        require("no_such_package")


@pytest.mark.filterwarnings("ignore")  # of the packages
def test_mlflow_keeps_a_run_in_a_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="not run: no mlflow")
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    folder = tmp_path / "my-run"
    folder.mkdir()

    one = tracker("mlflow")
    id_of = one.start(TrackedRun(folder, "a title", RECIPE))
    assert id_of in one.place
    one.log(0, {"loss": 2.0, "update/encoder, max": 0.5})
    one.log(4, {"loss": 1.0})
    one.finish("interrupted", scores={}, report=None)
    client = mlflow.MlflowClient()
    assert client.get_run(id_of).info.status == "KILLED"

    # Another process resumes it.
    two = tracker("mlflow")
    assert two.start(TrackedRun(folder, "a title", RECIPE, id_of)) == id_of
    assert client.get_run(id_of).info.status == "RUNNING"
    two.log(2, {"loss": 7.0})  # steps that are repeated, with or without a row at the same step
    two.log(4, {"loss": 1.0})
    two.log(8, {"loss": 0.5})
    two.finish("finished", scores=SCORES, report=folder / "report.html")

    found = client.get_run(id_of)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "my-run"
    assert [(row.step, row.value) for row in client.get_metric_history(id_of, "loss")] == [
        *((0, 2.0), (4, 1.0), (8, 0.5)),
    ]
    assert found.data.metrics["update/encoder_ max"] == 0.5
    assert {name: found.data.metrics[name] for name in SCORES} == SCORES
    assert client.get_metric_history(id_of, "scores/test/vqa")[0].step == 8
    assert found.data.params["train.stages.0.steps"] == "4"
    assert found.data.params["train.quantize"] == "{}"
    assert found.data.params["long"] == "x" * 500
    assert found.data.tags["report"] == str(folder / "report.html")
    assert json.loads(Path(client.download_artifacts(id_of, "recipe.json")).read_text()) == RECIPE
    assert client.get_experiment(found.info.experiment_id).name == "sightweave"


@pytest.mark.filterwarnings("ignore")
def test_wandb_keeps_a_run_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("wandb", reason="not run: no wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("CONFIG", "CACHE", "DATA"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / name))
    folder = tmp_path / "my-run"
    folder.mkdir()

    one = tracker("wandb")
    id_of = one.start(TrackedRun(folder, "a title", RECIPE))
    one.log(0, {"loss": 2.0})
    one.log(4, {"loss": 1.25})
    one.log(3, {"loss": 7.0625})  # as after a resume
    one.finish("finished", scores=SCORES, report=folder / "report.html")
    assert Path(one.place).parent == folder / "wandb"

    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    assert id_of in file.name
    data = file.read_bytes()
    for text in (b"my-run", b"a title", b"words", b"1.25", b"no_image", b"0.75", b"report.html"):
        assert text in data, text
    assert b"7.0625" not in data
    assert capfd.readouterr() == ("", "")

    # Another process resumes it.
    two = tracker("wandb")
    assert two.start(TrackedRun(folder, "a title", RECIPE, id_of)) == id_of
    two.log(8, {"loss": 0.5})
    two.finish("failed", scores={}, report=None)
