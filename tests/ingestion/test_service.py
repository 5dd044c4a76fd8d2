"""Documents go in and out of a real index; failures are told; nothing is done twice."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from apps.core.domain.models import SearchQuery
from apps.core.errors import IndexNotReady, MissingParameter, NotFound, TooLarge, Unprocessable
from apps.core.retrieval.options import SearchOptions
from apps.core.retrieval.search import Search
from apps.core.settings import Settings
from apps.core.storage import documents, jobs
from apps.core.storage.engine import Storage
from apps.ingestion.items import ItemMeta, JobView, NewItem
from apps.ingestion.service import Ingestion
from tests.fakes.clock import FakeClock
from tests.fakes.collector import KeptSpans
from tests.fakes.embedder import HashedEmbedder
from tests.fakes.ingestion import DirectParser, MemoryIndex, OnePage
from tests.ingestion import files

Make = Callable[..., Ingestion]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def make(
    storage: Storage, make_settings: Callable[..., Settings], tmp_path: Path, clock: FakeClock
) -> AsyncIterator[Make]:
    """Opens ingestion over the test's database; further arguments replace its parts."""
    opened = []

    def one(
        *, embedder: HashedEmbedder | None = None, limit: int = 10**6, **parts: object
    ) -> Ingestion:
        settings = make_settings(MAX_UPLOAD_BYTES=limit)
        parts = {"parser": DirectParser(), "outbound": OnePage(b""), **parts}
        opened.append(Ingestion(storage, settings, tmp_path / "index", embedder, clock, **parts))
        return opened[-1]

    yield one
    for each in opened:
        await each.close()


def text(name: str, content: str, **meta: object) -> NewItem:
    return NewItem(name, content.encode(), ItemMeta(**meta))


async def done(service: Ingestion, *items: NewItem) -> JobView:
    job_id = await service.submit(items)
    await service.drain()
    view = await service.job(job_id)
    assert view is not None
    return view


async def found(tmp_path: Path, question: str, embedder: HashedEmbedder | None = None) -> list[str]:
    search = Search(tmp_path / "index", embedder=embedder, options=SearchOptions())
    result = await search.search(SearchQuery(question))
    return [hit.passage.doc_id for hit in result.hits]


async def test_files_become_findable_and_the_job_tells_it(make: Make, tmp_path: Path) -> None:
    """A Korean PDF, an English Word file and a note are found after their job."""
    view = await done(
        make(),
        NewItem("요금.pdf", files.pdf(["주차 요금은 시간당 1,200원이다."])),
        NewItem("parks.docx", files.docx(["Parks", "The riverside park opens at six."])),
        text("note.txt", "도서관은 월요일에 쉽니다.", id="lib"),
    )
    assert (view.state, view.total, view.finished) == ("done", 3, 3)
    assert view.counts == {"queued": 0, "stored": 3, "duplicate": 0, "unchanged": 0, "failed": 0}
    assert await found(tmp_path, "주차 요금") == ["요금.pdf"]
    assert (await found(tmp_path, "When does the riverside park open?"))[0] == "parks.docx"
    assert await found(tmp_path, "도서관 월요일") == ["lib"]


async def test_again_is_unchanged_another_name_is_a_duplicate(make: Make) -> None:
    """The same file twice changes nothing; the same text under another name names its twin."""
    service = make()
    await done(service, text("a.txt", "한 문장이다."))
    view = await done(service, text("a.txt", "한 문장이다."), text("b.txt", "한 문장이다."))
    assert [(item.name, item.state, item.doc_ids) for item in view.items] == [
        ("a.txt", "unchanged", ("a.txt",)),
        ("b.txt", "duplicate", ("a.txt",)),
    ]


async def test_an_update_replaces_what_is_found(make: Make, tmp_path: Path) -> None:
    """After an update only the new text is found."""
    service = make()
    await done(service, text("a.txt", "기린은 목이 길다."))
    await done(service, text("a.txt", "코끼리는 코가 길다."))
    assert await found(tmp_path, "코끼리") == ["a.txt"]
    assert await found(tmp_path, "기린") == []


