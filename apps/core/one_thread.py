"""Imported first by every program of ours: the linear algebra of a search runs on one thread.

More threads make a scan of 10,000 vectors no faster, and idle ones spin on the cores that the
server needs. The library reads the variable when numpy is imported, so this module imports neither.
An operator's own value stays.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
