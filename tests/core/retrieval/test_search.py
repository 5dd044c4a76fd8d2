"""Searching: what is found, what degrades, what is cached, and which version answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.core.artifacts import versions
from apps.core.domain.models import Filters, Hit, Passage, SearchQuery, SearchSignals, Usage
from apps.core.domain.ports import Embedder, FloatArray, Reranked
from apps.core.errors import IndexNotReady, NotFound, ProviderBusy
from apps.core.retrieval.index import OpenIndex
from apps.core.retrieval.loops import Loops
from apps.core.retrieval.options import SearchOptions
from apps.core.retrieval.search import Search
from apps.ingestion import build
from apps.ingestion.build import IndexRow
from tests.fakes.embedder import HashedEmbedder
from tests.fakes.passages import SMALL, passage

NOON = 1_700_000_000.0
Open = Callable[..., Search]


def publish(root: Path, passages: Sequence[Passage], embedder: Embedder | None = None) -> str:
    """Publish all of `passages` as the only ones."""
    vectors: Sequence[FloatArray | None] = [None] * len(passages)
    if embedder:
        vectors = list(embedder.passages([each.text for each in passages]))
    added = [IndexRow(each, vector) for each, vector in zip(passages, vectors, strict=True)]
    name = embedder.id if embedder else None
    return build.publish(root, added=added, embedder_id=name, full=True, now=NOON)


def opened(root: Path, embedder: Embedder | None = None, **options: object) -> Search:
    """A search over `root`."""
    return Search(root, embedder=embedder, options=SearchOptions(**options))  # type: ignore[arg-type]


async def ids(search: Search, text: str, **wishes: object) -> list[str]:
    """Documents found for `text`."""
    result = await search.search(SearchQuery(text, **wishes))  # type: ignore[arg-type]
    return [hit.passage.doc_id for hit in result.hits]


async def test_the_words_of_a_question_find_its_passage(tmp_path: Path) -> None:
    """Korean with particles, Latin words, titles and English find their passage first."""
    publish(tmp_path, SMALL)
    search = opened(tmp_path)
    assert (await ids(search, "기준금리는 누가 결정하나요?"))[0] == "bank"
    assert (await ids(search, "useEffect가 언제 실행돼?"))[0] == "react"
    assert (await ids(search, "Is corporal punishment banned?"))[0] == "school"
    assert await ids(search, "zzz") == []
    assert await ids(search, "...") == []


async def test_hits_carry_scores_and_signals(tmp_path: Path) -> None:
    """Scores are sorted in 0..1, the legs are named, and the signals say what they felt."""
    embedder = HashedEmbedder()
    publish(tmp_path, SMALL, embedder)
    result = await opened(tmp_path, embedder).search(
        SearchQuery("한강은 서울을 지나 어디로 흐르나")
    )
    scores = [hit.score for hit in result.hits]
    assert result.mode == "hybrid"
    assert result.language == "ko"
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert result.hits[0].scores.lexical == 1
    assert result.hits[0].scores.dense is not None
    assert result.total_candidates >= len(result.hits)
    assert result.signals.lexical_top >= result.signals.lexical_gap > 0
    assert 0.3 < result.signals.coverage <= 1
    assert result.signals.dense_top is not None
    assert result.signals.agreement is not None


async def test_modes_use_the_legs_they_name(tmp_path: Path) -> None:
    """A lexical search asks for no vector; a dense one finds what shares no word."""
    embedder = HashedEmbedder()
    publish(tmp_path, SMALL, embedder)
    search = opened(tmp_path, embedder)
    lexical = await search.search(SearchQuery("금리", mode="lexical"))
    assert (lexical.mode, embedder.asked) == ("lexical", [])
    dense = await search.search(SearchQuery("zzz", mode="dense"))
    assert dense.mode == "dense"
    assert len(dense.hits) == 5
    assert all(hit.scores.lexical is None for hit in dense.hits)
    assert (await search.search(SearchQuery("금리"))).mode == "hybrid"
    assert (await opened(tmp_path, embedder, hybrid=False).search(SearchQuery("금리"))).mode == (
        "lexical"
    )


async def test_a_query_may_weigh_the_legs(tmp_path: Path) -> None:
    """Its own weight, also against the configured one; one is the other's order, none its own."""
    embedder = HashedEmbedder()
    publish(tmp_path, SMALL, embedder)
    search, question = opened(tmp_path, embedder, dense_weight=0.0), "한강은 어디로 흐르나"
    light = await search.search(SearchQuery(question, dense_weight=0.0))
    heavy = await search.search(SearchQuery(question, dense_weight=1.0))
    assert light.hits == (await search.search(SearchQuery(question))).hits
    assert all(hit.score == hit.scores.dense for hit in heavy.hits)
    assert [hit.score for hit in heavy.hits] != [hit.score for hit in light.hits]


