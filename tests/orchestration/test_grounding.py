"""What reaches the caller holds: sentences, citations, numbering, quotes, confidence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core.domain.models import Hit, Passage, Source
from apps.core.llm.extractive import extract, render
from apps.core.text.names import squeeze
from apps.orchestration.grounding import (
    Checker,
    Grounded,
    Grounder,
    Place,
    Verified,
    finish,
    sources,
    verify,
)

BIKE = "물빛자전거는 2021년에 생겼다. 요금은 30분에 1,000원이다. 대여소는 46곳이다."
LIBRARY = "한빛중앙도서관은 1989년에 열었다. 월요일에 쉰다. 책은 다섯 권까지 빌린다."


def hit(text: str, *, number: int, score: float = 1.0) -> Hit:
    start = 100 * number
    source = Source(title=f"제목{number}", date="2025-01-01")
    passage = Passage(
        f"c{number}", f"d{number}", "", text, start, start + len(text), "ko", source=source
    )
    return Hit(passage, score)


HITS = (hit(BIKE, number=1, score=0.9), hit(LIBRARY, number=2, score=0.5))


def check(grounded: Grounded) -> None:
    """Every citation is exact and used, and numbers rise from one."""
    by_chunk = {one.passage.chunk_id: one.passage for one in HITS}
    assert [one.index for one in grounded.citations] == [*range(1, len(grounded.citations) + 1)]
    for one in grounded.citations:
        passage = by_chunk[one.chunk_id]
        start, end = one.span
        assert passage.text[start - passage.start : end - passage.start] == one.quote
        assert f"[{one.index}]" in grounded.answer


def test_citations_are_numbered_by_first_use() -> None:
    """The second passage is cited first, so it becomes [1]; its span is the sentence's."""
    grounded = finish("월요일에 쉰다. [2] 대여소는 46곳이다. [1] 월요일에 쉰다. [2]", HITS)
    assert grounded.answer == "월요일에 쉰다. [1] 대여소는 46곳이다. [2] 월요일에 쉰다. [1]"
    assert [one.doc_id for one in grounded.citations] == ["d2", "d1"]
    assert grounded.citations[0].quote == "월요일에 쉰다."
    assert grounded.confidence == pytest.approx(1.0)
    check(grounded)


def test_inventions_are_dropped_with_their_citations() -> None:
    """A sentence that nothing supports leaves no trace but a lower confidence."""
    grounded = finish("화성에는 강이 많다. [1] 대여소는 46곳이다. [1]", HITS)
    assert grounded.answer == "대여소는 46곳이다. [1]"
    assert grounded.dropped == 1
    assert grounded.confidence == pytest.approx(0.5)


def test_a_lie_about_a_number_never_gets_through() -> None:
    """Whatever it cites."""
    assert finish("대여소는 64곳이다. [1] 요금은 30분에 2,000원이다. [2]", HITS).answer == ""


@pytest.mark.parametrize("marks", ["", " [99]", " [2]", " [2][99]"])
def test_wrong_citations_are_repaired(marks: str) -> None:
    """No citation, an unknown one or the wrong passage: the right place is found by code."""
    grounded = finish(f"대여소는 46곳이다.{marks}", HITS)
    assert grounded.answer == "대여소는 46곳이다. [1]"
    assert grounded.citations[0].doc_id == "d1"


def test_of_two_citations_only_the_one_that_holds_stays() -> None:
    """Precision: a citation that does not support is no citation."""
    assert [one.doc_id for one in finish("대여소는 46곳이다. [1][2]", HITS).citations] == ["d1"]


def test_nothing_holds() -> None:
    """The caller abstains when there are no citations."""
    assert finish("모릅니다.", HITS) == Grounded("", (), 0.0, 1, "")
    assert finish("", HITS) == Grounded("", (), 0.0, 0, "")


def test_the_preface_comes_first_and_only_with_an_answer() -> None:
    """A fixed message is not a claim."""
    assert finish("대여소는 46곳이다. [1]", HITS, preface="원문은 한국어입니다.").answer == (
        "원문은 한국어입니다.\n\n대여소는 46곳이다. [1]"
    )
    assert finish("거짓이다.", HITS, preface="원문은 한국어입니다.").answer == ""


