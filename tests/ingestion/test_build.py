"""Publishing: extending equals rebuilding, repeating changes nothing, a crash leaves the old."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.core.artifacts import manifest as manifests
from apps.core.artifacts import versions
from apps.core.domain.models import SearchQuery
from apps.core.errors import IndexNotReady, Unprocessable
from apps.core.retrieval.options import SearchOptions
from apps.core.retrieval.search import Search
from apps.ingestion import build
from apps.ingestion.build import IndexRow
from tests.fakes.embedder import HashedEmbedder
from tests.fakes.passages import SMALL, passage

NOON = 1_700_000_000.0
EMBEDDER = HashedEmbedder()


def row(doc_id: str, text: str, *, number: int = 0, vector: bool = True) -> IndexRow:
    """A row with its vector."""
    made = passage(doc_id, text, number=number)
    return IndexRow(made, EMBEDDER.passages([text])[0] if vector else None)


def publish(root: Path, rows: list[IndexRow], *removed: str, full: bool = False) -> str:
    """Publish with the fake embedder."""
    return build.publish(
        root,
        added=rows,
        removed_doc_ids=removed,
        embedder_id=EMBEDDER.id,
        full=full,
        now=NOON,
    )


def opened(root: Path) -> Search:
    """What is published now."""
    search = Search(root, embedder=EMBEDDER, options=SearchOptions())
    search.refresh()
    return search


def contents(root: Path) -> dict[str, str]:
    """Text of every chunk that is alive."""
    index = opened(root)._open
    assert index is not None
    return {chunk: index.rows.passage(at).text for chunk, at in index.rows.row_of.items()}


def test_a_document_replaces_what_it_had(tmp_path: Path) -> None:
    """A document that became shorter leaves no old chunk behind."""
    publish(tmp_path, [row("a", "하나"), row("a", "둘", number=1), row("b", "셋")])
    publish(tmp_path, [row("a", "넷")])
    assert contents(tmp_path) == {"a#0": "넷", "b#0": "셋"}
    publish(tmp_path, [], "a")
    assert contents(tmp_path) == {"b#0": "셋"}


def test_repeating_changes_nothing(tmp_path: Path) -> None:
    """Publishing the same again gives the same contents; removing the absent builds nothing."""
    publish(tmp_path, [row("a", "하나")])
    first = contents(tmp_path)
    publish(tmp_path, [row("a", "하나")])
    version = publish(tmp_path, [], "never there")
    assert contents(tmp_path) == first
    assert version == versions.latest(tmp_path)
    assert len(versions.versions(tmp_path)) == 2


TEXTS = st.sampled_from(["서울 한강", "부산 바다", "cell biology", "한국은행 금리", "school rules"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from("abcdef"), st.lists(TEXTS, max_size=3)),
        st.tuples(st.just("remove"), st.sampled_from("abcdef"), st.just([])),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=12, deadline=None)
@given(STEPS)
async def test_extending_equals_rebuilding(steps: list[tuple[str, str, list[str]]]) -> None:
    """After any additions and removals the index finds what one built anew would find."""
    import tempfile

    kept: dict[str, list[IndexRow]] = {}
    with tempfile.TemporaryDirectory() as directory:
        grown, fresh = Path(directory) / "grown", Path(directory) / "fresh"
        publish(grown, [])
        for action, doc_id, texts in steps:
            rows = [row(doc_id, text, number=at) for at, text in enumerate(texts)]
            kept[doc_id] = rows
            if action == "add" and rows:
                publish(grown, rows)
            else:
                publish(grown, [], doc_id)
        publish(fresh, [each for rows in kept.values() for each in rows], full=True)
        assert contents(grown) == contents(fresh)
        one, other = opened(grown), opened(fresh)
        assert (one.passages, one.vectors) == (other.passages, other.vectors)
        for text in ("한강 바다 금리", "cell school"):
            for mode in ("lexical", "dense"):
                query = SearchQuery(text, top_k=50, mode=mode)  # type: ignore[arg-type]
                found = {hit.passage for hit in (await one.search(query)).hits}
                assert found == {hit.passage for hit in (await other.search(query)).hits}


def test_gaps_are_closed_when_they_are_many(tmp_path: Path) -> None:
    """Above three rows of ten dead the next version is written anew, vectors included."""
    publish(tmp_path, [row(f"d{number}", f"문서 {number}번") for number in range(10)])
    publish(tmp_path, [], "d0", "d1")
    sparse = manifests.read(tmp_path / str(versions.latest(tmp_path)))
    assert (sparse.rows, sparse.passages, sparse.vectors) == (10, 8, 8)
    publish(tmp_path, [row("new", "새 문서")], "d2", "d3")
    dense = manifests.read(tmp_path / str(versions.latest(tmp_path)))
    assert (dense.rows, dense.passages, dense.vectors) == (7, 7, 7)
    index = opened(tmp_path)._open
    assert index is not None
    for chunk, at in index.rows.row_of.items():
        text = index.rows.passage(at).text
        assert chunk.split("#", maxsplit=1)[0] in ("new", *(f"d{n}" for n in range(4, 10)))
        assert np.allclose(index._dense.matrix[at], EMBEDDER.passages([text])[0])  # type: ignore[union-attr]


def test_lexical_files_are_shared_when_only_vectors_join(tmp_path: Path) -> None:
    """They are links of the same files, and a version with another document has its own."""
    old = publish(tmp_path, [row("d0", "문서 0번", vector=False)])
    vectors = {"d0#0": EMBEDDER.passages(["문서 0번"])[0]}
    joined = build.set_vectors(tmp_path, vectors, embedder_id=EMBEDDER.id, now=NOON)
    other = publish(tmp_path, [row("new", "새 문서")])
    links = {
        name: {path.stat().st_nlink for path in (tmp_path / name / "lexical").iterdir()}
        for name in (old, joined, other)
    }
    assert links == {old: {2}, joined: {2}, other: {1}}
    manifests.verify(tmp_path / old, manifests.read(tmp_path / old))


async def test_vectors_join_later(tmp_path: Path) -> None:
    """Chunks are searchable at once; their vectors come without touching the words."""
    rows = [row(each.doc_id, each.text, vector=False) for each in SMALL]
    publish(tmp_path, rows)
    search = opened(tmp_path)
    assert (search.passages, search.vectors) == (5, 0)
    vectors = {each.chunk_id: EMBEDDER.passages([each.text])[0] for each in SMALL[:3]}
    build.set_vectors(
        tmp_path, vectors | {"gone#0": vectors["bank#0"]}, embedder_id=EMBEDDER.id, now=NOON
    )
    search.refresh()
    assert (search.passages, search.vectors) == (5, 3)
    result = await search.search(SearchQuery("기준금리", mode="hybrid"))
    assert result.hits[0].passage.doc_id == "bank"
    assert result.hits[0].scores.dense == 1
    before = versions.latest(tmp_path)
    assert build.set_vectors(tmp_path, {}, embedder_id=EMBEDDER.id, now=NOON) == before


def test_vectors_of_two_embedders_never_mix(tmp_path: Path) -> None:
    """Another embedder's vectors replace all; another length under one name is refused."""
    publish(tmp_path, [row("a", "하나"), row("b", "둘")])
    other = HashedEmbedder("fake:other", dims=8)
    vector = other.passages(["하나"])[0]
    with pytest.raises(Unprocessable):
        build.set_vectors(tmp_path, {"a#0": vector}, embedder_id=EMBEDDER.id, now=NOON)
    build.set_vectors(tmp_path, {"a#0": vector}, embedder_id=other.id, now=NOON)
    card = manifests.read(tmp_path / str(versions.latest(tmp_path)))
    assert (card.embedder, card.dims, card.vectors, card.passages) == ("fake:other", 8, 1, 2)


