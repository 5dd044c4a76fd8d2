"""Documents and jobs over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from apps.api.main import create_app
from apps.api.schemas.documents import (
    DocumentPageReply,
    DocumentReply,
    JobReply,
    QueuedReply,
    SpanReply,
)
from apps.api.uploads import safe_name
from apps.core.domain.models import Document
from apps.core.settings import Settings
from tests.api.conftest import serving
from tests.fakes.services import World

ROOT = "/api/v1/documents"
TEXT = "색인은 매일 밤 갱신된다. The index is renewed every night."


@pytest.fixture
async def writer(world: World, settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A client that may write and search."""
    secret = world.stores.keys.add("documents:write", "search")
    async with serving(create_app(settings, opening=world.opening)) as client:
        client.headers["X-API-Key"] = secret
        yield client


def stored(world: World, doc_id: str) -> None:
    """Put a document where the routes find it."""
    world.stores.documents.rows[doc_id] = Document(doc_id, "t", TEXT, "0" * 64, "ko", "txt")


async def test_files_are_queued(writer: httpx.AsyncClient, world: World) -> None:
    """Each file becomes an item with the form's fields; the job tells how far it is."""
    files = [("files", ("../a.txt", TEXT.encode())), ("files", ("b.md", b"# b"))]
    form = {"tags": "x, y", "category": "ai/rag", "language": "ko", "date": "2025-01-02"}
    reply = await writer.post(ROOT, files=files, data=form)
    assert reply.status_code == 202
    job_id = QueuedReply.model_validate_json(reply.content).job_id
    first, second = world.intake.items
    assert (first.name, first.content, second.name) == ("a.txt", TEXT.encode(), "b.md")
    assert (first.meta.tags, first.meta.category) == (("x", "y"), ("ai", "rag"))
    job = JobReply.model_validate_json((await writer.get(f"/api/v1/jobs/{job_id}")).content)
    assert (job.state, job.progress, job.counts) == ("done", 1.0, {"stored": 2})


async def test_texts_and_an_address(writer: httpx.AsyncClient, world: World) -> None:
    """JSON brings texts with all that is known of them, or one URL."""
    text = {"id": "n1", "title": "메모", "text": TEXT, "tags": ["x"], "date": "2025-01-02"}
    assert (await writer.post(ROOT, json={"documents": [text]})).status_code == 202
    item = world.intake.items[0]
    assert (item.meta.id, item.meta.title, item.format) == ("n1", "메모", "txt")
    assert (await writer.post(ROOT, json={"url": "https://example.org/a"})).status_code == 202
    assert world.intake.urls == ["https://example.org/a"]


async def test_an_id_may_be_korean(writer: httpx.AsyncClient, world: World) -> None:
    """What a file's name became can be given again, to replace that document."""
    text = {"id": "휴가-규정.md", "title": "휴가", "text": TEXT}
    assert (await writer.post(ROOT, json={"documents": [text]})).status_code == 202
    assert world.intake.items[0].meta.id == "휴가-규정.md"


async def test_waiting_until_searchable(writer: httpx.AsyncClient, world: World) -> None:
    """`wait=true` answers 201 with the finished job, 202 when it failed."""
    body = {"documents": [{"title": "t", "text": TEXT}]}
    reply = await writer.post(f"{ROOT}/?wait=true", json=body)
    assert (reply.status_code, JobReply.model_validate_json(reply.content).state) == (201, "done")
    world.intake.state = "failed"
    reply = await writer.post(f"{ROOT}?wait=true", json=body)
    assert (reply.status_code, reply.json()["state"]) == (202, "failed")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"url": "https://example.org", "documents": []},
        {"url": "ftp://example.org/a"},
        {"documents": [{"title": "t", "text": "x", "id": "a/b"}]},
        {"documents": [{"title": "t", "text": "x", "date": "2025-13-01"}]},
    ],
)
async def test_unusable_submissions(writer: httpx.AsyncClient, body: dict[str, object]) -> None:
    """They are refused before anything is queued."""
    assert (await writer.post(ROOT, json=body)).status_code == 422


