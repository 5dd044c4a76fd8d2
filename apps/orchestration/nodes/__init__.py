"""The walk of a question: its steps in order, one line a node."""

from apps.orchestration.node import Node
from apps.orchestration.nodes import cite, compose, retrieve, understand

PIPELINE: tuple[Node, ...] = (
    understand.NODE,
    retrieve.NODE,
    compose.NODE,
    cite.NODE,
)
