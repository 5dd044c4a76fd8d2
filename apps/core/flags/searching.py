"""What flags mean for a search that leaves the choice open.

`hybrid_search` and `reranker` are switches that the code declares. `dense_weight` is a flag of
numbers that exists when an operator defines it, e.g. to try weights in an experiment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from apps.core.domain.flags import Decisions
from apps.core.domain.models import SearchMode, SearchQuery, SearchResult

HYBRID, RERANKER, DENSE_WEIGHT = "hybrid_search", "reranker", "dense_weight"
FLAGS = (HYBRID, RERANKER, DENSE_WEIGHT)
FLAG_OF_LEG: Mapping[str, str] = MappingProxyType({"dense": HYBRID, "rerank": RERANKER})
"""What a search calls degraded, and the flag whose feature it is."""
# The environment's word is in the search's own options too, and `None` follows them.
OF_ENVIRONMENT = frozenset({"ENV", "ENV_VETO"})
ONE_LEG = frozenset({"lexical", "dense"})


def choice(query: SearchQuery, decisions: Decisions) -> SearchQuery:
    """Fill in what the caller left open, and who may share the result."""
    wanted: dict[str, Any] = {
        "mode": mode_by(decisions) if query.mode is None else query.mode,
        "rerank": rerank_by(decisions) if query.rerank is None else query.rerank,
        "pool": pool_by(decisions) or query.pool,
    }
    if query.dense_weight is None and wanted["mode"] not in ONE_LEG:
        wanted["dense_weight"] = weight_by(decisions)
    changed = {name: value for name, value in wanted.items() if value != getattr(query, name)}
    return replace(query, **changed) if changed else query


def asked(query: SearchQuery, decisions: Decisions) -> tuple[str, ...]:
    """Flags that have the say, because the caller left it to them."""
    mode = mode_by(decisions) if query.mode is None else query.mode
    weighed = query.dense_weight is None and mode not in ONE_LEG
    open_ = ((HYBRID, query.mode is None), (RERANKER, query.rerank is None))
    return tuple(key for key, left in (*open_, (DENSE_WEIGHT, weighed)) if left)


def met(query: SearchQuery, decisions: Decisions, result: SearchResult | None) -> tuple[str, ...]:
    """The flags of `asked` that this search came to; None: it failed on its way.

    Fewer than two passages have no order, so nobody ranks them once more, whatever the flag says.
    The candidates tell it in both arms; hits do not, because reranking looks at more of them.
    """
    ranked = result is None or result.total_candidates > 1
    return tuple(key for key in asked(query, decisions) if ranked or key != RERANKER)


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


def weight_by(decisions: Decisions) -> float | None:
    """The weight of the dense leg; None for anything that is no share."""
    made = decisions.get(DENSE_WEIGHT)
    value = None if made is None else made.value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= 1 else None


def refused(query: SearchQuery, decisions: Decisions) -> tuple[str, ...]:
    """Flags that have the say and whose value is none to go by; `degraded` tells them."""
    made = decisions.get(DENSE_WEIGHT)
    if made is None or not made.active or weight_by(decisions) is not None:
        return ()
    return (DENSE_WEIGHT,) if DENSE_WEIGHT in asked(query, decisions) else ()


def pool_by(decisions: Decisions) -> str:
    """Who may share the result of such a search, see `FlagDecision`."""
    found = (decisions.get(key) for key in FLAGS)
    return "/".join(made.shared_by for made in found if made is not None and made.shared_by)
