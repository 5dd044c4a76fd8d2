"""Which units a worker has met lately, so that each counts once in a while."""

from __future__ import annotations

from collections import OrderedDict

from apps.core.domain.flags import Exposed

AGAIN_S = 600.0
MOST_UNITS = 50_000
Key = tuple[str | None, int | None, str]


class Lately:
    """Remembers when a unit was last counted.

    Args:
        again_s: after so long a unit counts again; the controller's patience with silence.
        most: units that are remembered; past it those counted longest ago are forgotten.
    """

    def __init__(self, *, again_s: float = AGAIN_S, most: int = MOST_UNITS) -> None:
        self._again_s = again_s
        self._most = most
        self._counted: OrderedDict[Key, float] = OrderedDict()

    def first(self, met: Exposed, at: float) -> bool:
        """Whether this unit was not counted within the last `again_s`; then it is now."""
        if not met.sticky:
            return True
        key = (met.rollout, met.epoch, met.unit_hash)
        before = self._counted.get(key)
        if before is not None and at - before < self._again_s:
            return False
        self._counted[key] = at
        self._counted.move_to_end(key)
        if len(self._counted) > self._most:
            self._counted.popitem(last=False)
        return True
