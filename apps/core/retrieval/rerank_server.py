"""A reranker behind HTTP, in either of the two interfaces that such servers have.

Sources: huggingface.github.io/text-embeddings-inference (`POST /rerank`); docs.cohere.com,
`POST /v2/rerank`, whose form Jina, vLLM (`/v1/rerank`) and llama.cpp's server share.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import numpy as np

from apps.core.domain.models import Hit
from apps.core.domain.ports import Reranked
from apps.core.errors import BadReply, ProviderBusy
from apps.core.outbound.service import Service
from apps.core.resilience import wait_s
from apps.core.text.titles import with_title

VERSION = re.compile(r"/v\d+(?:/|$)")
# What text-embeddings-inference takes in one call unless it is told otherwise
# (`--max-client-batch-size`).
BATCH = 32
# Some servers refuse what is longer than their model reads; few models read more of a passage.
PASSAGE_CHARS = 4000
# A batch of passages that are sent back, each letter escaped as \\uXXXX.
MAX_REPLY_BYTES = 1 << 20
RETRY_S = 0.1


@dataclass(frozen=True, slots=True)
class Dialect:
    """How an interface names things; `results` is where its list stands, None: the reply is it."""

    texts: str
    score: str
    results: str | None
    path: str
    options: Mapping[str, object] = field(default_factory=dict)


TEI = Dialect("texts", "score", None, "/rerank", {"truncate": True})
COHERE = Dialect("documents", "relevance_score", "results", "/v1/rerank")


def dialect(url: str, model: str) -> Dialect:
    """Which interface an address speaks: Cohere's has a version in its path or names a model."""
    return COHERE if model or VERSION.search(urlsplit(url).path) else TEI


def address(url: str, spoken: Dialect) -> str:
    """Where to send; an address without a path gets the usual one."""
    parts = urlsplit(url)
    return url if parts.path.strip("/") else parts._replace(path=spoken.path).geturl()


class RerankServer:
    """A cross-encoder, or what else scores passages, on a server of the operator's own."""

    def __init__(self, url: str, *, rng: random.Random, model: str = "", key: str = "") -> None:
        """Open nothing yet.

        Args:
            url: see `dialect` and `address`.
            rng: draws the pause before the second try.
            model: which of the server's models; needed by Cohere and Jina.
            key: sent as a bearer token.
        """
        # What stands behind a question mark may be a key.
        self.id = f"{url.partition('?')[0]} {model}".strip()
        self._model = model
        self._rng = rng
        self._dialect = dialect(url, model)
        sent_to = address(url, self._dialect)
        self._service = Service(sent_to, key=key, name="The rerank server")

    async def rerank(self, question: str, hits: Sequence[Hit]) -> Reranked:
        """Score the passages with their titles, at most 32 a call.

        Raises:
            ProviderFailure: or one of its kinds; a passing failure is tried again once.
        """
        texts = [_text(hit) for hit in hits]
        scores: list[float] = []
        for start in range(0, len(texts), BATCH):
            scores += await self._scored(question, texts[start : start + BATCH])
        with np.errstate(over="ignore"):  # what is too large becomes infinite and is refused
            return Reranked(np.array(scores, np.float32))

    async def _scored(self, question: str, texts: Sequence[str]) -> list[float]:
        spoken = self._dialect
        body = {"query": question, spoken.texts: texts, **spoken.options}
        if spoken is COHERE:
            body["top_n"] = len(texts)
        if self._model:
            body["model"] = self._model
        reply = await self._asked(body)
        rows = reply.get(spoken.results) if spoken.results and isinstance(reply, dict) else reply
        return in_order(rows, spoken.score, len(texts))

    async def _asked(self, body: object) -> object:
        try:
            return await self._service.post(body, max_bytes=MAX_REPLY_BYTES)
        except ProviderBusy as error:
            if error.retry_after_s is not None:
                raise
        await asyncio.sleep(wait_s(1, base_s=RETRY_S, cap_s=RETRY_S, rng=self._rng))
        return await self._service.post(body, max_bytes=MAX_REPLY_BYTES)


def in_order(rows: object, name: str, count: int) -> list[float]:
    """The scores of a reply in the order of the passages.

    Args:
        rows: should be a list of objects with `index` (0 is the first passage) and `name`.
        name: what a score is called.
        count: how many passages there were.

    Raises:
        BadReply: a passage has no score or two, or a score is not a number.
    """
    if not isinstance(rows, list) or len(rows) != count:
        raise BadReply("The rerank server did not score each passage.")
    scores: dict[int, float] = {}
    for row in rows:
        index, score = (row.get("index"), row.get(name)) if isinstance(row, dict) else (None, None)
        # A boolean is an int to `isinstance`.
        if type(index) is not int or not (type(score) is int or type(score) is float):
            raise BadReply("The rerank server sent something that is not index and score.")
        scores[index] = float(score)
    if scores.keys() != set(range(count)):
        raise BadReply("The rerank server scored a passage twice, or one that was not sent.")
    return [scores[place] for place in range(count)]


def _text(hit: Hit) -> str:
    return with_title(hit.passage.title, hit.passage.text)[:PASSAGE_CHARS]
