"""The compiled scoring against a few lines of plain Python, and files that grow like new ones."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.core.domain.models import Passage
from apps.core.retrieval import grains, lexical, postings
from apps.core.retrieval.grains import Grains
from apps.core.retrieval.lexical import SHARES, LexicalHits, LexicalLeg
from apps.core.retrieval.loops import Loops
from apps.core.retrieval.postings import K1, B
from apps.core.text import sentences, tokens
from tests.fakes.passages import passage

WORDS = ["금리", "은행", "결정", "한국", "rate", "bank", "rises", "2023년", "오늘"]
SENTENCE = st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(
    lambda words: " ".join(words) + "."
)
CORPUS = st.lists(st.lists(SENTENCE, min_size=0, max_size=9).map(" ".join), min_size=1, max_size=9)
QUESTION = st.lists(st.sampled_from([*WORDS, "없는말"]), min_size=1, max_size=6).map(" ".join)
TITLE = "한국 bank 소식"
NONE = np.zeros(0, np.bool_)
LOOPS = Loops()
LOOPS.load()


def passages(texts: Sequence[str], *, title: str = "") -> list[Passage]:
    """One passage a text; every other one has the title."""
    return [passage(f"d{n}", text, title=title if n % 2 else "") for n, text in enumerate(texts)]


def leg_of(directory: Path, texts: Sequence[str], *, title: str = "") -> LexicalLeg:
    """A leg over these texts, all taken as Korean."""
    added = passages(texts, title=title)
    grains.write(directory, grains.extended(grains.NOTHING, added, NONE))
    return LexicalLeg(directory, Counter(ko=len(texts), en=0), loops=LOOPS)


def ask(leg: LexicalLeg, question: str, **wishes: object) -> LexicalHits:
    """The first hundred hits."""
    given_ = {"language": "ko", "allowed": None, "limit": 100, **wishes}
    return leg.search(question, **given_)  # type: ignore[arg-type]


def plain_bm25(documents: Sequence[list[str]], weights: dict[str, float]) -> list[float]:
    """BM25 of each document as the formula says it."""
    mean = sum(map(len, documents)) / max(1, sum(1 for words in documents if words))
    found = []
    for words in documents:
        norm = K1 * (1 - B + B * len(words) / mean) if mean else 1.0
        counts = Counter(words)
        parts = [weight * counts[w] / (counts[w] + norm) for w, weight in weights.items()]
        found.append((K1 + 1) * sum(parts))
    return found


def reference(texts: Sequence[str], question: str) -> dict[int, float]:
    """Score by row: the best window's pairs and the passage's stems."""
    named = passages(texts, title=TITLE)
    heading = [tokens.bigrams(each.title) * grains.TITLE_TIMES for each in named]
    titles = [tokens.stems(each.title) * grains.TITLE_TIMES for each in named]
    stems = [titles[row] + tokens.stems(text) for row, text in enumerate(texts)]
    windows: list[tuple[int, list[str]]] = []
    for row, text in enumerate(texts):
        pieces = [text[start:end] for start, end in sentences.split(text)]
        for start, end in grains.windows(pieces):
            terms = [term for piece in pieces[start:end] for term in tokens.bigrams(piece)]
            windows.append((row, heading[row] + terms))

    def weights(found: Sequence[set[str]], words: Sequence[str], share: float) -> dict[str, float]:
        counts = {word: max(1, sum(word in each for each in found)) for word in words}
        idf = {w: math.log(1 + (len(texts) - n + 0.5) / (n + 0.5)) for w, n in counts.items()}
        return {word: share * value for word, value in idf.items()}

    spread = [set[str]().union(*(t for r, t in windows if r == row)) for row in range(len(texts))]
    pairs = weights(spread, tokens.bigrams(question), SHARES["bigrams"])
    whole = weights([set(words) for words in stems], tokens.stems(question), SHARES["stems"])
    sums = dict.fromkeys(range(len(texts)), 0.0)
    for (row, _), score in zip(windows, plain_bm25([t for _, t in windows], pairs), strict=True):
        sums[row] = max(sums[row], score)
    for row, score in enumerate(plain_bm25(stems, whole)):
        sums[row] += score
    return {row: score for row, score in sums.items() if score > 0}


@given(CORPUS, QUESTION)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_scores_are_those_of_the_formula(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], question: str
) -> None:
    """Every passage gets its best window's score and its own, best first, ties by row."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("apps.core.retrieval.lexical.PRUNED_SHARE", 0.0)
        patch.setattr("apps.core.retrieval.lexical.ASKING_SHARE", 1.0)
        found = ask(leg_of(tmp_path_factory.mktemp("leg") / "l", texts, title=TITLE), question)
    expected = reference(texts, question)
    assert dict(zip(found.rows.tolist(), found.scores.tolist(), strict=True)) == pytest.approx(
        expected, rel=1e-4
    )
    order = [(-score, row) for row, score in zip(found.rows, found.scores, strict=True)]
    assert order == sorted(order)


