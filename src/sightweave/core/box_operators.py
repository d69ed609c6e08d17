"""Two operators that torchvision lacks next to a torch without CUDA, so that libraries that import it still work.

PyPI's torchvision is built for CUDA. Next to a CPU build of torch its compiled operators do not load, and importing it fails
at the first two that it names. timm and many modules of Transformers import it, although nothing here calls its operators.
"""

from __future__ import annotations

import importlib
import importlib.util
from functools import cache

import torch

_NAMES = ("nms", "qnms")


@cache
def supply() -> torch.library.Library | None:
    """Declares the operators if torchvision is installed but does not load; later calls do nothing."""
    if importlib.util.find_spec("torchvision") is None:
        return None
    try:
        importlib.import_module("torchvision")
    except ImportError:
        return None  # the code that needs it reports that
    except RuntimeError:
        return _named()
    return None


def _named() -> torch.library.Library:
    """Declares the operators, which last as long as the returned library."""
    operators = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]  # torch's own
    for name in _NAMES:
        operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
    return operators
