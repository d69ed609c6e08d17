"""Two operators that torchvision lacks beside a torch without CUDA, so that the libraries that import it still work.

PyPI's torchvision is built for CUDA. Beside a CPU build of torch its compiled operators do not load, and importing it fails
at the first two that it names. timm and many modules of Transformers import it, though nothing here calls an operator of it.
"""

from __future__ import annotations

import importlib
import importlib.util
from functools import cache

import torch

_NAMES = ("nms", "qnms")


@cache
def supply() -> torch.library.Library | None:
    """Names the operators where torchvision is installed and does not load; later calls do nothing."""
    if importlib.util.find_spec("torchvision") is None:
        return None
    try:
        importlib.import_module("torchvision")
    except ImportError:
        return None  # whoever needs it says so
    except RuntimeError:
        return _named()
    return None


def _named() -> torch.library.Library:
    """The operators, which last as long as what is returned."""
    operators = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]  # torch's own
    for name in _NAMES:
        operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
    return operators
