"""Flags at the door: header, context, searches, and what every response says of them."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from apps.api.main import create_app
from apps.core.domain.flags import Exposed
from apps.core.domain.models import SearchQuery, SearchResult
from apps.core.errors import IndexNotReady, NotFound
from apps.core.flags.arms import ArmRecorder
from apps.core.flags.arms_outcome import Outcome
from apps.core.flags.rollout import Split
from apps.core.settings import Settings
from apps.core.telemetry import metrics
from tests.api.conftest import serving
from tests.core.flags.arms import PEPPER, half
from tests.fakes.flags import WEIGHTS, rolled_out, variants, weighed
from tests.fakes.services import World

HEADER = "x-dtrag-flags-effective"
QUESTION = {"question": "딥러닝의 주요 개념은?"}
ASK = [("/answer", QUESTION), ("/api/v1/search", {"q": "index"}), (
    "/api/v1/batch-search", {"queries": ["index", "fusion"]},
)]  # fmt: skip


def effective(reply: httpx.Response) -> dict[str, str]:
    """The header as a dictionary; it stands there once."""
    (line,) = reply.headers.get_list(HEADER)
    return dict(entry.split("=") for entry in line.split(";"))


def keeping(world: World) -> list[Outcome]:
    """Give the world arms whose outcomes are only kept."""
    ends: list[Outcome] = []
    recorder = ArmRecorder(world.clock, PEPPER, world.flags)
    recorder.finish = ends.append  # type: ignore[method-assign]
    world.arms = recorder
    return ends


def hybrid_everywhere() -> Split:
    """Everybody is in the canary of hybrid search."""
    return Split("hybrid_search", 100, id="ro_2", epoch=1, stage=0)


@pytest.mark.parametrize(("path", "body"), ASK)
async def test_every_response_names_the_flags(
    client: httpx.AsyncClient, world: World, path: str, body: dict[str, object]
) -> None:
    """Also one that fails, and one that is streamed."""
    reply = await client.post(path, json=body)
    assert effective(reply)["debate_mode"] == "off"
    assert len(effective(reply)) == 9
    world.searcher.error = world.answerer.error = IndexNotReady("not yet")
    failed = await client.post(path, json=body)
    assert effective(failed) == effective(reply)


async def test_a_stream_names_the_flags_before_its_first_event(client: httpx.AsyncClient) -> None:
    """They are decided before the answer begins."""
    reply = await client.post("/answer", json={**QUESTION, "stream": True})
    assert effective(reply)["debate_mode"] == "off"


@pytest.mark.parametrize(
    ("scopes", "header", "on", "ignored"),
    [
        ((), "debate_mode=on", "off", 1),
        (("search",), "debate_mode=on", "off", 1),
        (("search", "flags:override"), "debate_mode=on", "on", 0),
        (("search", "flags:override"), "debate_mode=maybe;=on;debate_mode=on", "on", 2),
        (("admin",), "mcp_tools=on;debate_mode=on", "on", 0),
    ],
)
async def test_on_needs_its_scope(
    world: World, *, scopes: tuple[str, ...], header: str, on: str, ignored: int
) -> None:
    """Off is for everybody; what is not allowed is ignored and counted, and needs no right."""
    before = metrics.flag_overrides_ignored._value.get()
    headers = {"X-DTRAG-Flags": header}
    if scopes:
        headers["X-API-Key"] = world.stores.keys.add(*scopes)
    async with serving(create_app(Settings(), opening=world.opening)) as client:
        reply = await client.post("/search", json={"q": "x"}, headers=headers)
    assert effective(reply)["debate_mode"] == on
    # The policy that tools need is off, whoever asks.
    assert effective(reply)["mcp_tools"] == "off"
    assert metrics.flag_overrides_ignored._value.get() - before == ignored


async def test_off_is_for_everybody_but_beats_no_kill(
    client: httpx.AsyncClient, world: World
) -> None:
    """A flag that is on can be turned off for one request."""
    world_flags = rolled_out(environment={"debate_mode": "true"})
    world.flags.snapshot = world_flags.snapshot  # type: ignore[misc]
    headers = {"X-DTRAG-Flags": "debate_mode=off"}
    assert effective(await client.post("/answer", json=QUESTION))["debate_mode"] == "on"
    reply = await client.post("/answer", json=QUESTION, headers=headers)
    assert effective(reply)["debate_mode"] == "off"


async def test_the_question_carries_its_flags(client: httpx.AsyncClient, world: World) -> None:
    """What was decided at the door is what the graph goes by; nothing decides again."""
    headers = {
        "X-DTRAG-Flags": "debate_mode=off",
        "X-DTRAG-Synthetic": "1",
        "Accept-Language": "ko-KR,ko;q=0.9",
    }
    body = {**QUESTION, "user_id": "u", "session_id": "s"}
    await client.post("/answer", json=body, headers={**headers, "X-Request-ID": "r1"})
    asked = world.answerer.asked[-1]
    assert (asked.endpoint, asked.locale, asked.synthetic) == ("answer", "ko-KR", True)
    assert asked.overrides == {"debate_mode": False}
    assert asked.decisions is not None
    (context,) = world.flags.decided  # type: ignore[attr-defined]
    assert (context.user_id, context.session_id, context.request_id) == ("u", "s", "r1")
    assert (context.tenant, context.synthetic, context.locale) == ("default", True, "ko-KR")


async def test_a_replay_names_the_flags_of_its_time(
    client: httpx.AsyncClient, world: World
) -> None:
    """The stored answer's, not today's."""
    headers = {"Idempotency-Key": "k"}
    await client.post("/answer", json=QUESTION, headers=headers)
    killed = rolled_out(environment={"debate_mode": "true"})
    world.flags.snapshot = killed.snapshot  # type: ignore[misc]
    again = await client.post("/answer", json=QUESTION, headers=headers)
    assert again.headers["idempotent-replayed"] == "true"
    assert effective(again) == {"debate_mode": "off"}


@pytest.fixture
def rolled(world: World) -> Iterator[list[Outcome]]:
    """Hybrid search for all, with the outcomes that were counted."""
    world.flags = rolled_out(hybrid_everywhere())
    yield keeping(world)


async def test_a_search_follows_its_flags(
    rolled: list[Outcome], client: httpx.AsyncClient, world: World
) -> None:
    """What the request says itself still wins, and is in no arm."""
    await client.post("/search", json={"q": "index", "user_id": "u"})
    assert (world.searcher.asked[-1].mode, world.searcher.asked[-1].rerank) == ("hybrid", False)
    assert [(met.flag_key, met.arm, met.sticky) for met in rolled[-1].exposed] == [
        ("hybrid_search", "canary", True)
    ]
    await client.post("/search", json={"q": "index", "mode": "lexical", "rerank": True})
    assert (world.searcher.asked[-1].mode, world.searcher.asked[-1].rerank) == ("lexical", True)
    assert rolled[-1].exposed == ()


@pytest.fixture
def reranking(world: World) -> list[Outcome]:
    """The reranker for all, with the outcomes that were counted."""
    world.flags = rolled_out(Split("reranker", 100, id="ro_r", epoch=1, stage=0))
    return keeping(world)


@pytest.mark.parametrize(
    ("candidates", "degraded", "keys", "skipped"),
    [
        (1, (), [], set()),
        (5, (), ["reranker"], set()),
        (5, ("rerank",), ["reranker"], {"reranker"}),
    ],
)
async def test_a_search_meets_the_reranker_where_it_ranks(
    reranking: list[Outcome],
    client: httpx.AsyncClient,
    world: World,
    candidates: int,
    degraded: tuple[str, ...],
    keys: list[str],
    skipped: set[str],
) -> None:
    """One passage has no order; a failed reranker is a bad request of its flag's arm."""
    whole = world.searcher.search

    async def found(query: SearchQuery) -> SearchResult:
        return (await whole(query))._replace(total_candidates=candidates, degraded=degraded)

    world.searcher.search = found  # type: ignore[method-assign]
    await client.post("/search", json={"q": "index", "user_id": "u"})
    assert world.searcher.asked[-1].rerank is True
    (end,) = reranking
    assert ([met.flag_key for met in end.exposed], end.skipped) == (keys, skipped)