async def test_a_removed_document_is_found_no_more(make: Make, tmp_path: Path) -> None:
    """When `remove` returns, neither database nor index has the document."""
    service = make()
    await done(service, text("a.txt", "기린은 목이 길다."), text("b.txt", "코끼리는 크다."))
    assert await service.remove("a.txt")
    assert not await service.remove("a.txt")
    assert await found(tmp_path, "기린") == []
    assert await found(tmp_path, "코끼리") == ["b.txt"]
    assert [row.document.id for row in await service.documents()] == ["b.txt"]


async def test_a_bad_file_costs_only_itself(make: Make) -> None:
    """Unsupported, empty and damaged files fail with code and reason; the others are stored."""
    view = await done(
        make(),
        NewItem("x.png", b"\x89PNG\r\n\x1a\n"),
        text("empty.txt", "  "),
        text("ok.txt", "한 문장이다."),
    )
    assert view.state == "done"
    assert view.counts["failed"] == 2
    assert [(item.name, item.error_code) for item in view.items] == [
        ("x.png", "unsupported_operation"),
        ("empty.txt", "validation_error"),
        ("ok.txt", None),
    ]
    assert view.items[1].error == "No text found."


async def test_one_file_with_many_documents(make: Make) -> None:
    """Each line is a document of its own; progress counts documents once they are known."""
    lines = "\n".join(f'{{"id":"d{n}","text":"{n}번째 문장이다."}}' for n in range(70))
    view = await done(make(), text("all.jsonl", lines), text("one.txt", "하나."))
    assert (view.total, view.finished) == (71, 71)
    assert view.items[0].doc_ids == tuple(f"d{n}" for n in range(70))


async def test_files_of_the_same_name_stay_apart(make: Make) -> None:
    """Two README files of one submission do not replace each other."""
    view = await done(make(), text("README.md", "하나."), text("README.md", "둘."))
    assert view.counts["stored"] == 2
    assert {item.name for item in view.items} == {"README.md", "README (2).md"}


async def test_personal_data_is_stored_nowhere(make: Make, storage: Storage) -> None:
    """Name, fields and text are masked before they reach the database; uploads are emptied."""
    phone = "010-9876-5432"
    said = dict.fromkeys(("title", "source_url", "version", "license"), phone)
    listed = {"tags": (phone,), "category": (phone,)}
    view = await done(make(), text(f"{phone}.txt", f"연락처 {phone}입니다.", **said, **listed))
    async with storage.reading() as s:
        everything = [
            (await s.exec_driver_sql(f"SELECT * FROM {name}")).all()
            for name in ("document", "chunk", "job", "job_item")
        ]
    assert "9876" not in repr(everything) + repr(view)
    assert view.counts["stored"] == 1


async def test_names_that_look_alike_once_masked_stay_two(make: Make) -> None:
    """Two files named by telephone numbers, uploaded one after the other, are two documents."""
    service = make()
    first = await done(service, text("010-1111-2222.txt", "첫 번째 통화를 적은 글이다."))
    second = await done(service, text("010-3333-4444.txt", "두 번째 통화를 적은 글이다."))
    assert first.items[0].doc_ids != second.items[0].doc_ids
    assert len(await service.documents()) == 2


async def test_bad_submissions_are_refused_at_once(make: Make) -> None:
    """Nothing, too much and impossible ids never become jobs."""
    service = make(limit=2000)
    with pytest.raises(MissingParameter):
        await service.submit([])
    with pytest.raises(TooLarge):
        await service.submit([NewItem("a", bytes(2001))])
    with pytest.raises(Unprocessable):
        await service.submit([text("a", "x", id="y" * 200)])
    assert await service.job("nothing") is None
    with pytest.raises(NotFound):
        await service.finished("nothing")


async def test_an_address_is_fetched_by_the_job(make: Make, tmp_path: Path) -> None:
    """The page is stored under its address; its kind is known by what the server says."""
    service = make(outbound=OnePage("<title>동물</title><p>기린은 크다.".encode(), filename="zoo"))
    job_id = await service.submit_url("https://example.org/zoo")
    await service.drain()
    view = await service.job(job_id)
    assert view is not None
    assert view.counts["stored"] == 1
    (row,) = await service.documents()
    assert (row.document.title, row.document.source_url) == ("동물", "https://example.org/zoo")
    assert row.document.id.startswith("example.org-zoo-")
    assert await found(tmp_path, "기린") == [row.document.id]


