"""How loops are compiled: at their first call, and kept beside the file that they stand in.

Machine code is made anew when its own file changes, and no other: loops that call each other
stand in one file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F, *, fastmath: bool = False) -> F:
    """Compile, and free the GIL."""
    try:
        return cast(F, numba.njit(nogil=True, fastmath=fastmath, cache=True)(function))
    except RuntimeError:  # neither this directory nor the user's own may be written
        return cast(F, numba.njit(nogil=True, fastmath=fastmath)(function))


def summing(function: F) -> F:
    """The same for sums whose terms may be added in any order."""
    return compiled(function, fastmath=True)
