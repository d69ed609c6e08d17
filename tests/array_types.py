"""The type checker of the tests: beartype, but only for arguments and results that are arrays.

Wrong words and numbers must reach the code under test, whose own errors are tested; wrong shapes never should.
"""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any

import jaxtyping
from beartype import beartype


def check_arrays(function: Callable[..., Any]) -> Callable[..., Any]:
    """Drops the annotations that speak of no array, and lets beartype check the others."""
    hints = function.__annotations__
    function.__annotations__ = {name: hint for name, hint in hints.items() if _is_about_arrays(hint)}
    return beartype(function) if function.__annotations__ else function


def _is_about_arrays(hint: Any) -> bool:
    if isinstance(hint, type) and issubclass(hint, jaxtyping.AbstractArray):
        return True
    return any(_is_about_arrays(inner) for inner in typing.get_args(hint))
