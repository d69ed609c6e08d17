"""Declares two torchvision operators, so that a CUDA build of torchvision can be imported with a CPU build of torch.

The torchvision package on PyPI is built for CUDA. With a CPU build of torch, its compiled operators do not load, and the
import fails because two of them are not declared. timm and many modules of Transformers import torchvision, although
Sightweave never calls these operators.
"""

from __future__ import annotations

import importlib
import importlib.util
from functools import cache

import torch

_NAMES = ("nms", "qnms")


@cache
def supply() -> torch.library.Library | None:
    """Declares the operators if torchvision is installed but cannot be imported; later calls do nothing.

    Returns:
        The library that holds the declarations, or None if they are not needed.
    """
    if importlib.util.find_spec("torchvision") is None:
        return None
    try:
        importlib.import_module("torchvision")
    except ImportError:
        return None  # the library that imports torchvision will report this
    except RuntimeError:
        return _named()
    return None


def _named() -> torch.library.Library:
    """Declares the operators; the declarations last as long as the returned library."""
    operators = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]  # torch's own
    for name in _NAMES:
        operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
    return operators
