"""The smallest state that a bare graph can have; a module of its own for its annotations."""

from __future__ import annotations

import operator
from typing import Annotated, TypedDict


class TwoKeys(TypedDict):
    """A question, and the names of the nodes that it met."""

    question: str
    nodes: Annotated[list[str], operator.add]
