"""The configured chat models in fallback order, each behind its breaker and its time limit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from apps.core.domain.models import ServedBy, Usage
from apps.core.domain.ports import Clock
from apps.core.errors import DtRagError, PromptTooLong, ProviderBusy, ProviderFailure
from apps.core.llm.models import CALL_LIMIT_S, Message, NamedModel, Piece, pieces
from apps.core.llm.prices import cost_usd
from apps.core.resilience import Breaker, BreakerState, allowance_s
from apps.core.telemetry import metrics

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


@dataclass(slots=True)
class Account:
    """What calls for one request consumed so far; the caller of `stream` holds it."""

    usage: Usage = field(default_factory=Usage)
    truncated: bool = False


class ChainedModel:
    """One model of the chain, for all requests of the process."""

    def __init__(self, model: NamedModel, place: int, clock: Clock) -> None:
        self.name = model.name
        self.served_by: ServedBy = "primary" if place == 0 else "secondary"
        self._model = model
        self._clock = clock
        self._breaker = Breaker(model.name, clock, listener=_show)
        self._opening = asyncio.Lock()
        self._chat: BaseChatModel | ProviderFailure | None = None

    def may_cost_usd(self, messages: Sequence[Message], *, max_tokens: int) -> float:
        """An upper bound of a call's price: no tokenizer makes more tokens than UTF-8 bytes."""
        sent = sum(len(text.encode()) for _, text in messages)
        return cost_usd(self.name, input_tokens=sent, output_tokens=max_tokens)

    async def open(self) -> BaseChatModel:
        """Import the provider's package once, in a thread.

        Raises:
            ProviderFailure: it cannot be set up; it is not tried again in this process.
        """
        async with self._opening:
            if self._chat is None:
                try:
                    self._chat = await asyncio.to_thread(self._model.factory)
                except ProviderFailure as error:
                    self._chat = error
        if isinstance(self._chat, ProviderFailure):
            raise self._chat
        return self._chat

    async def stream(
        self,
        messages: Sequence[Message],
        *,
        deadline: float,
        max_tokens: int,
        account: Account | None = None,
    ) -> AsyncGenerator[str, None]:
        """Call the model once and yield its text as it comes.

        Args:
            messages: what to say to it.
            deadline: `clock.monotonic()` seconds; a call takes 30 s at most in any case.
            max_tokens: the length of the reply.
            account: adds up tokens and cost, also of a call that fails.

        Raises:
            ProviderFailure: or one of its kinds, after at most one call.
        """
        chat = await self.open()
        permit = self._breaker.admit()
        if permit is None:
            raise ProviderBusy(
                f"{self.name} failed several times and is left alone for a while.",
                retry_after_s=self._breaker.retry_after_s or 1.0,
            )
        account = account or Account()
        account.truncated = False
        started_s, outcome = self._clock.monotonic(), "cancelled"
        try:
            async for text in self._spoken(chat, messages, deadline, max_tokens, account):
                yield text
            outcome = "ok"
            permit.succeed()
        except PromptTooLong as error:
            outcome = error.code
            raise
        except DtRagError as error:
            outcome = error.code
            permit.fail()
            raise
        finally:
            permit.release()
            metrics.llm_calls.of(self.name, outcome).inc()
            metrics.llm_ms.of(self.name).observe((self._clock.monotonic() - started_s) * 1e3)

    async def _spoken(
        self,
        chat: BaseChatModel,
        messages: Sequence[Message],
        deadline: float,
        max_tokens: int,
        account: Account,
    ) -> AsyncGenerator[str, None]:
        limit_s = allowance_s(CALL_LIMIT_S, deadline - self._clock.monotonic())
        ends_at = asyncio.get_running_loop().time() + limit_s
        account.usage = account.usage.plus(Usage(llm_calls=1))
        stream = pieces(chat, self.name, messages, max_tokens=max_tokens)
        while True:
            try:
                async with asyncio.timeout_at(ends_at):
                    piece = await anext(stream, None)
            except TimeoutError as error:
                raise ProviderBusy(
                    f"{self.name} did not answer in time.", retry_after_s=limit_s
                ) from error
            if piece is None:
                return
            self._count(piece, account)
            if piece.text:
                yield piece.text

    def _count(self, piece: Piece, account: Account) -> None:
        account.truncated = account.truncated or piece.truncated
        tokens = (piece.input_tokens, piece.output_tokens)
        if tokens == (0, 0):
            return
        cost = cost_usd(self.name, input_tokens=tokens[0], output_tokens=tokens[1])
        account.usage = account.usage.plus(Usage(*tokens, cost_usd=cost))
        metrics.llm_tokens.of(self.name, "in").inc(tokens[0])
        metrics.llm_tokens.of(self.name, "out").inc(tokens[1])
        metrics.llm_cost.of(self.name).inc(cost)


class ModelChain:
    """The models to ask, best first; empty when the service answers extractively."""

    def __init__(self, models: Sequence[NamedModel], clock: Clock) -> None:
        self._models = tuple(ChainedModel(m, place, clock) for place, m in enumerate(models))

    def __iter__(self) -> Iterator[ChainedModel]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)

    @property
    def names(self) -> tuple[str, ...]:
        """Names in order, for keys and records."""
        return tuple(model.name for model in self._models)

    async def warm(self) -> None:
        """Import the providers' packages now, so that the first question need not wait."""
        await asyncio.gather(*(model.open() for model in self._models), return_exceptions=True)


def _show(name: str, state: BreakerState) -> None:
    metrics.breaker_open.of(name).set(0 if state == "closed" else 1)
