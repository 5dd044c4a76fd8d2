"""The answering pipeline from the settings, for the server and the command line alike."""

from __future__ import annotations

import random

from apps.core.domain.ports import Clock
from apps.core.flags.environment import EnvironmentFlags
from apps.core.llm.models import chat_models
from apps.core.settings import Settings
from apps.orchestration.models import ModelChain
from apps.orchestration.nodes import PIPELINE
from apps.orchestration.pipeline import AnswerPipeline, Index, Memory, Record


def open_pipeline(
    settings: Settings, *, search: Index, cache: Memory, record: Record, clock: Clock
) -> AnswerPipeline:
    """The pipeline of one process; providers are imported by the first question that needs them.

    Raises:
        SettingsError: an entry of DTRAG_LLM cannot be used.
    """
    flags = [node.flag for node in PIPELINE if node.flag is not None]
    return AnswerPipeline(
        search,
        ModelChain(chat_models(settings), clock),
        flags=EnvironmentFlags(settings, flags),
        cache=cache,
        settings=settings,
        clock=clock,
        rng=random.SystemRandom(),
        record=record,
    )