async def test_a_missing_dense_leg_is_named(tmp_path: Path) -> None:
    """Without vectors, with another embedder's, or with a dead one, words go on alone."""
    embedder = HashedEmbedder()
    publish(tmp_path / "bare", SMALL)
    publish(tmp_path / "full", SMALL, embedder)
    cases = [
        (opened(tmp_path / "bare", embedder), None, ("dense",)),
        (opened(tmp_path / "full", HashedEmbedder("fake:other")), None, ("dense",)),
        (opened(tmp_path / "full"), "hybrid", ("dense",)),
        (opened(tmp_path / "full"), "dense", ("dense",)),
        (opened(tmp_path / "full"), None, ()),
    ]
    for search, mode, degraded in cases:
        result = await search.search(SearchQuery("금리", mode=mode))  # type: ignore[arg-type]
        assert (result.mode, result.degraded) == ("lexical", degraded)
        assert result.hits[0].passage.doc_id == "bank"
    search = opened(tmp_path / "full", embedder)
    embedder.down = True
    assert (await search.search(SearchQuery("금리"))).degraded == ("dense",)
    embedder.down = False
    again = await search.search(SearchQuery("금리"))
    assert (again.degraded, again.cached) == ((), False)


async def test_the_second_time_is_cached_until_the_version_changes(tmp_path: Path) -> None:
    """Same query, same version: cached, and the question is embedded once for all options."""
    embedder = HashedEmbedder()
    publish(tmp_path, SMALL, embedder)
    search = opened(tmp_path, embedder)
    first = await search.search(SearchQuery("금리"))
    before = len(embedder.asked)
    second = await search.search(SearchQuery("금리"))
    assert (first.cached, second.cached, second.hits) == (False, True, first.hits)
    assert not (await search.search(SearchQuery("금리", top_k=2))).cached
    assert len(embedder.asked) == before
    publish(tmp_path, SMALL[:2], embedder)
    await asyncio.sleep(0)  # the next request comes in a later turn of the loop
    third = await search.search(SearchQuery("금리"))
    assert (third.cached, third.index_version != first.index_version) == (False, True)
    assert not (await opened(tmp_path, cache_entries=0).search(SearchQuery("금리"))).cached


async def test_min_score_and_top_k_cut_the_list(tmp_path: Path) -> None:
    """Nothing below the wished score is returned, and no more than asked for."""
    publish(tmp_path, SMALL)
    search = opened(tmp_path)
    text = "한국은행 금리 한강 서울"
    assert len(await ids(search, text)) == 2
    assert await ids(search, text, min_score=0.9) == ["bank"]
    assert await ids(search, text, top_k=1) == ["bank"]


async def test_nothing_published_is_not_ready(tmp_path: Path) -> None:
    """Before the first version a search fails with a reason, and an empty one finds nothing."""
    search = opened(tmp_path)
    assert not search.refresh()
    assert (search.version, search.passages, search.passage("x")) == (None, 0, None)
    with pytest.raises(IndexNotReady):
        await search.search(SearchQuery("금리"))
    version = publish(tmp_path, [])
    await asyncio.sleep(0)  # the next request comes in a later turn of the loop
    assert await ids(search, "금리") == []
    assert (search.version, search.passages, search.vectors) == (version, 0, 0)


