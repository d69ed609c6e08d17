"""VLMEvalKit's model needs VLMEvalKit; ``tests/foreign`` drives it with the real one."""

from __future__ import annotations

import importlib.util

import pytest

from sightweave.core.errors import BackendError
from sightweave.harnesses.vlmevalkit import model_class, register


@pytest.mark.skipif(importlib.util.find_spec("vlmeval") is not None, reason="VLMEvalKit is here")
def test_without_vlmevalkit_it_says_so() -> None:
    with pytest.raises(BackendError, match=r"VLMEvalKit cannot be imported here .*clone of open-compass"):
        register("mine", "runs/mine")
    with pytest.raises(BackendError, match="VLMEvalKit cannot be imported here"):
        model_class()
