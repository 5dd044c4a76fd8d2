"""What flags mean for a search that leaves the choice open.

`hybrid_search` and `reranker` are switches that the code declares. `dense_weight` is a flag of
numbers that exists when an operator defines it, e.g. to try weights in an experiment.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from apps.core.domain.flags import Decisions
from apps.core.domain.models import SearchMode, SearchQuery, SearchResult

HYBRID, RERANKER, DENSE_WEIGHT = "hybrid_search", "reranker", "dense_weight"
FLAGS = (HYBRID, RERANKER, DENSE_WEIGHT)
FLAG_OF_LEG: Mapping[str, str] = MappingProxyType({"dense": HYBRID, "rerank": RERANKER})
"""What a search calls degraded, and the flag whose feature it is."""
# The environment's word is in the search's own options too, and `None` follows them.
OF_ENVIRONMENT = frozenset({"ENV", "ENV_VETO"})
ONE_LEG = frozenset({"lexical", "dense"})


class Said(NamedTuple):
    """What flags say of a search that leaves everything open; None follows the process's options.

    pool: who may share the result, see `FlagDecision`.
    useless: a weight was given that is no share.
    """

    mode: SearchMode | None
    rerank: bool | None
    weight: float | None
    pool: str
    useless: bool


def said(decisions: Decisions) -> Said:
    """Read the three flags once, for all searches that go by these decisions."""
    weight = weight_by(decisions)
    made = decisions.get(DENSE_WEIGHT)
    useless = made is not None and made.active and weight is None
    return Said(mode_by(decisions), rerank_by(decisions), weight, pool_by(decisions), useless)


def choice(query: SearchQuery, said: Said) -> SearchQuery:
    """Fill in what the caller left open, and who may share the result."""
    mode = said.mode if query.mode is None else query.mode
    rerank = said.rerank if query.rerank is None else query.rerank
    weighed = query.dense_weight is None and mode not in ONE_LEG
    weight = said.weight if weighed else query.dense_weight
    pool = said.pool or query.pool
    return query._replace(mode=mode, rerank=rerank, dense_weight=weight, pool=pool)


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


def refused(query: SearchQuery, said: Said) -> tuple[str, ...]:
    """Flags that have the say and whose value is none to go by; `degraded` tells them."""
    if not said.useless or query.dense_weight is not None:
        return ()
    mode = said.mode if query.mode is None else query.mode
    return () if mode in ONE_LEG else (DENSE_WEIGHT,)


def pool_by(decisions: Decisions) -> str:
    """Who may share the result of such a search, see `FlagDecision`."""
    found = (decisions.get(key) for key in FLAGS)
    return "/".join(made.shared_by for made in found if made is not None and made.shared_by)