async def test_a_named_version_is_searched(tmp_path: Path) -> None:
    """An older version answers when it is named, and an unknown one does not exist."""
    old = publish(tmp_path, SMALL[:1])
    publish(tmp_path, SMALL)
    search = opened(tmp_path)
    assert await ids(search, "한국은행 한강", version=old) == ["river"]
    assert sorted(await ids(search, "한국은행 한강")) == ["bank", "river"]
    with pytest.raises(NotFound):
        await search.search(SearchQuery("금리", version="../etc"))


@pytest.mark.parametrize("name", ["index", "meta", "offsets", "columns", "lexical", "manifest"])
async def test_a_damaged_version_is_refused_and_the_old_one_stays(
    tmp_path: Path, name: str
) -> None:
    """Whatever file is damaged, it is named and the version before goes on answering."""
    embedder = HashedEmbedder()
    old = publish(tmp_path, SMALL[:2], embedder)
    search = opened(tmp_path, embedder)
    assert search.refresh()
    new = publish(tmp_path, SMALL, embedder)
    victim = next(
        path
        for path in sorted((tmp_path / new).rglob("*"))
        if path.is_file()
        and path.relative_to(tmp_path / new).as_posix().startswith(name)
        and path.stat().st_size
    )
    body = bytearray(victim.read_bytes())
    body[len(body) // 2] ^= 0x10
    victim.write_bytes(bytes(body))
    result = await search.search(SearchQuery("한국은행"))
    assert result.index_version == old
    assert search.refused is not None
    assert victim.name in search.refused
    cold = opened(tmp_path, embedder)
    assert cold.refresh()
    assert cold.version == old
    versions.switch(tmp_path, old)
    search.refresh()
    assert search.refused is None


async def test_a_query_keeps_its_version_when_it_is_replaced_and_removed(tmp_path: Path) -> None:
    """An open version answers although its directory is gone."""
    publish(tmp_path, SMALL)
    search = opened(tmp_path)
    search.refresh()
    held = search._open
    assert held is not None
    for _ in range(5):
        publish(tmp_path, SMALL[:1])
    search.refresh()
    assert held.manifest.version not in versions.versions(tmp_path)
    ranking = held.rank(SearchQuery("기준금리 결정"), question=None, use_lexical=True)
    assert ranking.hits[0].passage.doc_id == "bank"


class Reversed:
    """A reranker that likes the last hit best, or is down."""

    id = "reversed"

    def __init__(self, *, down: bool = False) -> None:
        self._down = down
        self.asked: list[tuple[str, int]] = []

    async def rerank(self, question: str, hits: Sequence[Hit]) -> Reranked:
        self.asked.append((question, len(hits)))
        if self._down:
            raise ProviderBusy("down")
        return Reranked(np.arange(len(hits), dtype=np.float32) * 7 - 3, Usage(llm_calls=1))


async def test_a_reranker_has_the_last_word_and_may_be_down(tmp_path: Path) -> None:
    """Its order and its scaled scores are returned; without it the fused order stays."""
    publish(tmp_path, SMALL)
    text = "한국은행 금리 한강 서울"
    plain = await ids(opened(tmp_path), text)
    options = SearchOptions(rerank=True)
    search = Search(tmp_path, embedder=None, options=options, reranker=Reversed())
    result = await search.search(SearchQuery(text))
    assert [hit.passage.doc_id for hit in result.hits] == plain[::-1]
    assert [hit.score for hit in result.hits] == [1.0, 0.0]
    assert result.hits[0].scores.rerank == 1
    assert await ids(search, text, rerank=False) == plain
    down = Search(tmp_path, embedder=None, options=options, reranker=Reversed(down=True))
    result = await down.search(SearchQuery(text))
    assert (len(result.hits), result.degraded) == (2, ("rerank",))


TWO = "한국은행 금리 한강 서울"


def reversing(root: Path, reranker: Reversed | None, **options: object) -> Search:
    """A search whose flag is on."""
    chosen = SearchOptions(rerank=True, **options)  # type: ignore[arg-type]
    return Search(root, embedder=None, options=chosen, reranker=reranker)


async def test_the_reranker_is_asked_only_where_it_is_wished(tmp_path: Path) -> None:
    """Not when the flag is off, not for what has no order, and not again for what is known."""
    publish(tmp_path, SMALL)
    ranks = Reversed()
    search = reversing(tmp_path, ranks)
    for text, wishes in [(TWO, {"rerank": False}), ("zzz", {}), ("chloroplast", {})]:
        result = await search.search(SearchQuery(text, **wishes))  # type: ignore[arg-type]
        assert (result.degraded, result.usage) == ((), Usage())
    assert ranks.asked == []
    first, second = [await search.search(SearchQuery(TWO, top_k=1)) for _ in range(2)]
    assert ranks.asked == [(TWO, 2)]
    assert (first.usage.llm_calls, second.usage.llm_calls) == (1, 0)
    assert first.hits == second.hits


async def test_a_wish_without_a_reranker_is_degraded(tmp_path: Path) -> None:
    """Where there is something to rank."""
    publish(tmp_path, SMALL)
    search = reversing(tmp_path, None)
    assert (await search.search(SearchQuery(TWO))).degraded == ("rerank",)
    assert (await search.search(SearchQuery("zzz"))).degraded == ()


async def test_a_failed_reranker_leaves_the_order_and_is_asked_again(tmp_path: Path) -> None:
    """All but `degraded` is as in a search without it, and a degraded result is not kept."""
    texts = [
        f"{'가나다라'[n % 4]} 이야기 " * (n % 3 + 1) + "한강 금리" * (n % 5) for n in range(90)
    ]
    publish(tmp_path, [passage(f"d{n}", text) for n, text in enumerate(texts)])
    query = SearchQuery("한강 금리 가 이야기", top_k=10)
    plain = await opened(tmp_path).search(query)
    ranks = Reversed(down=True)
    search = reversing(tmp_path, ranks)
    for _ in range(2):
        assert await search.search(query) == plain._replace(degraded=("rerank",))
    assert [number for _, number in ranks.asked] == [40, 40]


async def test_min_score_is_about_the_score_that_is_seen(tmp_path: Path) -> None:
    """After reranking that is the reranker's, after its failure the legs'."""
    publish(tmp_path, SMALL)
    plain = await ids(opened(tmp_path), TWO)
    assert await ids(reversing(tmp_path, Reversed()), TWO, min_score=0.9) == plain[1:]
    down = reversing(tmp_path, Reversed(down=True))
    assert await ids(down, TWO, min_score=0.9) == plain[:1]


async def test_reranking_keeps_to_the_filter_and_to_the_number(tmp_path: Path) -> None:
    """It sees four times what is wished, and only what the caller may see."""
    crowd = [passage(f"d{n}", "같은 문장이다", tags=("a" if n % 2 else "b",)) for n in range(30)]
    publish(tmp_path, crowd)
    ranks = Reversed()
    search = reversing(tmp_path, ranks)
    query = SearchQuery("같은 문장", top_k=3, mode="lexical", filters=Filters(tags=("a",)))
    result = await search.search(query)
    assert ranks.asked == [("같은 문장", 12)]
    assert [hit.passage.tags for hit in result.hits] == [("a",)] * 3
    assert [hit.passage.doc_id for hit in result.hits] == ["d23", "d21", "d19"]
    assert all(hit.scores.rerank == hit.score for hit in result.hits)


async def test_the_reranker_reads_a_masked_question(tmp_path: Path) -> None:
    """No number of a person leaves the house."""
    publish(tmp_path, SMALL)
    ranks = Reversed()
    await reversing(tmp_path, ranks).search(SearchQuery(f"{TWO} 010-7391-4826"))
    assert "7391" not in ranks.asked[0][0]


async def test_highlights_are_the_question_in_the_text(tmp_path: Path) -> None:
    """Marked spans hold the question's words without their particles, borders included."""
    publish(tmp_path, SMALL)
    search = opened(tmp_path)
    for text, marked in [
        ("기준금리를 결정한 곳", {"기준금리", "결정한"}),
        ("when does useEffect run", {"useEffect"}),
        ("schools", {"schools"}),
    ]:
        hit = (await search.search(SearchQuery(text, highlight=True))).hits[0]
        assert {hit.passage.text[a:b] for a, b in hit.highlights} == marked


NAMES = "가나다라"
POOL = [
    passage(
        f"{kind}{number}",
        "검색 공통 문장이다." if number % 2 else "search common words",
        tags=(NAMES[number % 4],),
        category=("ai", NAMES[number % 3]),
        date=f"2024-01-{number + 1:02}" if number % 5 else None,
    )
    for number in range(12)
    for kind in "pq"
]
FILTERS = st.builds(
    Filters,
    doc_ids=st.lists(st.sampled_from(["p1", "q2", "p3", "\ud800"]), max_size=2).map(tuple),
    tags=st.lists(st.sampled_from([*NAMES, "없음"]), max_size=2).map(tuple),
    canonical_in=st.lists(st.sampled_from([("ai",), ("ai", "가"), ("bi",), ()]), max_size=2).map(
        tuple
    ),
    language=st.sampled_from([None, "ko", "en"]),
    date_from=st.sampled_from([None, "2024-01-05"]),
    date_to=st.sampled_from([None, "2024-01-08", "2023-01-01"]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(FILTERS, st.sampled_from(["hybrid", "lexical", "dense"]))
async def test_no_leg_leaks_past_a_filter(pool: Search, filters: Filters, mode: str) -> None:
    """Exactly the admitted passages are found by each mode: none leaks and none is lost."""
    from apps.core.retrieval.filters import admits

    query = SearchQuery("검색 공통 search common", top_k=50, mode=mode, filters=filters)  # type: ignore[arg-type]
    found = [hit.passage.doc_id for hit in (await pool.search(query)).hits]
    assert sorted(found) == sorted(each.doc_id for each in POOL if admits(filters, each))


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Search:
    """Twenty-four passages with every kind of field."""
    root = tmp_path_factory.mktemp("pool")
    embedder = HashedEmbedder()
    publish(root, POOL, embedder)
    return opened(root, embedder)


@pytest.mark.parametrize("mode", ["hybrid", "lexical", "dense"])
async def test_an_answer_repeats_itself(tmp_path: Path, mode: str) -> None:
    """The same question gives the same hits when it is cached, and to a process that opens anew."""
    embedder = HashedEmbedder()
    publish(tmp_path, POOL, embedder)
    search = opened(tmp_path, embedder)
    query = SearchQuery("검색 공통 search common", top_k=20, mode=mode)  # type: ignore[arg-type]
    first, second = await search.search(query), await search.search(query)
    again = await opened(tmp_path, embedder, cache_entries=0).search(query)
    assert second.cached
    assert not first.cached
    assert first.hits == second.hits == again.hits


async def test_equals_stand_in_the_order_of_rows(tmp_path: Path) -> None:
    """Passages with the same words have the same score, and the one indexed first leads."""
    publish(tmp_path, [passage(f"d{number}", "같은 문장이다") for number in range(9)])
    result = await opened(tmp_path).search(SearchQuery("같은 문장", top_k=9))
    assert [hit.passage.doc_id for hit in result.hits] == [f"d{number}" for number in range(9)]
    assert len({hit.score for hit in result.hits}) == 1


async def test_signals_are_taken_only_for_who_wants_them(tmp_path: Path) -> None:
    """A search that does not want them finds the same passages."""
    publish(tmp_path, SMALL)
    search = opened(tmp_path)
    text = "기준금리는 누가 결정하나요?"
    plain = await search.search(SearchQuery(text, signals=False))
    felt = await search.search(SearchQuery(text))
    assert plain.signals == SearchSignals()
    assert felt.signals.coverage > 0
    assert plain.hits == felt.hits


@pytest.mark.parametrize("top_k", [5, 50])
async def test_as_many_are_found_as_are_asked_for(tmp_path: Path, top_k: int) -> None:
    """Passages that share only what is usually left out are found when nothing else is."""
    crowd = [passage(f"d{number}", f"모두 같은 말 {number}") for number in range(60)]
    publish(tmp_path, [*crowd, passage("rare", "모두 귀한 낱말")])
    result = await opened(tmp_path).search(SearchQuery("모두 귀한 낱말", top_k=top_k))
    assert result.hits[0].passage.doc_id == "rare"
    assert len(result.hits) == top_k


async def test_the_filter_holds_when_the_legs_ignore_it(
    pool: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A leg that lets everything through is caught by the last look at each hit."""
    from apps.core.retrieval.filters import RowSets

    monkeypatch.setattr(RowSets, "mask", lambda self, _: np.ones(self.rows, np.bool_))
    query = SearchQuery("검색 common words", top_k=50, filters=Filters(tags=("다",)))
    result = await pool.search(query)
    assert result.hits
    assert {hit.passage.tags for hit in result.hits} == {("다",)}


@pytest.mark.parametrize("mode", ["lexical", "dense"])
async def test_the_last_of_many_is_found_by_its_tag(tmp_path: Path, mode: str) -> None:
    """A leg filters while it searches: better passages do not crowd the wanted one out."""
    crowd = [passage(f"d{number}", "공통 문장 공통") for number in range(150)]
    wanted = passage("rare", "공통 이야기 하나 더 길게 쓴 문장", tags=("귀한",))
    embedder = HashedEmbedder()
    publish(tmp_path, [*crowd, wanted], embedder)
    search = opened(tmp_path, embedder)
    filters = Filters(tags=("귀한",))
    assert await ids(search, "공통 문장", mode=mode, filters=filters) == ["rare"]


async def test_words_that_ask_do_not_outweigh_what_is_asked_for(tmp_path: Path) -> None:
    """In a small corpus "How do I" and "무엇인가요" are rare, and still the subject decides."""
    passages = [
        passage("faq", "How do I register? Ask at the desk, or by telephone."),
        passage("boiler", "Installing: put the lamp in, then the green cable of the boiler."),
        passage("질문", "등록은 어떻게 하나요? 안내대에 물어보면 무엇이 필요한지 알려 준다."),
        passage("밸브", "밸브는 물의 흐름을 여닫는 부품이며 관과 관 사이에 둔다."),
    ]
    publish(tmp_path, passages)
    search = opened(tmp_path)
    assert (await ids(search, "How do I mend a boiler?"))[0] == "boiler"
    assert (await ids(search, "밸브는 어떻게 하나요?"))[0] == "밸브"


async def test_a_title_speaks_for_its_whole_passage(tmp_path: Path) -> None:
    """A passage that is titled with the word stands before one that lets it drop."""
    text = "Open the drawer, take the part out and clean it with water."
    publish(
        tmp_path,
        [
            passage("aside", f"{text} The grinder is dry.", title="Kitchen"),
            passage("about", f"{text} Let all of it dry.", title="Grinder"),
        ],
    )
    assert await ids(opened(tmp_path), "grinder") == ["about", "aside"]


def test_the_words_of_a_strange_question_are_looked_for_more_widely(tmp_path: Path) -> None:
    """What vectors find for a paraphrase is asked for its words too, far down the list."""
    passages = [passage(f"p{number:02}", f"tide {number:02}") for number in range(80)]
    embedder = HashedEmbedder()
    publish(tmp_path, passages, embedder)
    index = OpenIndex(tmp_path / str(versions.latest(tmp_path)), SearchOptions(), loops=Loops())
    vector = embedder.passages(["tide 50"])[0]
    unknown = " ".join(f"unknown{number}" for number in range(20))

    def first(text: str) -> Hit:
        return index.rank(SearchQuery(text, top_k=1), question=vector, use_lexical=True).hits[0]

    assert first(f"tide {unknown}").passage.doc_id == "p50"
    assert first(f"tide {unknown}").scores.lexical is not None
