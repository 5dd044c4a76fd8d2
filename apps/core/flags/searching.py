"""What the flags `hybrid_search` and `reranker` mean for a search that leaves the choice open."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from apps.core.domain.flags import Decisions
from apps.core.domain.models import SearchMode

HYBRID, RERANKER = "hybrid_search", "reranker"
FLAG_OF_LEG: Mapping[str, str] = MappingProxyType({"dense": HYBRID, "rerank": RERANKER})
"""What a search calls degraded, and the flag whose feature it is."""
# The environment's word is in the search's own options too, and `None` follows them.
OF_ENVIRONMENT = frozenset({"ENV", "ENV_VETO"})


def mode_by(decisions: Decisions) -> SearchMode | None:
    """The mode of a search whose caller does not say; None follows the process's options."""
    hybrid = decisions.get(HYBRID)
    if hybrid is None or hybrid.layer in OF_ENVIRONMENT:
        return None
    return "hybrid" if hybrid.on else "lexical"


def rerank_by(decisions: Decisions) -> bool | None:
    """Whether such a search reranks; None follows the process's options."""
    rerank = decisions.get(RERANKER)
    return None if rerank is None or rerank.layer in OF_ENVIRONMENT else rerank.on


def pool_by(decisions: Decisions) -> str:
    """Who may share the result of such a search, see `FlagDecision`."""
    found = (decisions.get(HYBRID), decisions.get(RERANKER))
    return "/".join(made.shared_by for made in found if made is not None and made.shared_by)
