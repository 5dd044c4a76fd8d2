"""From a parsed document to rows: masked, described, cut, recognised."""

from __future__ import annotations

import pytest

from apps.core.errors import Unprocessable
from apps.core.storage import documents
from apps.core.storage.engine import Storage
from apps.ingestion.items import ItemMeta, Parsed
from apps.ingestion.pipeline import ChunkSize, Origin, Outcome, Prepared, prepare, slug, store

SIZE = ChunkSize(60, 15)
TEXT = "담당자 전화는 010-1234-5678입니다. 문서는 매일 갱신됩니다. " * 6


def prepared(text: str = TEXT, name: str = "안내.md", **meta: object) -> Prepared:
    return prepare(Parsed(text), Origin(name, "md", ItemMeta(**meta)), SIZE)


def test_text_is_masked_before_anything_is_made_of_it() -> None:
    """Text, passages, title and tags hold no personal data; passages are exact slices."""
    made = prepared(title="문의 test@example.com", tags=("010-1234-5678",))
    text = made.document.text
    assert "5678" not in text
    assert "01**-****-****입니다" in text
    assert made.document.title == "문의 t***@e******.com"
    assert made.document.tags == ("01**-****-****",)
    assert len(made.passages) > 1
    assert all(each.text == text[each.start : each.end] for each in made.passages)


def test_what_is_said_of_a_document_is_masked_too() -> None:
    """Address, category, version and licence hold no personal data; their columns' widths hold."""
    made = prepared(
        source_url="https://example.org/?by=test@example.com",
        category=("사람", "010-1234-5678"),
        version="901201-1234567",
        license="9" * 40 + " M12345678 by a@b.kr",
    ).document
    assert made.source_url == "https://example.org/?by=t***@e******.com"
    assert made.category == ("사람", "01**-****-****")
    assert made.version == "90****-*******"
    assert made.license == ("9" * 40 + " [passport] by a***@b*.kr")[:64]


def test_the_caller_outranks_the_file_and_the_file_the_name() -> None:
    """Title, date and language come from the caller, else from the file, else are found."""
    found = Parsed("Plain words.", ItemMeta(title="파일", date="2024-01-01"))
    said = prepare(found, Origin("n.txt", "txt", ItemMeta(title="말", language="ko")), SIZE)
    assert (said.document.title, said.document.date, said.document.language) == (
        "말",
        "2024-01-01",
        "ko",
    )
    plain = prepare(Parsed("Plain words."), Origin("dir/n.txt", "txt", ItemMeta()), SIZE)
    assert (plain.document.title, plain.document.language) == ("n", "en")
    untitled = prepare(Parsed("첫 줄\n둘째"), Origin("", "txt", ItemMeta()), SIZE).document
    assert (untitled.title, untitled.id[:4]) == ("첫 줄", "doc-")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("guide.md", "guide.md"),
        ("보고서.pdf", "보고서.pdf"),
        ("docs/a b.md", "docs-a-b.md-"),
        ("https://example.org/x?y=1", "example.org-x-y-1-"),
        ("../../etc/passwd", "etc-passwd-"),
        ("가" * 300, "가" * 100 + "-"),
        ("***", ""),
    ],
)
def test_ids_are_made_of_names(name: str, expected: str) -> None:
    """Readable, safe, at most 128 characters; what was changed is told apart by a hash."""
    made = slug(name)
    assert made.startswith(expected)
    assert 0 < len(made) <= 128
    assert slug(name) == made


def test_two_names_that_look_alike_as_ids_stay_two() -> None:
    """A lost character does not make two names one."""
    assert slug("a b.md") != slug("a-b.md") != slug("a/b.md") != slug("a b.md")


def test_documents_of_one_file_have_their_own_ids() -> None:
    """A line's own id wins; else the file's id and a number; else the text's checksum."""
    meta = ItemMeta(id="set", title="전체", tags=("t",))

    def line(parsed: Parsed, said: ItemMeta) -> str:
        return prepare(parsed, Origin("a.jsonl", "jsonl", said, 3), SIZE).document.id

    assert line(Parsed("글", ItemMeta(id="own")), meta) == "own"
    assert line(Parsed("글"), meta) == "set-3"
    assert line(Parsed("글"), ItemMeta()).startswith("doc-")
    one = prepare(Parsed("글"), Origin("a.jsonl", "jsonl", meta, 3), SIZE).document
    assert (one.title, one.tags) == ("a", ("t",))