@pytest.fixture
def weighing(world: World) -> list[Outcome]:
    """An experiment over the weight of the dense leg, with the outcomes that were counted."""
    world.flags = weighed()
    return keeping(world)


async def test_a_variant_weighs_the_legs_of_a_search(
    weighing: list[Outcome], client: httpx.AsyncClient, world: World
) -> None:
    """The number of a user's variant reaches the search, always the same, and its arm is met."""
    kept: dict[str, set[tuple[str, float | None]]] = {}
    for user_id in [f"u{n}" for n in range(12)] * 2:
        reply = await client.post("/search", json={"q": user_id, "user_id": user_id})
        arm = effective(reply)["dense_weight"]
        kept.setdefault(user_id, set()).add((arm, world.searcher.asked[-1].dense_weight))
        assert [met.arm for met in weighing[-1].exposed] == [arm]
    assert all(len(each) == 1 for each in kept.values())
    assert {pair for each in kept.values() for pair in each} == set(WEIGHTS.items())


@pytest.fixture
def overweight(world: World) -> list[Outcome]:
    """A weight that is none, with the outcomes that were counted."""
    world.flags = variants("dense_weight", {"w": 7})
    return keeping(world)


async def test_a_weight_that_is_none_is_told(
    overweight: list[Outcome], client: httpx.AsyncClient, world: World
) -> None:
    """The search goes by its own weight and names the flag, whose arm has then failed."""
    reply = await client.post("/search", json={"q": "index", "mode": "hybrid", "user_id": "u"})
    assert reply.json()["degraded"] == ["dense_weight"]
    assert world.searcher.asked[-1].dense_weight is None
    assert [end.skipped for end in overweight] == [frozenset({"dense_weight"})]
    reply = await client.post("/search", json={"q": "index", "mode": "lexical", "user_id": "u"})
    assert reply.json()["degraded"] == []


