"""Loads the compiled loops beside everything else that a start imports; importing this begins it.

LLVM wakes up in native code, without Python's lock, so a second processor does it meanwhile.
Whoever needs the loops before they are there waits for them.
"""

from __future__ import annotations

import threading


def _load() -> None:
    from apps.core.retrieval import kernels  # noqa: PLC0415 - half a second with numba

    kernels.load()


threading.Thread(target=_load, name="loops", daemon=True).start()