@given(CORPUS, QUESTION, st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_plain_loops_give_the_same(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], question: str, data: st.DataObject
) -> None:
    """Whether compiled or not, rows, order and scores are equal, with a filter too."""
    leg = leg_of(tmp_path_factory.mktemp("leg") / "l", texts, title=TITLE)
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(texts), max_size=len(texts))))
    limit = data.draw(st.integers(1, 9))
    for allowed in (None, mask):
        fast = ask(leg, question, allowed=allowed, limit=limit)
        leg._loops = Loops()
        slow = ask(leg, question, allowed=allowed, limit=limit)
        leg._loops = LOOPS
        assert slow.rows.tolist() == fast.rows.tolist()
        assert slow.scores.tolist() == pytest.approx(fast.scores.tolist(), rel=1e-5)


@given(CORPUS, CORPUS, st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_an_extended_index_equals_one_built_at_once(
    first: list[str], second: list[str], data: st.DataObject
) -> None:
    """Passages that were added later or removed leave no trace in the files."""
    gone = np.array(data.draw(st.lists(st.booleans(), min_size=len(first), max_size=len(first))))
    old = grains.extended(grains.NOTHING, passages(first), NONE)
    grown = grains.extended(old, passages(second), gone)
    at_once = grains.extended(
        grains.NOTHING,
        passages([*first, *second]),
        NONE,
    )
    later = np.concatenate([gone, np.zeros(len(second), np.bool_)])
    same(grown, grains.extended(at_once, [], later))


def same(left: Grains, right: Grains) -> None:
    """All columns are equal."""
    for one, other in ((left.passages, right.passages), (left.windows, right.windows)):
        for name in ("terms", "starts", "docs", "counts", "lengths"):
            assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert np.array_equal(left.owners, right.owners)
    assert np.array_equal(left.spreads, right.spreads)


def test_batches_leave_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    """A corpus that is counted in batches gives the files of one that is not."""
    texts = [f"{WORDS[n % 9]} {WORDS[n % 4]}. {WORDS[n % 7]}!" for n in range(11)]
    whole = grains.extended(grains.NOTHING, passages(texts), NONE)
    monkeypatch.setattr(grains, "BATCH", 3)
    same(grains.extended(grains.NOTHING, passages(texts), NONE), whole)


def test_only_allowed_rows_are_found(tmp_path: Path) -> None:
    """Rows that are not allowed take no place among the hits."""
    leg = leg_of(tmp_path / "l", ["금리 결정."] * 50)
    allowed = np.zeros(50, np.bool_)
    allowed[[7, 40]] = True
    assert ask(leg, "금리 결정", allowed=allowed, limit=5).rows.tolist() == [7, 40]
    assert ask(leg, "금리 결정", limit=3).rows.tolist() == [0, 1, 2]
    assert ask(leg, "금리 결정", allowed=np.zeros(50, np.bool_)).rows.tolist() == []


def test_an_empty_index_finds_nothing(tmp_path: Path) -> None:
    """Neither does a question without words."""
    leg = leg_of(tmp_path / "empty", [])
    assert ask(leg, "금리").rows.tolist() == []
    assert ask(leg_of(tmp_path / "one", ["금리."]), "?!").rows.tolist() == []


def test_a_word_of_no_encoding_is_only_unknown(tmp_path: Path) -> None:
    """A lone surrogate, which JSON can carry, matches nothing and breaks nothing."""
    assert ask(leg_of(tmp_path / "l", ["금리 결정."]), "\ud800x 금리").rows.tolist() == [0]


def test_counts_end_at_their_limit(tmp_path: Path) -> None:
    """A word that stands a thousand times counts 255 times, its passage's length in full."""
    leg = leg_of(tmp_path / "l", ["bank " * 1000, "rate."])
    assert ask(leg, "bank").rows.tolist() == [0]
    assert leg._grains.passages.counts.max() == postings.MOST
    assert leg._grains.passages.lengths.max() == 1000


def test_no_score_is_nought() -> None:
    """A word of a document that is far longer than all others still counts for something."""
    lengths = np.array([1] * 999_999 + [2**31 - 1], np.int32)
    docs = np.array([999_999], np.int32)
    found = postings.Postings(
        np.zeros(1, np.uint64), np.array([0, 1]), docs, np.ones(1, np.uint8), lengths
    )
    assert postings.impacts(found).tolist() == [1]


def test_words_are_remembered_and_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second time, and after many others, a question finds the same by the same scores."""
    leg = leg_of(tmp_path / "l", [f"{WORDS[n % 9]} {WORDS[n % 4]} {n}." for n in range(50)])
    monkeypatch.setattr(lexical, "KEPT", 8)
    monkeypatch.setattr(lexical, "TERMS_AT_FIRST", 2)
    first = [ask(leg, f"{WORDS[n % 9]} zz{n} {n}") for n in range(50)]
    again = [ask(leg, f"{WORDS[n % 9]} zz{n} {n}") for n in range(50)]
    for one, other in zip(first, again, strict=True):
        assert one.rows.tolist() == other.rows.tolist()
        assert one.scores.tolist() == other.scores.tolist()
        assert (one.top, one.reach) == (other.top, other.reach)


def test_what_is_no_word_of_people_is_not_kept(tmp_path: Path) -> None:
    """A page of text without a space is searched, and would fill the memory if it were kept."""
    text = "강" * 500
    leg = leg_of(tmp_path / "l", [text, "다른 말"])
    assert ask(leg, text).rows.tolist() == [0]
    kept = [word for known in leg._terms.values() for word in known._words]
    assert text not in kept
    assert tokens.stem("강" * 500 + "은") == text


def test_words_of_no_passage_count_once_each(tmp_path: Path) -> None:
    """They take from the reach, a word said twice no more than said once."""
    leg = leg_of(tmp_path / "l", [f"{WORDS[n]} 강." for n in range(5)])
    reach = [ask(leg, f"{WORDS[0]} {rest}").reach for rest in ("", "xx", "xx xx", "xx yy")]
    assert reach[0] > reach[1] == reach[2] > reach[3]


def test_threads_share_a_leg(tmp_path: Path) -> None:
    """Searches at the same time find what they find alone."""
    texts = [f"{WORDS[n % 9]} {WORDS[n % 4]} {n}." for n in range(200)]
    leg = leg_of(tmp_path / "l", texts)
    questions = [f"{WORDS[n % 9]} {n}" for n in range(200)]
    alone = [ask(leg, question).rows.tolist() for question in questions]
    found: list[list[list[int]]] = [[] for _ in range(4)]

    def run(lane: int) -> None:
        found[lane].extend(
            ask(leg, question).rows.tolist() for _ in range(5) for question in questions
        )

    threads = [threading.Thread(target=run, args=(lane,)) for lane in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(each == alone * 5 for each in found)
