"""Documents, chunks and vectors on both engines."""

from __future__ import annotations

import numpy as np
import pytest

from apps.core.domain.models import Document, Passage, Source
from apps.core.errors import StorageDown
from apps.core.storage import documents
from apps.core.storage.engine import Storage

TEXT = "첫 문장이다. 둘째 문장이다."
EMBEDDER = "fake:3"


def document(doc_id: str = "a", text: str = TEXT, **more: object) -> Document:
    fields = {"title": "제목", "checksum": f"sum of {text}", "language": "ko", "format": "txt"}
    return Document(id=doc_id, text=text, **{**fields, **more})


def passages(of: Document, *cuts: tuple[int, int]) -> list[Passage]:
    source = Source(of.title, of.source_url, of.date, of.version)
    return [
        Passage(
            chunk_id=f"{of.id}:{number}",
            doc_id=of.id,
            title=of.title,
            text=of.text[start:end],
            start=start,
            end=end,
            language="ko",
            tags=of.tags,
            category=of.category,
            source=source,
        )
        for number, (start, end) in enumerate(cuts)
    ]


async def store(storage: Storage, of: Document, *cuts: tuple[int, int]) -> list[Passage]:
    made = passages(of, *(cuts or ((0, 7), (8, 16))))
    async with storage.session() as s:
        await documents.put(s, [of], now=1.0)
        await documents.put_chunks(s, {of.id: made})
    return made


async def test_a_document_comes_back_as_it_was_stored(storage: Storage) -> None:
    """Every field survives, and a second put replaces it."""
    first = document(
        tags=("가", "b"), category=("ai", "rag"), source_url="https://a.b", date="2025-01-02"
    )
    second = document(text="다른 글", version="2", license="CC0-1.0")
    await store(storage, first)
    async with storage.reading() as s:
        assert await documents.get(s, "a") == first
        assert await documents.get(s, "b") is None
    await store(storage, second, (0, 4))
    async with storage.reading() as s:
        assert await documents.get(s, "a") == second
        assert await documents.count(s) == 1


async def test_spans_are_counted_in_characters(storage: Storage) -> None:
    """A span is cut in characters, not bytes, and stops at the end of the text."""
    await store(storage, document())
    async with storage.reading() as s:
        assert await documents.span(s, "a", 8, 10) == TEXT[8:10] == "둘째"
        assert await documents.span(s, "a", 14, 99) == TEXT[14:]
        assert await documents.span(s, "a", 5, 2) == ""
        assert await documents.span(s, "b", 0, 1) is None


async def test_the_same_id_or_text_is_found(storage: Storage) -> None:
    """Documents are recognised by id and by the checksum of their text."""
    await store(storage, document("a"))
    await store(storage, document("b", "다른 글"), (0, 4))
    async with storage.reading() as s:
        found = await documents.same(s, ids=["b"], checksums=[f"sum of {TEXT}"])
        assert {each.id for each in found} == {"a", "b"}
        assert await documents.same(s, ids=["c"], checksums=["?"]) == []
        assert await documents.checksums(s, ["a", "c"]) == {"a": f"sum of {TEXT}"}


async def test_one_text_under_two_ids_is_refused_by_the_database(storage: Storage) -> None:
    """The checksum is unique; the loser of a race may try again and then sees the winner."""
    await store(storage, document("a"))
    with pytest.raises(StorageDown):
        await store(storage, document("b"))


async def test_lists_go_on_behind_a_cursor(storage: Storage) -> None:
    """Pages follow each other in the order of ids, with sizes and without text."""
    for number in range(5):
        await store(storage, document(f"d{number}", f"글 {number}"), (0, 3))
    async with storage.reading() as s:
        page = await documents.listed(s, limit=2)
        rest = await documents.listed(s, after=page[-1].document.id, limit=9)
        assert await documents.ids(s, after="d2") == ["d3", "d4"]
    assert [row.document.id for row in page + rest] == [f"d{number}" for number in range(5)]
    assert (page[0].chars, page[0].chunks, page[0].document.text) == (3, 1, "")


async def test_passages_for_the_index_are_exact_slices_with_their_vectors(storage: Storage) -> None:
    """A passage is the text at its offsets, with the vector of the asked embedder or none."""
    made = await store(storage, document(tags=("t",), category=("ai",)))
    async with storage.session() as s:
        await documents.put_vectors(s, {"a:0": np.ones(3)}, embedder_id=EMBEDDER)
    async with storage.reading() as s:
        rows = await documents.indexable(s, ["a", "x"], embedder_id=EMBEDDER)
        plain = await documents.indexable(s, ["a"], embedder_id=None)
    assert [row.passage for row in rows] == made
    assert rows[0].vector is not None
    assert rows[0].vector.tolist() == [1, 1, 1]
    assert [row.vector for row in [rows[1], *plain]] == [None, None, None]


async def test_waiting_chunks_are_those_without_this_embedders_vector(storage: Storage) -> None:
    """Another embedder's vector does not count; stored ones can be read back."""
    await store(storage, document())
    async with storage.session() as s:
        await documents.put_vectors(s, {"a:0": np.ones(3)}, embedder_id="other")
        await documents.put_vectors(s, {"a:0": np.ones(3), "x": np.ones(3)}, embedder_id=EMBEDDER)
        await documents.put_vectors(s, {"a:0": np.zeros(3)}, embedder_id=EMBEDDER)
    async with storage.reading() as s:
        (waiting,) = await documents.waiting(s, EMBEDDER, limit=9)
        assert await documents.count_waiting(s, EMBEDDER) == 1
        stored = await documents.vectors_of(s, ["a:0", "a:1"], embedder_id=EMBEDDER)
    assert waiting == documents.Waiting("a:1", "제목", TEXT[8:16])
    assert {key: value.tolist() for key, value in stored.items()} == {"a:0": [1, 1, 1]}


async def test_new_chunks_and_removal_take_the_old_vectors_along(storage: Storage) -> None:
    """Chunks and vectors never outlive what they were cut from."""
    await store(storage, document())
    async with storage.session() as s:
        await documents.put_vectors(s, {"a:0": np.ones(3)}, embedder_id=EMBEDDER)
    await store(storage, document(text="새 글이다"), (0, 5))
    async with storage.session() as s:
        assert await documents.vectors_of(s, ["a:0"], embedder_id=EMBEDDER) == {}
        assert await documents.remove(s, "a")
        assert not await documents.remove(s, "a")
    async with storage.reading() as s:
        assert await documents.indexable(s, ["a"], embedder_id=None) == []
        assert await documents.count_waiting(s, EMBEDDER) == 0