async def test_each_question_of_a_batch_is_counted(
    rolled: list[Outcome], client: httpx.AsyncClient
) -> None:
    """Under one decision; its unit votes once all the same."""
    await client.post("/api/v1/batch-search", json={"queries": ["a", "b"], "session_id": "s"})
    assert len({end.exposed[0].unit_hash for end in rolled}) == 1
    assert len(rolled) == 2


async def test_a_search_that_fails_by_us_is_an_error_of_its_arm(
    rolled: list[Outcome], client: httpx.AsyncClient, world: World
) -> None:
    """One that fails by its caller is not."""
    world.searcher.error = NotFound("no such version")
    await client.post("/search", json={"q": "x"})
    assert rolled == []
    world.searcher.error = IndexNotReady("not yet")
    await client.post("/search", json={"q": "x"})
    assert [end.error for end in rolled] == [True]


async def test_excluded_searches_are_in_no_arm(
    rolled: list[Outcome], client: httpx.AsyncClient
) -> None:
    """A synthetic caller and one that asks for a flag."""
    for headers in ({"X-DTRAG-Synthetic": "true"}, {"X-DTRAG-Flags": "hybrid_search=off"}):
        await client.post("/search", json={"q": "x"}, headers=headers)
    assert rolled == []


async def test_searches_without_such_flags_share_one_decision(
    client: httpx.AsyncClient, world: World
) -> None:
    """Nothing is built for a request when nothing depends on it."""
    for user_id in ("a", "b"):
        await client.post("/search", json={"q": "x", "user_id": user_id})
    first, second = world.flags.decided  # type: ignore[attr-defined]
    assert first is second


async def test_feedback_finds_the_arms_of_its_answer(world: World) -> None:
    """A thumb down is bad for the arm that the answer had met."""
    told: list[tuple[list[Exposed], bool]] = []
    keeping(world)
    world.flags = rolled_out(half())
    recorder = ArmRecorder(world.clock, PEPPER, world.flags)
    recorder.feedback = lambda exposed, *, bad: told.append((list(exposed), bad))  # type: ignore[method-assign, assignment]
    world.arms = recorder
    met = Exposed("debate_mode", "canary", "debate_mode", "ro_1", 1, 0, "ab" * 16, True)
    world.stores.answers.bodies["a1"] = {}
    world.stores.answers.arms["a1"] = [met]
    async with serving(create_app(Settings(), opening=world.opening)) as client:
        for thumb in (False, True):
            body = {"answer_id": "a1", "thumbs_up": thumb}
            assert (await client.post("/api/v1/feedback", json=body)).status_code == 202
    assert told == [([met], True), ([met], False)]
