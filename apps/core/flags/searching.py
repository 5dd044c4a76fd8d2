"""What the flags `hybrid_search` and `reranker` mean for a search that leaves the choice open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from apps.core.domain.flags import Decisions
from apps.core.domain.models import SearchMode

HYBRID, RERANKER = "hybrid_search", "reranker"
FLAG_OF_LEG: Mapping[str, str] = MappingProxyType({"dense": HYBRID, "rerank": RERANKER})
"""What a search calls degraded, and the flag whose feature it is."""
# The environment's word is in the search's own options too, and `None` follows them.
OF_ENVIRONMENT = frozenset({"ENV", "ENV_VETO"})


@dataclass(frozen=True, slots=True)
class Choice:
    """What a search does when its caller does not say; None follows the process's options."""

    mode: SearchMode | None = None
    rerank: bool | None = None


OPEN = Choice()


def choice(decisions: Decisions) -> Choice:
    """Read the two flags; one that nobody decided stays open."""
    hybrid, rerank = decisions.get(HYBRID), decisions.get(RERANKER)
    return Choice(
        None
        if hybrid is None or hybrid.layer in OF_ENVIRONMENT
        else ("hybrid" if hybrid.on else "lexical"),
        None if rerank is None or rerank.layer in OF_ENVIRONMENT else rerank.on,
    )