def test_an_unknown_embedder_keeps_the_old_vectors(tmp_path: Path) -> None:
    """Publishing words without an embedder leaves earlier vectors where they are."""
    publish(tmp_path, [row("a", "하나")])
    build.publish(tmp_path, added=[row("b", "둘", vector=False)], embedder_id=None, now=NOON)
    card = manifests.read(tmp_path / str(versions.latest(tmp_path)))
    assert (card.embedder, card.vectors, card.passages) == (EMBEDDER.id, 1, 2)


def test_vectors_need_an_index(tmp_path: Path) -> None:
    """There is nothing to add vectors to before the first publication."""
    with pytest.raises(IndexNotReady):
        build.set_vectors(tmp_path, {}, embedder_id="x", now=NOON)


def test_a_damaged_version_is_not_extended(tmp_path: Path) -> None:
    """Extending would carry the damage on; a full build replaces it."""
    version = publish(tmp_path, [row("a", "하나")])
    (tmp_path / version / f"meta-{version}.json").write_text("[]")
    with pytest.raises(IndexNotReady, match="meta-"):
        publish(tmp_path, [row("b", "둘")])
    assert versions.latest(tmp_path) == version
    publish(tmp_path, [row("b", "둘")], full=True)
    assert contents(tmp_path) == {"b#0": "둘"}