async def test_a_page_of_an_allowed_host_is_fetched_for_real(
    storage: Storage, make_settings: Callable[..., Settings], tmp_path: Path, clock: FakeClock
) -> None:
    """With FETCH_ALLOW_HOSTS a real server on the loopback interface is read, otherwise not."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = "# 기린\n\n기린은 목이 길다.".encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        closed, open_ = make_settings(), make_settings(FETCH_ALLOW_HOSTS=host)
        async with Ingestion(storage, closed, tmp_path, None, clock) as service:
            with pytest.raises(Unprocessable):
                await service.submit_url(f"http://{host}/giraffe.md")
        async with Ingestion(storage, open_, tmp_path / "index", None, clock) as service:
            await service.submit_url(f"http://{host}/giraffe.md")
            await service.drain()
            (row,) = await service.documents()
    assert (row.document.title, row.document.format) == ("기린", "md")
    assert await found(tmp_path, "기린") == [row.document.id]


async def test_a_refused_address_is_no_job(make: Make, storage: Storage) -> None:
    """The guard's refusal reaches the caller at once."""
    world = OnePage(b"")
    world.refuse = Unprocessable("The URL names a host that is not on the public internet.")
    with pytest.raises(Unprocessable):
        await make(outbound=world).submit_url("https://127.0.0.1/")
    async with storage.reading() as s:
        assert await jobs.listed(s) == []


async def test_a_server_that_is_away_is_asked_again(make: Make, clock: FakeClock) -> None:
    """A passing failure of a fetch is retried later; after three times the item has failed."""
    for failures, state in ((2, "stored"), (3, "failed")):
        page = f"<p>{failures}번 만에 왔다.".encode()
        service = make(outbound=OnePage(page, failures=failures))
        job_id = await service.submit_url(f"https://example.org/{failures}")
        for _ in range(3):
            await service._runner.step()
            clock.pass_s(60)
        view = await service.job(job_id)
        assert view is not None
        assert (view.state, view.items[0].state) == ("done", state)


async def test_each_document_has_a_span(make: Make) -> None:
    """With what it was, and how it failed; never its name."""
    gone = Unprocessable("The server of the URL answered 410.")
    service = make(outbound=OnePage(b"", failures=1, error=gone))
    await service.submit([text("hong.txt", "한 문장이다.")])
    await service.submit_url("https://example.org/hong")
    kept = KeptSpans()
    with kept() as process, process.here():
        await service.drain()
    facts = [dict(span.attributes or {}) for span in kept.spans]
    read = {
        "dtrag.format": "txt",
        "dtrag.bytes": len("한 문장이다.".encode()),
        "dtrag.documents": 1,
    }
    assert sorted(facts, key=len) == [{"error.type": "validation_error"}, read]
    assert {span.name for span in kept.spans} == {"ingest.document"}
    assert "hong" not in "".join(span.to_json() for span in kept.spans)


async def test_a_page_that_is_gone_is_not_asked_for_again(make: Make) -> None:
    """A refusal for good fails the item at once, with the server's status."""
    gone = Unprocessable("The server of the URL answered 410.")
    service = make(outbound=OnePage(b"", failures=1, error=gone))
    job_id = await service.submit_url("https://example.org/gone")
    await service._runner.step()
    view = await service.job(job_id)
    assert view is not None
    assert (view.state, view.attempts, view.items[0].state) == ("done", 1, "failed")
    assert view.items[0].error == gone.detail


async def test_a_publication_that_fails_is_tried_again(make: Make, clock: FakeClock) -> None:
    """A full disk keeps the job; with space it ends, and the file was read only once."""
    index, parser = MemoryIndex(), DirectParser()
    service = make(index=index, parser=parser)
    index.failures = 1
    job_id = await service.submit([text("a.txt", "한 문장이다.")])
    assert await service._runner.step()
    waiting = await service.job(job_id)
    assert waiting is not None
    assert (waiting.state, waiting.error) == ("queued", "OSError: No space left on device")
    assert not await service._runner.step()
    clock.pass_s(60)
    await service.drain()
    assert index.doc_ids == {"a.txt"}
    assert parser.names == ["a.txt"]