async def test_unusable_forms(writer: httpx.AsyncClient, world: World) -> None:
    """No file, a broken form, an unknown field, too large a file."""
    multipart = {"Content-Type": "multipart/form-data; boundary=x"}
    empty = await writer.post(ROOT, content=b"--x--\r\n", headers=multipart)
    assert (empty.status_code, empty.json()["code"]) == (422, "missing_parameter")
    broken = await writer.post(ROOT, content=b"nonsense", headers=multipart)
    assert broken.status_code == 400
    no_boundary = {"Content-Type": "multipart/form-data"}
    assert (await writer.post(ROOT, content=b"x", headers=no_boundary)).status_code == 400
    file = {"files": ("a.txt", b"x")}
    assert (await writer.post(ROOT, files=file, data={"what": "x"})).status_code == 422
    twice = httpx.Request("POST", "http://x", files=file, data={"tags": ["a", "b"]})
    assert (await writer.post(ROOT, content=twice.read(), headers=twice.headers)).status_code == 422
    assert world.intake.items == []


async def test_a_file_over_the_limit(world: World) -> None:
    """A file may be as large as the setting says and no larger."""
    secret = world.stores.keys.add("documents:write")
    app = create_app(Settings(MAX_UPLOAD_BYTES=2000), opening=world.opening)
    async with serving(app) as client:
        headers = {"X-API-Key": secret}
        for size, status in ((2000, 202), (2001, 413)):
            files = {"files": ("a.txt", b"x" * size)}
            assert (await client.post(ROOT, files=files, headers=headers)).status_code == status


async def test_reading_documents(writer: httpx.AsyncClient, world: World) -> None:
    """A list by pages, one with its text, and a span in the offsets of citations."""
    for doc_id in ("a", "b", "c"):
        stored(world, doc_id)
    page = DocumentPageReply.model_validate_json((await writer.get(f"{ROOT}?limit=2")).content)
    assert ([each.doc_id for each in page.documents], page.total, page.next) == (["a", "b"], 3, "b")
    last = (await writer.get(f"{ROOT}?limit=2&after={page.next}")).json()
    assert ([each["doc_id"] for each in last["documents"]], last["next"]) == (["c"], None)
    whole = DocumentReply.model_validate_json((await writer.get(f"{ROOT}/a")).content)
    assert whole.text == TEXT
    cut = await writer.get(f"{ROOT}/a/spans?start=4&end=8")
    assert SpanReply.model_validate_json(cut.content).text == TEXT[4:8]
    assert (await writer.get(f"{ROOT}/a/spans?start=8&end=4")).json()["text"] == ""


@pytest.mark.parametrize("query", ["", "?start=1", "?start=-1&end=2", "?start=x&end=2"])
async def test_spans_that_are_none(writer: httpx.AsyncClient, world: World, query: str) -> None:
    """Missing, negative or not numbers."""
    stored(world, "a")
    reply = await writer.get(f"{ROOT}/a/spans{query}")
    assert reply.status_code == 422
    assert reply.json()["code"] in {"validation_error", "missing_parameter"}


async def test_deleting(writer: httpx.AsyncClient, world: World) -> None:
    """Once; the second time there is nothing."""
    world.intake.documents.add("a")
    assert (await writer.delete(f"{ROOT}/a")).json() == {"doc_id": "a", "deleted": True}
    assert (await writer.delete(f"{ROOT}/a")).status_code == 404


async def test_what_is_not_there(writer: httpx.AsyncClient) -> None:
    """Documents, spans and jobs."""
    for path in (f"{ROOT}/x", f"{ROOT}/x/spans?start=0&end=1", "/api/v1/jobs/x"):
        assert (await writer.get(path)).status_code == 404


async def test_one_submission_for_one_key(writer: httpx.AsyncClient, world: World) -> None:
    """The same files under the same Idempotency-Key are queued once, whatever the boundary."""
    headers = {"Idempotency-Key": "k"}
    files = {"files": ("a.txt", b"x")}
    first = await writer.post(ROOT, files=files, headers=headers)
    second = await writer.post(ROOT, files=files, headers=headers)
    assert first.json() == second.json()
    assert len(world.intake.items) == 1
    other = await writer.post(ROOT, files={"files": ("a.txt", b"y")}, headers=headers)
    assert other.status_code == 409


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\a\\b.docx", "b.docx"),
        ("한글.hwp", "한글.hwp"),
        ("a\n\x00b.txt", "ab.txt"),
        ("..", "file"),
        ("", "file"),
        ("x" * 300 + ".pdf", "x" * 251 + ".pdf"),
    ],
)
def test_names_of_files(given: str, kept: str) -> None:
    """Only the last part, printable, with its ending."""
    assert safe_name(given) == kept
