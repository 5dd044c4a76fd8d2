"""Bodies of the administration of the cache."""

from __future__ import annotations

from typing import Any

from apps.api.schemas.base import Reply


class ClearedReply(Reply):
    """How many entries were forgotten in this worker."""

    cleared: int


class CacheStatsReply(Reply):
    """Entries, hits and misses of this worker."""

    stats: dict[str, Any]