@pytest.mark.parametrize("given", ["x" * 129, "a\nb", "a\u200bb"])
def test_unusable_ids_are_refused(given: str) -> None:
    """An id is short and printable."""
    with pytest.raises(Unprocessable):
        prepared(id=given)


async def put(storage: Storage, what: Prepared) -> Outcome:
    async with storage.session() as s:
        return (await store(s, [what], now=1.0))[0]


async def test_storing_is_safe_to_repeat(storage: Storage) -> None:
    """The same document again is unchanged, and its chunks stay."""
    assert await put(storage, prepared(id="a")) == Outcome("stored", "a")
    assert await put(storage, prepared(id="a")) == Outcome("unchanged", "a")
    async with storage.reading() as s:
        rows = await documents.indexable(s, ["a"], embedder_id=None)
    assert [row.passage for row in rows] == list(prepared(id="a").passages)


async def test_the_same_text_under_another_id_is_a_duplicate(storage: Storage) -> None:
    """The outcome names the document that is there; nothing is stored."""
    await put(storage, prepared(id="a"))
    assert await put(storage, prepared(id="b")) == Outcome("duplicate", "a")
    async with storage.reading() as s:
        assert await documents.count(s) == 1


async def test_a_new_text_replaces_chunks_and_vectors(storage: Storage) -> None:
    """The same id with another text is an update: nothing of the old text is left."""
    await put(storage, prepared(id="a"))
    old = prepared(id="a").passages[0].chunk_id
    async with storage.session() as s:
        await documents.put_vectors(s, {old: [1.0]}, embedder_id="e")  # type: ignore[dict-item]
    assert await put(storage, prepared("새 글입니다.", id="a")) == Outcome("stored", "a")
    async with storage.reading() as s:
        rows = await documents.indexable(s, ["a"], embedder_id="e")
    assert [row.passage.text for row in rows] == ["새 글입니다."]
    assert rows[0].passage.chunk_id != old
    assert rows[0].vector is None


async def test_new_fields_keep_chunks_and_vectors(storage: Storage) -> None:
    """The same text with another title is stored, and nothing needs to be embedded again."""
    await put(storage, prepared(id="a"))
    chunk_id = prepared(id="a").passages[0].chunk_id
    async with storage.session() as s:
        await documents.put_vectors(s, {chunk_id: [1.0]}, embedder_id="e")  # type: ignore[dict-item]
    assert await put(storage, prepared(id="a", title="새 제목")) == Outcome("stored", "a")
    async with storage.reading() as s:
        first, *_ = await documents.indexable(s, ["a"], embedder_id="e")
    assert first.passage.title == "새 제목"
    assert first.vector is not None


async def test_an_update_to_the_text_of_another_document_is_a_duplicate(storage: Storage) -> None:
    """Two ids never share a text, not even by an update."""
    await put(storage, prepared(id="a"))
    await put(storage, prepared("다른 글.", id="b"))
    assert await put(storage, prepared(id="b")) == Outcome("duplicate", "a")


async def test_a_block_is_judged_as_if_one_by_one(storage: Storage) -> None:
    """Twins, repetitions and updates within one transaction come out as they would in turn."""
    texts = [
        ("a", "하나."),
        ("b", "하나."),
        ("a", "둘."),
        ("b", "하나."),
        ("a", "둘."),
        ("c", "둘."),
    ]
    block = [prepared(text, id=doc_id) for doc_id, text in texts]
    async with storage.session() as s:
        outcomes = await store(s, block, now=1.0)
    assert [(each.state, each.doc_id) for each in outcomes] == [
        ("stored", "a"),
        ("duplicate", "a"),
        ("stored", "a"),
        ("stored", "b"),
        ("unchanged", "a"),
        ("duplicate", "a"),
    ]
    async with storage.reading() as s:
        rows = await documents.indexable(s, ["a", "b", "c"], embedder_id=None)
    assert [(row.passage.doc_id, row.passage.text) for row in rows] == [
        ("a", "둘."),
        ("b", "하나."),
    ]
