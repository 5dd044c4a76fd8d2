"""The answering pipeline from the settings, for the server and the command line alike."""

from __future__ import annotations

import random

from apps.core.domain.ports import Clock
from apps.core.flags.store import FlagStore
from apps.core.llm.models import chat_models
from apps.core.settings import Settings
from apps.orchestration.exposures import Arms, Nobody
from apps.orchestration.models import ModelChain
from apps.orchestration.nodes import PIPELINE
from apps.orchestration.pipeline import AnswerPipeline, Index, Memory, Record


def open_pipeline(
    settings: Settings,
    *,
    search: Index,
    cache: Memory,
    record: Record,
    clock: Clock,
    flags: FlagStore | None = None,
    arms: Arms | None = None,
) -> AnswerPipeline:
    """The pipeline of one process; providers are imported by the first question that needs them.

    Args:
        settings: models, limits and the words of the environment.
        search: the open index.
        cache: keeps finished answers.
        record: keeps what was answered.
        clock: times and durations.
        flags: the process's own; by the environment and the host's files alone when absent.
        arms: counts what the arms of rollouts do; nobody does when absent.
    """
    decider = flags or FlagStore(settings, clock=clock)
    decider.declare([node.flag for node in PIPELINE if node.flag is not None])

    return AnswerPipeline(
        search,
        ModelChain(chat_models(settings), clock),
        flags=decider,
        cache=cache,
        settings=settings,
        clock=clock,
        rng=random.SystemRandom(),
        record=record,
        arms=arms or Nobody(),
        killed=decider.is_killed,
    )
