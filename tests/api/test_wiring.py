"""Parts that load behind an open port, and what is counted meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from openfeature import api as openfeature
from openfeature.event import EventDetails, ProviderEvent

from apps.api import wiring
from apps.api.caches import Caches, SharedSearch
from apps.api.main import create_app
from apps.api.services import Part
from apps.api.sql import Sql
from apps.api.store_ports import KeyWish, Opinion, Ticket
from apps.api.usage import UsageCounter
from apps.core.cache import Cache, Limits
from apps.core.domain.models import AnswerRequest, SearchQuery
from apps.core.errors import BusinessFailure, IndexNotReady, NotFound, StorageDown
from apps.core.flags.admin import FlagAdmin, Wish
from apps.core.flags.edits import Edit
from apps.core.retrieval.options import SearchOptions
from apps.core.retrieval.search import Search
from apps.core.settings import Settings
from apps.core.storage import answers
from tests.api.conftest import serving
from tests.fakes.answerer import record_of
from tests.fakes.clock import FakeClock
from tests.fakes.searcher import FakeSearcher

WISH = KeyWish("n", ("search",), "default", (), None, 5, None)


async def test_a_part_is_waited_for() -> None:
    """Whoever comes early gets it when it is there."""
    part: Part[str] = Part("thing")
    waiting = asyncio.create_task(part.get())
    await asyncio.sleep(0)
    assert not waiting.done()
    part.succeed("here")
    assert await waiting == "here"


async def test_a_failed_part_is_told_at_once_and_can_be_mended() -> None:
    """Nobody waits for what has failed; a later success is a success."""
    part: Part[str] = Part("thing")
    part.fail(StorageDown("away"))
    with pytest.raises(StorageDown):
        await part.get()
    part.succeed("back")
    assert await part.get() == "back"
    assert part.error is None


async def test_loading_is_tried_until_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """A known and an unknown failure are both told and both survived."""
    monkeypatch.setattr(wiring, "FIRST_PAUSE_S", 0.0)
    part: Part[str] = Part("thing")
    failures: list[Exception] = [StorageDown("away"), RuntimeError("SELECT")]
    told: list[str] = []

    async def step() -> str:
        told.append(part.error.detail if part.error else "")
        if failures:
            raise failures.pop(0)
        return "here"

    assert await wiring.loaded(part, step) == "here"
    assert told == ["", "away", "The thing cannot be loaded; see the log."]


async def test_endless_work_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """One failure does not end it."""
    monkeypatch.setattr(wiring, "FIRST_PAUSE_S", 0.0)
    started = asyncio.Event()
    count = 0

    async def work() -> None:
        nonlocal count
        count += 1
        if count == 1:
            raise RuntimeError("once")
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(wiring.kept_going("thing", work))
    await asyncio.wait_for(started.wait(), 5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_usage_survives_an_outage() -> None:
    """What could not be written is written later, together."""
    written: list[Mapping[str, int]] = []

    async def down(counts: Mapping[str, int]) -> None:
        raise StorageDown("away")

    async def up(counts: Mapping[str, int]) -> None:
        written.append(dict(counts))

    usage = UsageCounter()
    usage.add("a")
    await usage.write(down)
    usage.add("a")
    await usage.write(up)
    await usage.write(up)
    assert written == [{"a": 2}]


async def test_usage_is_written_at_the_end() -> None:
    """Stopping the server loses no count."""
    written: list[Mapping[str, int]] = []

    async def write(counts: Mapping[str, int]) -> None:
        written.append(dict(counts))

    usage = UsageCounter()
    writing = asyncio.create_task(usage.write_forever(write))
    await asyncio.sleep(0)
    usage.add("a")
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    assert written == [{"a": 1}]


async def test_clearing_tells_the_others(tmp_path: Path) -> None:
    """Own entries and results go, and the other workers are told."""
    cache = Cache(Limits(10, 1000, 60), clock=FakeClock())
    search = SharedSearch(Search(tmp_path, embedder=None, options=SearchOptions()), lambda: 0)
    caches = Caches(cache, search)
    await cache.put("answer:1", "x")
    told: list[bool] = []

    async def bump() -> None:
        told.append(True)

    caches.shared(bump)
    assert await caches.clear("answer:") == 1
    assert told == [True]
    assert (search.version, search.passages, search.vectors, search.refused) == (None, 0, 0, None)
    assert search.refresh() is False
    with pytest.raises(IndexNotReady):
        await search.search(SearchQuery("x"))
    assert await caches.redis_state() == "not_configured"
    assert caches.stats()["entries"] == 0


class Remembering(FakeSearcher):
    """Counts how often it was told to forget."""

    forgotten = 0

    def forget(self) -> None:
        self.forgotten += 1


async def test_a_clear_reaches_every_worker_on_its_next_search(
    make_settings: Callable[..., Settings],
) -> None:
    """Two workers over one database: the one that did not clear forgets as well, and once."""
    clearing, other = [await Sql.open(make_settings(), FakeClock()) for _ in range(2)]
    remembering = Remembering()
    # The wrapper asks no more of what it wraps than the fake can do.
    search = SharedSearch(remembering, other.generation)  # type: ignore[arg-type]
    await search.search(SearchQuery("x"))
    assert remembering.forgotten == 0
    await clearing.bump_cache()
    await search.search(SearchQuery("x"))
    await search.search(SearchQuery("x"))
    assert remembering.forgotten == 1
    await clearing.close()
    await other.close()


async def test_extensions_get_the_flags_of_the_service(
    make_settings: Callable[..., Settings],
) -> None:
    """`DTRAG_OPENFEATURE`: the SDK's own client sees a change and its event, until the end."""
    changed: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def told(details: EventDetails) -> None:
        for key in details.flags_changed or ():
            loop.call_soon_threadsafe(changed.put_nowait, key)

    client = openfeature.get_client()
    settings = make_settings(DTRAG_OPENFEATURE=True, DTRAG_EMBEDDER="none")
    async with wiring.services(settings) as services:
        storage = (await services.stores.get()).storage
        assert client.get_boolean_details("debate_mode", True).reason == "DEFAULT"
        openfeature.add_handler(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, told)
        admin = FlagAdmin(storage, None, services.clock)
        await admin.edit("debate_mode", Edit(on=True), wish=Wish("cli:me", "cli"))
        async with asyncio.timeout(20):
            while await changed.get() != "debate_mode":
                pass
        assert client.get_boolean_value("debate_mode", False)
    assert client.get_boolean_details("debate_mode", True).value is True
    assert client.provider.get_metadata().name == "No-op Provider"


