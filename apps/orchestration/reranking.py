"""Who ranks passages once more, by the setting DTRAG_RERANKER; and a chat model that does it.

The model sees one window of passages and writes their order, after Sun et al. 2023, "Is ChatGPT
Good at Search? Investigating Large Language Models as Re-Ranking Agents", EMNLP
(arXiv:2304.09542). Their window of twenty slides over a hundred passages; ours stays on the best.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from contextlib import aclosing

import numpy as np

from apps.core.domain.models import Hit
from apps.core.domain.ports import Clock, Reranked, Reranker
from apps.core.errors import BadReply
from apps.core.llm.models import CALL_LIMIT_S, chat_models
from apps.core.retrieval.rerank_server import RerankServer
from apps.core.retrieval.reranking import BoundedReranker
from apps.core.setting_values import RERANK_BY_MODEL
from apps.core.settings import Settings
from apps.core.text import language, pii
from apps.orchestration.fencing import fenced, unguessable
from apps.orchestration.models import Account, ChainedModel
from apps.orchestration.prompts import fingerprint, prompt

PROMPT = "retrieve.reranker"
WINDOW = 20
# About 300 tokens of Korean; the beginning says what a passage is about.
PASSAGE_CHARS = 600
# `[12] > ` is five tokens or so.
TOKENS_PER_PASSAGE = 8
ORDER = re.compile(r"\[[0-9]{1,2}\](?:\s*>\s*\[[0-9]{1,2}\])*")
NUMBER = re.compile(r"[0-9]+")


def open_reranker(settings: Settings, *, clock: Clock) -> Reranker | None:
    """The reranker that DTRAG_RERANKER names, None when it names none; asks nobody yet.

    Args:
        settings: its address or model, its key, and the time that it may take.
        clock: times and durations.
    """
    named, rng = settings.DTRAG_RERANKER, random.SystemRandom()
    if not named:
        return None
    ranks: Reranker
    if named == RERANK_BY_MODEL:
        ranks = ModelReranker(ChainedModel(chat_models(settings)[0], clock), clock, rng)
    else:
        secret = settings.DTRAG_RERANKER_KEY
        key = secret.get_secret_value() if secret else ""
        ranks = RerankServer(named, model=settings.DTRAG_RERANKER_MODEL, key=key, rng=rng)
    return BoundedReranker(ranks, limit_s=settings.DTRAG_RERANKER_TIMEOUT_S, clock=clock)


class ModelReranker:
    """Lets a chat model write the order of the first `WINDOW` passages; the others stay behind."""

    def __init__(self, model: ChainedModel, clock: Clock, rng: random.Random) -> None:
        self.id = f"{RERANK_BY_MODEL}:{model.name}"
        self._model = model
        self._clock = clock
        self._rng = rng

    async def rerank(self, question: str, hits: Sequence[Hit]) -> Reranked:
        """Score by place; costs one call of the model.

        Raises:
            ProviderFailure: or one of its kinds; BadReply when it writes anything but an order.
        """
        account = Account()
        reply = await self._reply(question, hits[:WINDOW], account)
        order = read_order(reply, min(len(hits), WINDOW))
        order += range(len(order), len(hits))
        scores = np.empty(len(hits), np.float32)
        scores[order] = np.arange(len(hits), 0, -1)
        return Reranked(scores, account.usage)

    async def _reply(self, question: str, window: Sequence[Hit], account: Account) -> str:
        spoken, marker = language.detect(question), unguessable(window, self._rng)
        messages = prompt(
            PROMPT,
            spoken,
            # A search has masked it before; whoever asks directly may not have.
            question=pii.mask(question),
            passages=fenced(window, marker, most_chars=PASSAGE_CHARS),
            marker=marker,
            count=str(len(window)),
        )
        stream = self._model.stream(
            messages,
            deadline=self._clock.monotonic() + CALL_LIMIT_S,
            max_tokens=TOKENS_PER_PASSAGE * len(window),
            account=account,
            prompt_version=fingerprint(PROMPT, spoken),
        )
        async with aclosing(stream):
            return "".join([piece async for piece in stream])


def read_order(reply: str, count: int) -> list[int]:
    """The places (0 is the first) of `count` passages in the order of a reply `[2] > [1]`.

    Passages that it leaves out come behind, in the order in which they stood.

    Raises:
        BadReply: it is no such order, or names a passage twice, or one that is not there.
    """
    if ORDER.fullmatch(reply.strip()) is None:
        raise BadReply("The model wrote something that is not an order of passages.")
    named = [int(number) - 1 for number in NUMBER.findall(reply)]
    if len(set(named)) != len(named) or not all(0 <= place < count for place in named):
        raise BadReply("The model's order names a passage twice, or one that is not there.")
    return [*named, *(place for place in range(count) if place not in named)]