async def test_a_dead_letter_can_be_sent_again(make: Make, clock: FakeClock) -> None:
    """After three failed publications the job is failed and says why; `retry` brings it back."""
    index = MemoryIndex()
    service = make(index=index)
    index.failures = 3
    job_id = await service.submit([text("a.txt", "한 문장이다.")])
    for _ in range(3):
        await service._runner.step()
        clock.pass_s(60)
    dead = await service.finished(job_id)
    assert (dead.state, dead.error_code) == ("failed", "system_failure")
    assert await service.retry(job_id)
    await service.drain()
    assert (await service.finished(job_id)).state == "done"
    assert index.doc_ids == {"a.txt"}


async def test_a_removal_that_cannot_be_published_goes_on_by_itself(
    make: Make, clock: FakeClock
) -> None:
    """The caller is told; the document is gone from the database, and later from the index."""
    index = MemoryIndex()
    service = make(index=index)
    await done(service, text("a.txt", "한 문장이다."))
    index.failures = 1
    with pytest.raises(IndexNotReady):
        await service.remove("a.txt")
    clock.pass_s(60)
    await service.drain()
    assert index.doc_ids == set()


async def test_many_documents_are_published_together(make: Make) -> None:
    """Three jobs that wait together cost one publication."""
    index = MemoryIndex()
    service = make(index=index)
    for number in range(3):
        await service.submit([text(f"{number}.txt", f"{number}번 문장이다.")])
    await service.drain()
    assert (index.publications, len(index.doc_ids)) == (1, 3)


async def test_a_document_deleted_while_it_is_published_does_not_come_back(
    make: Make, storage: Storage
) -> None:
    """Whoever publishes looks again afterwards and takes out what has vanished meanwhile."""

    class Slow(MemoryIndex):
        def publish(self, **arguments: object) -> str:  # type: ignore[override]
            if not self.publications:
                asyncio.run_coroutine_threadsafe(vanish(), loop).result()
            return super().publish(**arguments)  # type: ignore[arg-type]

    async def vanish() -> None:
        async with storage.session() as s:
            await documents.remove(s, "a.txt")

    loop = asyncio.get_running_loop()
    index = Slow()
    await done(make(index=index), text("a.txt", "한 문장이다."))
    assert index.doc_ids == set()


async def test_vectors_join_in_the_background(make: Make, tmp_path: Path) -> None:
    """Text is findable before its vectors; afterwards every chunk has one, and is not redone."""
    embedder = HashedEmbedder()
    service = make(embedder=embedder)
    job_id = await service.submit([text(f"{n}.txt", f"{n}번 문서의 문장이다.") for n in range(5)])
    await service.drain(vectors=False)
    assert (await service.finished(job_id)).state == "done"
    search = Search(tmp_path / "index", embedder=embedder, options=SearchOptions())
    search.refresh()
    assert (search.passages, search.vectors) == (5, 0)
    await service.drain()
    search.refresh()
    assert (search.passages, search.vectors) == (5, 5)


async def test_an_embed_job_tells_how_far_it_is(make: Make, storage: Storage) -> None:
    """Its view counts vectors."""
    service = make(embedder=HashedEmbedder())
    await done(service, *(text(f"{n}.txt", f"{n}번 문장이다.") for n in range(5)))
    async with storage.reading() as s:
        (embed,) = [job for job in await jobs.listed(s) if job.kind == "embed"]
    view = await service.job(embed.id)
    assert view is not None
    assert (view.kind, view.total, view.finished, view.items) == ("embed", 5, 5, ())


async def test_an_embedder_that_fails_halfway_loses_nothing(make: Make, clock: FakeClock) -> None:
    """Vectors that were made stay; the job goes on with the others and publishes all."""

    class Failing(HashedEmbedder):
        calls = 0

        def passages(self, texts):  # type: ignore[no-untyped-def]
            self.calls += 1
            if self.calls == 2:
                raise ConnectionError("away")
            return super().passages(texts)

    index, embedder = MemoryIndex(), Failing()
    service = make(index=index, embedder=embedder)
    await service.submit([text(f"{n}.txt", f"{n}번 문장이다.") for n in range(9)])
    await service.drain(vectors=False)
    await service._runner.step(("embed",))
    clock.pass_s(60)
    await service.drain()
    assert set(index.vectors) == set(index.rows)
    assert len(index.vectors) == 9


