"""One model of the chain: opened once, limited in time, counted, and left alone when it fails."""

from __future__ import annotations

import asyncio
import threading

import pytest

from apps.core.errors import BadReply, PromptTooLong, ProviderBusy, ProviderFailure
from apps.core.llm.models import Message, NamedModel
from apps.core.telemetry import metrics, traces
from apps.orchestration import models
from apps.orchestration.models import Account, ChainedModel, ModelChain
from tests.fakes.answering import Scripted, scripted
from tests.fakes.clock import FakeClock
from tests.fakes.collector import KeptSpans

ASKED: list[Message] = [("system", "s"), ("human", "h")]


def chained(model: NamedModel, clock: FakeClock | None = None) -> ChainedModel:
    return next(iter(ModelChain([model], clock or FakeClock())))


async def said(model: ChainedModel, account: Account | None = None, left_s: float = 10) -> str:
    deadline = model._clock.monotonic() + left_s
    stream = model.stream(ASKED, deadline=deadline, max_tokens=9, account=account)
    return "".join([text async for text in stream])


async def test_the_chain_keeps_its_order() -> None:
    """As configured; an empty one is false."""
    chain = ModelChain([scripted(name=f"fake:{n}") for n in range(3)], FakeClock())
    assert chain.names == ("fake:0", "fake:1", "fake:2")
    assert not ModelChain([], FakeClock())


async def test_a_call_is_never_the_current_span() -> None:
    """Its listener may begin spans between two pieces, and leave before the end."""
    kept = KeptSpans()
    with kept() as process, process.begin("node.compose") as node:
        stream = chained(scripted("hello there")).stream(ASKED, deadline=10, max_tokens=9)
        await anext(stream)
        assert traces.current() is node
        with traces.begin("listener"):
            pass
        await stream.aclose()
    assert kept.tree() == {
        "listener": "node.compose",
        "model.call": "node.compose",
        "node.compose": None,
    }
    assert kept.facts("model.call")["dtrag.outcome"] == "cancelled"


async def test_a_model_is_opened_once() -> None:
    """Many first questions import the package once, in a thread."""
    opened: list[int] = []
    inner = scripted("hello").factory

    def factory() -> object:
        opened.append(1)
        return inner()

    model = chained(NamedModel("fake:one", factory))  # type: ignore[arg-type]
    assert await asyncio.gather(*(said(model) for _ in range(5))) == ["hello"] * 5
    assert len(opened) == 1


async def test_a_model_that_cannot_be_set_up_is_not_tried_again() -> None:
    """The failure is kept, because a package does not appear while a process runs."""
    opened: list[int] = []

    def factory() -> object:
        opened.append(1)
        raise ProviderFailure("missing")

    chain = ModelChain([NamedModel("fake:one", factory)], FakeClock())  # type: ignore[arg-type]
    await chain.warm()
    for _ in range(2):
        with pytest.raises(ProviderFailure, match="missing"):
            await said(next(iter(chain)))
    assert len(opened) == 1


async def test_tokens_and_calls_are_counted() -> None:
    """In the request's account, and for the operator."""
    account = Account()
    before = metrics.llm_tokens.of("fake:one", "in")._value.get()
    model = chained(scripted("hello"))
    await said(model, account)
    await said(model, account)
    assert (account.usage.llm_calls, account.usage.input_tokens) == (2, 100)
    assert account.usage.output_tokens == 20
    assert metrics.llm_tokens.of("fake:one", "in")._value.get() == before + 100


async def test_a_known_model_costs_money() -> None:
    """The price table turns tokens into dollars."""
    account = Account()
    await said(chained(scripted("hello", name="fake:gemini-2.5-flash")), account)
    assert account.usage.cost_usd == pytest.approx((50 * 0.30 + 10 * 2.50) / 1e6)


async def test_the_price_of_a_call_is_bounded_before_it_is_made() -> None:
    """No more tokens than bytes go in, no more than the limit come out."""
    model = chained(scripted(name="fake:gemini-2.5-flash"))
    bound = model.may_cost_usd([("human", "가나다")], max_tokens=10)
    assert bound == pytest.approx((9 * 0.30 + 10 * 2.50) / 1e6)


async def test_a_truncated_reply_is_marked() -> None:
    """And the mark is taken back by the next call."""
    account = Account()
    await said(chained(scripted("cut of", ends="length")), account)
    assert account.truncated
    await said(chained(scripted("whole.")), account)
    assert not account.truncated


@pytest.mark.parametrize("error", [BadReply("x"), ConnectionResetError()])
async def test_five_failures_open_the_breaker(error: Exception) -> None:
    """The sixth call does not go out, and the metric shows it until a probe succeeds."""
    clock = FakeClock()
    model = chained(scripted(error), clock)
    for _ in range(5):
        with pytest.raises(ProviderFailure):
            await said(model)
    with pytest.raises(ProviderBusy, match="left alone") as caught:
        await said(model)
    assert caught.value.retry_after_s == 60
    assert metrics.breaker_open.of("fake:one")._value.get() == 1


async def test_a_prompt_that_is_too_long_is_not_the_providers_fault() -> None:
    """Nor does a caller without time open the breaker for everybody."""
    model = chained(scripted(PromptTooLong("x")))
    for _ in range(6):
        with pytest.raises(PromptTooLong):
            await said(model)
    hasty = chained(scripted(BadReply("x")))
    for _ in range(6):
        with pytest.raises(BadReply):
            await said(hasty, left_s=0.5)
    assert model._breaker.state == hasty._breaker.state == "closed"


async def test_no_call_without_time() -> None:
    """A deadline that has passed costs no call."""
    account = Account()
    with pytest.raises(ProviderBusy, match="in time"):
        await said(chained(scripted("hello")), account, left_s=0)
    assert account.usage.llm_calls == 0


async def test_a_slow_import_does_not_hold_the_caller() -> None:
    """Who cannot wait for the package leaves, and the next one finds it ready."""
    release = threading.Event()
    inner = scripted("hello").factory

    def factory() -> object:
        release.wait(5)
        return inner()

    model = chained(NamedModel("fake:one", factory))  # type: ignore[arg-type]
    with pytest.raises(ProviderBusy, match="in time"):
        await said(model, left_s=0.01)
    release.set()
    assert await said(model) == "hello"


async def test_a_silent_model_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The call ends with its limit, and counts as a failure."""
    monkeypatch.setattr(models, "CALL_LIMIT_S", 0.02)

    class Silent(Scripted):
        async def _astream(self, *_: object, **__: object):  # type: ignore[no-untyped-def]
            await asyncio.Event().wait()
            yield None

    model = chained(NamedModel("fake:one", lambda: Silent(lines=[], heard=[])))
    await model.open()  # or a busy machine may need the limit for the thread that opens it
    with pytest.raises(ProviderBusy, match="did not answer in time"):
        await said(model)
    assert model._breaker._failures == 1


async def test_a_cancelled_call_says_nothing_about_the_provider() -> None:
    """A listener that leaves neither opens nor closes the breaker."""
    model = chained(scripted("hello there"))
    stream = model.stream(ASKED, deadline=10, max_tokens=9)
    await anext(stream)
    await stream.aclose()
    assert model._breaker._failures == 0