def test_three_versions_are_kept(tmp_path: Path) -> None:
    """Older ones are removed, and the manifest names the one before."""
    names = [publish(tmp_path, [row("a", f"문서 {turn}")]) for turn in range(5)]
    assert versions.versions(tmp_path) == names[-3:]
    assert manifests.read(tmp_path / names[-1]).previous == names[-2]


def test_a_large_index_gets_an_inverted_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above the limit the version carries one, and the search uses it."""
    monkeypatch.setattr(build, "FAISS_ABOVE", 100)
    rows = [row(f"d{number}", f"문서 {number}번 {number % 7}") for number in range(200)]
    version = publish(tmp_path, rows)
    assert (tmp_path / version / f"ivf-{version}.faiss").is_file()
    search = Search(tmp_path, embedder=EMBEDDER, options=SearchOptions(faiss_above=50))
    search.refresh()
    index = search._open
    assert index is not None
    question = EMBEDDER.passages(["문서 33번 5"])[0]
    ranking = index.rank(SearchQuery("문서 33번"), question=question, use_lexical=False)
    assert ranking.hits[0].passage.doc_id == "d33"


def _publish_until_killed(root: Path, started: object) -> None:
    turn = 0
    while True:
        rows = [row(f"d{number}", f"판 {turn} 문서 {number}") for number in range(20)]
        publish(root, rows)
        started.set()  # type: ignore[attr-defined]
        turn += 1


@pytest.mark.slow
def test_a_killed_builder_leaves_a_whole_version(tmp_path: Path) -> None:
    """Six builders killed at different moments: what is served is always one whole turn."""
    context = multiprocessing.get_context("spawn")
    for attempt in range(6):
        started = context.Event()
        builder = context.Process(target=_publish_until_killed, args=(tmp_path, started))
        builder.start()
        started.wait()
        builder.join(0.02 * attempt)
        os.kill(builder.pid or 0, signal.SIGKILL)
        builder.join()
        texts = contents(tmp_path)
        assert len(texts) == 20
        assert len({text.split(" 문서")[0] for text in texts.values()}) == 1
    publish(tmp_path, [row("after", "다음")])
    assert len(contents(tmp_path)) == 21
    assert not list(tmp_path.glob(f"{versions.PARTIAL}*"))


def _publish_one(root: Path, number: int) -> None:
    publish(root, [row(f"d{number}", f"문서 {number}")])


def test_two_processes_publish_one_after_the_other(tmp_path: Path) -> None:
    """Nothing of either is lost."""
    context = multiprocessing.get_context("spawn")
    builders = [context.Process(target=_publish_one, args=(tmp_path, n)) for n in range(3)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()
    assert sorted(contents(tmp_path)) == ["d0#0", "d1#0", "d2#0"]