async def test_an_update_gets_new_vectors(make: Make) -> None:
    """A vector of the old text never stands beside the new one."""
    index, embedder = MemoryIndex(), HashedEmbedder()
    service = make(index=index, embedder=embedder)
    await done(service, text("a.txt", "기린은 목이 길다."))
    await done(service, text("a.txt", "코끼리는 코가 길다."))
    (chunk_id,) = index.rows
    assert list(index.vectors) == [chunk_id]
    expected = embedder.passages(["a\n코끼리는 코가 길다."])[0]
    assert index.vectors[chunk_id] == pytest.approx(expected)


async def test_the_whole_index_can_be_rebuilt(make: Make, tmp_path: Path) -> None:
    """Everything in the database is found again after the index was lost."""
    embedder = HashedEmbedder()
    service = make(embedder=embedder)
    await done(service, text("a.txt", "기린은 목이 길다."), text("b.txt", "코끼리는 크다."))
    for path in (tmp_path / "index").rglob("*"):
        if path.is_file():
            path.unlink()
    await service.rebuild()
    assert (await found(tmp_path, "기린"))[0] == "a.txt"


async def test_run_forever_works_until_cancelled(make: Make) -> None:
    """The worker picks up new jobs at once, and vectors do not hold them up."""
    index = MemoryIndex()
    service = make(index=index, embedder=HashedEmbedder())
    worker = asyncio.create_task(service.run_forever())
    first = await service.finished(await service.submit([text("a.txt", "한 문장이다.")]))
    second = await service.finished(await service.submit([text("b.txt", "또 한 문장이다.")]))
    assert (first.state, second.state) == ("done", "done")
    worker.cancel()
    with pytest.raises(asyncio.CancelledError):
        await worker
    assert index.doc_ids == {"a.txt", "b.txt"}


async def test_a_cancelled_worker_gives_its_jobs_back(make: Make, storage: Storage) -> None:
    """A shutdown in the middle leaves the job queued, not locked."""

    class Stuck(DirectParser):
        def parse(self, item: NewItem):  # type: ignore[no-untyped-def]
            started.set()
            ended.wait(5)
            return super().parse(item)

    started, ended = threading.Event(), threading.Event()
    service = make(parser=Stuck())
    job_id = await service.submit([text("a.txt", "한 문장이다.")])
    worker = asyncio.create_task(service._runner.step())
    await asyncio.to_thread(started.wait, 5)
    worker.cancel()
    with pytest.raises(asyncio.CancelledError):
        await worker
    ended.set()
    async with storage.reading() as s:
        job = await jobs.get(s, job_id)
    assert job is not None
    assert (job.state, job.attempts, job.locked_by) == ("queued", 0, None)


async def test_a_lost_lease_stops_the_work(make: Make, storage: Storage, clock: FakeClock) -> None:
    """A worker that was too slow stores nothing more; the new holder does the job."""

    class Robbed(DirectParser):
        def parse(self, item: NewItem):  # type: ignore[no-untyped-def]
            asyncio.run_coroutine_threadsafe(rob(), loop).result()
            return super().parse(item)

    async def rob() -> None:
        clock.pass_s(100)
        async with storage.session() as s:
            await jobs.lease(s, "another", kinds=("ingest",), now=clock.now())

    loop = asyncio.get_running_loop()
    job_id = await make(parser=Robbed()).submit([text("a.txt", "한 문장이다.")])
    await make(parser=Robbed())._runner.step()
    async with storage.reading() as s:
        job = await jobs.get(s, job_id)
        assert await documents.count(s) == 0
    assert job is not None
    assert (job.state, job.locked_by) == ("running", "another")
    clock.pass_s(100)
    service = make()
    await service.drain()
    assert (await service.finished(job_id)).state == "done"


def test_metadata_of_two_sources_is_joined() -> None:
    """What one does not say the other may."""
    ours = ItemMeta(id="a", tags=("x",))
    theirs = ItemMeta(id="b", title="T", tags=("y",))
    assert ours.over(theirs) == replace(ours, title="T")
