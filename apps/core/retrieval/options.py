"""What an operator may choose about searching."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Fusion = Literal["convex", "rrf"]


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """The choices of one process.

    hybrid: whether a query that names no mode uses vectors when there are any.
    fusion: how the legs are joined; RRF takes k = 60.
    dense_weight: the dense leg's weight for a question that the lexical leg understands, 0..1;
        a question that it does not understand always weighs the dense leg more.
    rerank: whether a query that does not say so is reranked.
    faiss_above: passages up to which the dense leg scans every vector.
    cache_entries: results and question vectors kept, each; 0 turns both caches off.
    """

    hybrid: bool = True
    fusion: Fusion = "convex"
    dense_weight: float = 0.3
    rerank: bool = False
    faiss_above: int = 20_000
    cache_entries: int = 2048
