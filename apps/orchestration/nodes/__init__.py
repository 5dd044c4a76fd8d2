"""The walk of a question: its steps in order, one line a node."""

from apps.orchestration.node import Node
from apps.orchestration.nodes import cite, compose, debate_mode, retrieve, understand

PIPELINE: tuple[Node, ...] = (
    understand.NODE,
    retrieve.NODE,
    compose.NODE,
    debate_mode.NODE,
    cite.NODE,
)