async def test_without_the_wish_no_provider_is_registered(
    make_settings: Callable[..., Settings],
) -> None:
    """Extensions of a service that does not offer flags get their own defaults."""
    async with wiring.services(make_settings(DTRAG_EMBEDDER="none")) as services:
        await services.stores.get()
        assert openfeature.get_client().provider.get_metadata().name == "No-op Provider"


@pytest.fixture
async def sql(make_settings: Callable[..., Settings], capsys: pytest.CaptureFixture[str]) -> Sql:
    """An open database in an empty directory."""
    return await Sql.open(make_settings(), FakeClock())


async def test_the_first_key_is_shown_once(
    make_settings: Callable[..., Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    """A new database prints an administrator's key that works; a second start prints nothing."""
    settings = make_settings()
    first = await Sql.open(settings, FakeClock())
    secret = capsys.readouterr().out.split()[-1]
    known = await first.keys.authenticate(secret, ip="127.0.0.1")
    assert known is not None
    assert known.caller.may("keys:write")
    await first.close()
    second = await Sql.open(settings, FakeClock())
    assert capsys.readouterr().out == ""
    await second.close()


async def test_keys_in_sql(sql: Sql) -> None:
    """Made, found, changed, rotated, counted and revoked, each at once."""
    made, secret = await sql.keys.create(WISH)
    known = await sql.keys.authenticate(secret, ip=None)
    assert known is not None
    assert (known.caller.key_id, known.per_minute) == (made.id, 5)
    assert await sql.keys.authenticate("dtr_nobody00_x", ip=None) is None
    changed = await sql.keys.alter(made.id, KeyWish("m", ("answer",), "default", (), None, 7, 9))
    assert (changed.name, changed.quota_per_day) == ("m", 9)
    again = await sql.keys.authenticate(secret, ip=None)
    assert again is not None
    assert (again.per_minute, again.caller.may("answer")) == (7, True)
    successor, _ = await sql.keys.rotate(made.id, overlap_s=0)
    assert successor.rotated_from == made.id
    await sql.count_use({made.id: 3})
    assert sum((await sql.keys.usage(made.id)).values()) == 3
    assert (await sql.used_today())[made.id] == 3
    assert (await sql.keys.revoke(successor.id)).revoked_at is not None
    assert {each.id for each in await sql.keys.every()} >= {made.id, successor.id}
    assert (await sql.keys.get(made.id)).name == "m"
    await sql.close()


async def test_answers_in_sql(sql: Sql) -> None:
    """Written behind the response, found at once, judged with a masked comment."""
    record = replace(record_of(AnswerRequest("q", request_id="r")), key_id="k")
    await sql.record(record)
    body = await sql.answers.find(record.answer_id)
    assert body is not None
    assert body["answer"] == record.answer
    async with sql.storage.reading() as s:
        kept = await answers.get(s, record.answer_id)
    assert kept is not None
    assert kept.key_id == "k"
    opinion = Opinion(record.answer_id, 0.5, comment="010-1234-5678", labels=("clear",))
    await sql.answers.judge(opinion, caller="k")
    (said,) = await sql.answers.opinions(record.answer_id)
    assert (said.reward, said.labels) == (0.5, ("clear",))
    assert "1234" not in (said.comment or "")
    with pytest.raises(NotFound):
        await sql.answers.judge(Opinion("none", 1.0), caller="k")
    await sql.close()


async def test_once_in_sql(sql: Sql) -> None:
    """Claimed, finished, remembered; abandoned, free again; another body refused."""
    ticket = Ticket("c", "answer", "k", 1_700_000_000.0)
    assert await sql.once.begin(ticket, body_sha256="a" * 64) is None
    await sql.once.finish(ticket, status=200, body=b"{}")
    found = await sql.once.begin(ticket, body_sha256="a" * 64)
    assert found is not None
    assert (found.status, found.body) == (200, b"{}")
    with pytest.raises(BusinessFailure):
        await sql.once.begin(ticket, body_sha256="b" * 64)
    other = Ticket("c", "answer", "other", 1_700_000_000.0)
    await sql.once.begin(other, body_sha256="a" * 64)
    await sql.once.abandon(other)
    assert await sql.once.begin(other, body_sha256="a" * 64) is None
    await sql.close()


async def test_documents_and_the_rest_in_sql(sql: Sql) -> None:
    """An empty database has no documents; a clear raises the generation; it lives."""
    assert await sql.documents.page(limit=5, after=None) == (0, [])
    assert await sql.documents.get("x") is None
    assert await sql.documents.span("x", 0, 1) is None
    before = sql.generation()
    await sql.bump_cache()
    assert sql.generation() == before + 1
    await sql.ping()
    await sql.close()


@pytest.mark.pg
async def test_a_schema_behind_is_told(
    empty_postgres_url: str, make_settings: Callable[..., Settings]
) -> None:
    """PostgreSQL is never migrated by a server; the reason names the command."""
    with pytest.raises(StorageDown, match="alembic upgrade head"):
        await Sql.open(make_settings(DATABASE_URL=empty_postgres_url), FakeClock())


async def test_the_whole_service_in_this_process(make_settings: Callable[..., Settings]) -> None:
    """Everything loads behind the open port, an early question waits, and all closes again."""
    settings = make_settings(ENVIRONMENT="development", DTRAG_EMBEDDER="none")
    async with serving(create_app(settings)) as client:
        asked = await client.post("/answer", json={"question": "Is there anything?"})
        assert (asked.status_code, asked.json()["abstained"]) == (200, True)
        ready = (await client.get("/readyz")).json()
        assert ready["checks"]["database"] == {"ok": True, "detail": ""}
        stored = await client.get(f"/api/v1/answers/{asked.json()['answer_id']}")
        assert stored.json()["answer"] == asked.json()["answer"]
