"""The configured chat models in fallback order, each behind its breaker and its time limit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from apps.core.domain.models import Usage
from apps.core.domain.ports import Clock
from apps.core.errors import DtRagError, PromptTooLong, ProviderBusy, ProviderFailure
from apps.core.llm.models import CALL_LIMIT_S, Message, NamedModel, Piece, pieces
from apps.core.llm.prices import cost_usd
from apps.core.resilience import Breaker, Permit, allowance_s
from apps.core.telemetry import metrics, traces

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


# A caller in a hurry must not open the breaker for all: a shorter call says nothing bad.
FAIR_LIMIT_S = 5.0
LATE_PAUSE_S = 30.0


@dataclass(slots=True)
class Account:
    """What calls for one request consumed so far; the caller of `stream` holds it."""

    usage: Usage = field(default_factory=Usage)
    truncated: bool = False


class Call:
    """Tells breaker, metrics and trace how a call ended; a cancelled one does not count as bad."""

    def __init__(self, name: str, permit: Permit, clock: Clock, *, fair: bool) -> None:
        self._name = name
        self._permit = permit
        self._clock = clock
        self._fair = fair
        self._started_s = clock.monotonic()
        self._tokens = (0, 0)
        # Never the current span: a generator shares its context with whoever listens to it.
        self.span = traces.begin("model.call", kind=traces.CLIENT)

    def consumed(self, input_tokens: int, output_tokens: int) -> None:
        """Add up what the call costs."""
        self._tokens = (self._tokens[0] + input_tokens, self._tokens[1] + output_tokens)

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Settle."""
        outcome = "ok" if error is None else "cancelled"
        if error is None:
            self._permit.succeed()
        elif isinstance(error, DtRagError):
            outcome = error.code
            if self._fair and not isinstance(error, PromptTooLong):
                self._permit.fail()
        self._permit.release()
        self._trace(outcome)
        metrics.llm_calls.of(self._name, outcome).inc()
        metrics.llm_ms.of(self._name).observe((self._clock.monotonic() - self._started_s) * 1e3)

    def _trace(self, outcome: str) -> None:
        if outcome != "ok":
            self.span.fail(outcome)
        if self.span.recorded:
            self.span.note(
                {
                    "gen_ai.operation.name": "chat",
                    "gen_ai.request.model": self._name,
                    "gen_ai.usage.input_tokens": self._tokens[0],
                    "gen_ai.usage.output_tokens": self._tokens[1],
                    "dtrag.outcome": outcome,
                }
            )
        self.span.end()


class ChainedModel:
    """One model of the chain, for all requests of the process."""

    def __init__(self, model: NamedModel, clock: Clock) -> None:
        self.name = model.name
        self._model = model
        self._clock = clock
        self._breaker = Breaker(model.name, clock, listener=metrics.show_breaker)
        self._opening: asyncio.Future[BaseChatModel | ProviderFailure] | None = None

    def may_cost_usd(self, messages: Sequence[Message], *, max_tokens: int) -> float:
        """An upper bound of a call's price: no tokenizer makes more tokens than UTF-8 bytes."""
        sent = sum(len(text.encode()) for _, text in messages)
        return cost_usd(self.name, input_tokens=sent, output_tokens=max_tokens)

    async def open(self) -> BaseChatModel:
        """Import the provider's package once, in a thread; a caller may leave before it is done.

        Raises:
            ProviderFailure: it cannot be set up; it is not tried again in this process.
        """
        if self._opening is None:
            self._opening = asyncio.ensure_future(asyncio.to_thread(_opened, self._model))
        chat = await asyncio.shield(self._opening)
        if isinstance(chat, ProviderFailure):
            raise chat
        return chat

    async def stream(
        self,
        messages: Sequence[Message],
        *,
        deadline: float,
        max_tokens: int,
        account: Account | None = None,
        prompt_version: str = "",
    ) -> AsyncGenerator[str, None]:
        """Call the model once and yield its text as it comes.

        Args:
            messages: what to say to it.
            deadline: `clock.monotonic()` seconds; a call takes 30 s at most in any case.
            max_tokens: the length of the reply.
            account: adds up tokens and cost, also of a call that fails.
            prompt_version: the fingerprint of the prompt, for the trace.

        Raises:
            ProviderFailure: or one of its kinds, after at most one call.
        """
        limit_s = allowance_s(CALL_LIMIT_S, deadline - self._clock.monotonic())
        ends_at = asyncio.get_running_loop().time() + limit_s
        chat = await self._ready(ends_at)
        call = self._admitted(fair=limit_s >= min(CALL_LIMIT_S, FAIR_LIMIT_S))
        account = account or Account()
        account.usage = account.usage.plus(Usage(llm_calls=1))
        account.truncated = False
        spoken = pieces(chat, self.name, messages, max_tokens=max_tokens)
        call.span.note({"dtrag.prompt_version": prompt_version})
        with call:
            async for piece in self._in_time(spoken, ends_at):
                self._count(piece, account, call)
                if piece.text:
                    yield piece.text

    def _admitted(self, *, fair: bool) -> Call:
        permit = self._breaker.admit()
        if permit is None:
            raise ProviderBusy(
                f"{self.name} failed several times and is left alone for a while.",
                retry_after_s=self._breaker.retry_after_s or 1.0,
            )
        return Call(self.name, permit, self._clock, fair=fair)

    async def _ready(self, ends_at: float) -> BaseChatModel:
        try:
            async with asyncio.timeout_at(ends_at):
                return await self.open()
        except TimeoutError as error:
            raise _late(self.name) from error

    async def _in_time(
        self, spoken: AsyncGenerator[Piece, None], ends_at: float
    ) -> AsyncGenerator[Piece, None]:
        while True:
            try:
                async with asyncio.timeout_at(ends_at):
                    piece = await anext(spoken, None)
            except TimeoutError as error:
                raise _late(self.name) from error
            if piece is None:
                return
            yield piece

    def _count(self, piece: Piece, account: Account, call: Call) -> None:
        account.truncated = account.truncated or piece.truncated
        tokens = (piece.input_tokens, piece.output_tokens)
        if tokens == (0, 0):
            return
        cost = cost_usd(self.name, input_tokens=tokens[0], output_tokens=tokens[1])
        account.usage = account.usage.plus(Usage(*tokens, cost_usd=cost))
        metrics.llm_tokens.of(self.name, "in").inc(tokens[0])
        metrics.llm_tokens.of(self.name, "out").inc(tokens[1])
        metrics.llm_cost.of(self.name).inc(cost)
        call.consumed(*tokens)


class ModelChain:
    """The models to ask, best first; empty when the service answers extractively."""

    def __init__(self, models: Sequence[NamedModel], clock: Clock) -> None:
        self._models = tuple(ChainedModel(model, clock) for model in models)

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


def _opened(model: NamedModel) -> BaseChatModel | ProviderFailure:
    try:
        return model.factory()
    except ProviderFailure as error:
        return error


def _late(name: str) -> ProviderBusy:
    return ProviderBusy(f"{name} did not answer in time.", retry_after_s=LATE_PAUSE_S)