def test_the_prior_scales_the_confidence() -> None:
    """A quotation is always faithful; whether it answers is another question."""
    assert finish("대여소는 46곳이다. [1]", HITS, prior=0.4).confidence == pytest.approx(0.4)


def test_bullets_stay_bullets() -> None:
    """Layout of key points survives, without those that were dropped."""
    text = "- 대여소는 46곳이다. [1]\n- 화성은 붉다. [1]\n- 월요일에 쉰다. [2]"
    assert finish(text, HITS).answer == "- 대여소는 46곳이다. [1]\n- 월요일에 쉰다. [2]"


def test_a_short_answer_before_its_sentence() -> None:
    """ "46곳 — …46곳…" is as true as its sentence; with another number it is not."""
    assert verify("46곳 — 대여소는 46곳이다.", HITS, [1]) is not None
    assert verify("47곳 — 대여소는 46곳이다.", HITS, [1]) is None


def test_verify_names_the_place() -> None:
    """Place and support of one sentence."""
    assert verify("월요일에 쉰다.", HITS, [2]) == Verified(
        "월요일에 쉰다.", 1.0, (Place(1, 21, 29),)
    )


def test_zero_is_no_passage() -> None:
    """ "[0]" does not mean the last one."""
    found = verify("월요일에 쉰다.", HITS, [0])
    assert found is not None
    assert found.places[0].hit == 1


def test_another_verifier_may_judge() -> None:
    """The port is one method."""

    class Nobody:
        def verify(self, sentence: str, cited: object) -> Verified | None:
            return None

    grounder = Grounder(HITS, verifier=Nobody())
    assert grounder.add("대여소는 46곳이다. [1] ") == ""
    assert grounder.close().citations == ()


def test_sources_are_the_cited_documents() -> None:
    """One for each, best first; what was found but not cited is no source."""
    grounded = finish(
        "월요일에 쉰다. [2] 대여소는 46곳이다. [1] 책은 다섯 권까지 빌린다. [2]", HITS
    )
    assert [one.doc_id for one in sources(grounded.citations)] == ["d1", "d2"]
    assert sources(()) == ()


@given(
    st.lists(
        st.sampled_from(
            [
                "대여소는 46곳이다. [1] ",
                "요금은 30분에 9,000원이다. [1] ",
                "월요일에 쉰다. [7]\n",
                "- 책은 다섯 권까지 빌린다 [2].\n",
                "- 토요일에 연다. ",
            ]
        ),
        max_size=6,
    ),
    st.integers(min_value=1, max_value=9),
)
def test_streamed_and_plain_are_one(parts: list[str], size: int) -> None:
    """The pieces of a stream join to the plain answer, with the same citations."""
    text = "".join(parts)
    grounder = Grounder(HITS, preface="머리말")
    said = [grounder.add(text[at : at + size]) for at in range(0, len(text), size)]
    streamed = grounder.close()
    plain = finish(text, HITS, preface="머리말")
    assert "".join(said) + streamed.tail == streamed.answer == plain.answer
    assert streamed.citations == plain.citations
    assert "9,000" not in plain.answer
    check(plain)


@given(
    st.lists(st.text(alphabet="가나다라 ab12.?!\n-|[]은는이다년%,", max_size=90), max_size=3),
    st.sampled_from(["가나", "언제 나다?", "몇 년?", "ab"]),
)
def test_extracted_sentences_always_hold(texts: list[str], question: str) -> None:
    """What is quoted word for word is never dropped, and its quote holds the sentence."""
    hits = [hit(text, number=number) for number, text in enumerate(texts)]
    draft = extract(question, hits, language="ko")
    checker = Checker(hits)
    for sentence in draft.sentences:
        if not any(char.isalnum() for char in sentence.text):
            continue
        found = checker.verify(sentence.text, [sentence.citations[0].hit_index + 1])
        assert found is not None
        place = found.places[0]
        quote = hits[place.hit].passage.text[place.start : place.end]
        assert squeeze(sentence.text)[0] in squeeze(quote)[0]
    assert finish(render(draft, "answer"), hits).citations or not any(
        char.isalnum() for sentence in draft.sentences for char in sentence.text
    )
