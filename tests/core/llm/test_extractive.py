"""An extracted answer is made of the passages' own sentences, the best ones first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core.domain.models import AnswerMode, Hit, Language, Passage
from apps.core.llm.extractive import Draft, extract, render

BIKE = (
    "물빛자전거는 한빛시의 공공 자전거이다. 2025년 3월 현재 대여소는 46곳, 자전거는 520대이다. "
    "그 가운데 80대는 전기 자전거이다. 요금은 30분에 1,000원이다. 교통행정과가 맡아 운영한다."
)
LIBRARY = (
    "한빛중앙도서관은 1989년 3월 12일에 문을 열었다. 매주 월요일에 쉰다. "
    "그러나 공휴일이 월요일이면 그다음 날에 쉰다. 책은 한 번에 다섯 권까지 빌린다."
)
RUNBOOK = (
    "# Rolling back\n"
    "To roll back a feature, run `dtrag rollout rollback KEY`. "
    "The share becomes zero at once. "
    "A rollback is a change of the share, not of the code."
)
FAQ = "How long may I keep a book?\nTwo weeks. You may extend it once.\nIs parking free?\nNo."


def hit(
    text: str, *, title: str = "", score: float = 1.0, start: int = 0, language: Language = "ko"
) -> Hit:
    passage = Passage(f"c{start}{text[:3]}", "d", title, text, start, start + len(text), language)
    return Hit(passage, score)


def texts(draft: Draft) -> list[str]:
    return [one.text for one in draft.sentences]


@pytest.mark.parametrize(
    ("question", "holds", "short"),
    [
        ("한빛중앙도서관은 언제 문을 열었나?", "1989년 3월 12일에", "1989년 3월 12일"),
        ("물빛자전거 요금은 얼마인가?", "1,000원", "1,000원"),
        ("물빛자전거는 어느 부서가 운영하나?", "교통행정과", None),
        ("물빛자전거란?", "공공 자전거이다", None),
    ],
)
def test_the_answer_holds_what_was_asked(question: str, holds: str, short: str | None) -> None:
    """The sentence is found, and a clear date or sum is shown first."""
    hits = [hit(BIKE, title="물빛자전거 안내"), hit(LIBRARY, title="도서관", score=0.6)]
    draft = extract(question, hits, language="ko")
    assert any(holds in text for text in texts(draft))
    assert short is None or draft.short_answer == short
    assert len(draft.sentences) <= 5


def test_how_to_in_english() -> None:
    """The instruction wins over its heading."""
    draft = extract("How do I roll back?", [hit(RUNBOOK, language="en")], language="en")
    assert "dtrag rollout rollback" in texts(draft)[0]


def test_one_word_asks_for_a_definition() -> None:
    """A word alone finds the sentence that says what it is."""
    assert "공공 자전거이다" in texts(extract("물빛자전거", [hit(BIKE)], language="ko"))[0]


def test_a_question_of_the_document_lends_its_words_to_its_answer() -> None:
    """In a list of questions and answers the answer is quoted, not the question."""
    draft = extract("How long may I keep a book?", [hit(FAQ, language="en")], language="en")
    assert "Two weeks." in texts(draft)


def test_labels_are_no_sentences() -> None:
    """ "Step 1." and the number of an article are skipped, their sentences are not."""
    text = "Step 1. Run the command to roll back. Step 2. Look at the log of the roll back."
    found = texts(extract("How do I roll back?", [hit(text, language="en")], language="en"))
    assert found[0] == "Run the command to roll back."
    assert not any(one.startswith("Step") for one in found)


def test_what_a_sentence_leans_on_comes_with_it() -> None:
    """A sentence that starts with "그러나" brings the one before it."""
    draft = extract("공휴일이 월요일이면 그다음 날 쉬나요?", [hit(LIBRARY)], language="ko")
    assert texts(draft)[:2] == [
        "매주 월요일에 쉰다.",
        "그러나 공휴일이 월요일이면 그다음 날에 쉰다.",
    ]


def test_overlapping_passages_are_quoted_once() -> None:
    """Two chunks that share a sentence do not make it two sentences."""
    draft = extract("도서관은 언제 쉬나?", [hit(LIBRARY), hit(LIBRARY, start=7)], language="ko")
    assert len(texts(draft)) == len(set(texts(draft)))


def test_nothing_found_is_an_empty_draft() -> None:
    """Without passages there is nothing to say, and nothing breaks."""
    draft = extract("무엇?", [], language="ko")
    assert draft.sentences == ()
    assert render(draft, "answer") == ""


def test_another_language_is_announced() -> None:
    """The draft says that its sentences are not in the caller's language."""
    assert extract("롤백 방법은?", [hit(RUNBOOK, language="en")], language="ko").foreign
    assert not extract("자전거 요금은?", [hit(BIKE)], language="ko").foreign


def test_support_counts_the_core_of_the_question() -> None:
    """A definition need not repeat the word "concept"."""
    text = "딥러닝은 층을 여러 겹 쌓은 신경망으로 배우는 방법이다. 층마다 가중치가 있다."
    draft = extract("딥러닝의 주요 개념은?", [hit(text)], language="ko")
    assert draft.support == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("question", "missing"),
    [
        ("2021년 물빛자전거 요금은?", 1.0),
        ("2025년 물빛자전거 요금은?", 0.0),
        ("2025년 Mulbit 요금은?", 0.5),
        ("요금은?", 0.0),
    ],
)
def test_numbers_and_names_that_no_passage_holds(question: str, missing: float) -> None:
    """The share of them is told, for the decision to abstain."""
    assert extract(question, [hit(BIKE)], language="ko").evidence.missing == missing


HOURS = "여는 시간\n\n공간 | 평일 | 주말\n열람실 | 07:00~23:00 | 08:00~20:00\n서고 | 1월부터 | 쉼"
FEES = "구분 | 최초 30분 | 하루 최대\n1급지 | 1,000원 | 12,000원\n2급지 | 500원 | 7,000원"


def test_a_time_of_day_is_no_date() -> None:
    """ "몇 시" wants hours, not the month of another row."""
    draft = extract("도서관은 몇 시에 문을 여나요?", [hit(HOURS, title="도서관")], language="ko")
    assert any("07:00" in text for text in texts(draft))
    assert draft.evidence.valueless == 0.0


def test_a_row_comes_with_the_first_row_of_its_table() -> None:
    """The column names say what the numbers mean, and never answer alone."""
    draft = extract("2급지는 하루 최대 얼마인가요?", [hit(FEES)], language="ko")
    assert draft.short_answer == "7,000원"
    assert [text.split(" | ")[0] for text in texts(draft)] == ["2급지", "구분"]


def test_a_row_says_what_its_header_and_heading_say() -> None:
    """A row of hours beats a long record of another document that happens to hold every word."""
    rooms = "Opening hours\n\nRoom | Weekdays | Weekend\nStudy room | 07:00–23:00 | 07:00–22:00"
    train = "station: Library; opened: 2021-09-11; first train: 05:43; last train: 23:47"
    library = hit(rooms, title="Central Library", language="en")
    hits = [library, hit(train, title="Timetable", score=0.6, language="en")]
    draft = extract("What time does the library open?", hits, language="en")
    assert texts(draft)[0].startswith("Room")


def test_the_name_of_a_notice_is_no_date() -> None:
    """ "제2025-87호" does not say when."""
    text = "한빛시 축제 공고 제2025-87호\n축제는 4월 4일부터 사흘 동안 열린다."
    assert texts(extract("축제는 언제 열리나요?", [hit(text)], language="ko"))[0].startswith(
        "축제는"
    )


def test_a_weekday_alone_is_no_short_answer() -> None:
    """ "Monday" would hide that it is the second one of the month."""
    text = "The library is closed on the second Monday of each month."
    draft = extract("When is the library closed?", [hit(text, language="en")], language="en")
    assert draft.short_answer is None


@pytest.mark.parametrize(
    ("mode", "start", "fewest", "most"),
    [
        ("answer", "", 1, 5),
        ("summary", "", 2, 4),
        ("keypoints", "- ", 3, 5),
        ("search", "- ", 2, 5),
    ],
)
def test_modes(mode: AnswerMode, start: str, fewest: int, most: int) -> None:
    """Each mode has its shape and its length, and each line its citation."""
    hits = [hit(BIKE), hit(LIBRARY, score=0.5)]
    draft = extract("한빛시 물빛자전거 도서관", hits, language="ko", mode=mode)
    text = render(draft, mode)
    assert fewest <= len(draft.sentences) <= most
    assert all(line.startswith(start) for line in text.splitlines())
    assert text.count("[") == len(draft.sentences)


def test_a_passage_that_is_titled_with_the_question_goes_first() -> None:
    """ "install" alone wants the page about it, not the first page that says the word."""
    hits = [
        hit("If the lamp is red, install the driver again.", title="Faults", language="en"),
        hit("One command installs all of it.", title="Installing", score=0.95, language="en"),
    ]
    assert texts(extract("how to install", hits, language="en"))[0].startswith("One command")


def test_a_title_in_another_language_gives_no_lead() -> None:
    """Who asks in Korean with an English term is first told what the Korean page says."""
    hits = [
        hit("머신러닝(machine learning)은 자료에서 배우는 방법이다.", title="머신러닝이란"),
        hit(
            "Machine learning is a way to learn from data.",
            title="What machine learning is",
            score=0.9,
            language="en",
        ),
    ]
    found = texts(extract("machine learning이란 무엇인가?", hits, language="ko"))
    assert found[0].startswith("머신러닝")


def test_reference_marks_of_the_source_do_not_look_like_ours() -> None:
    """ "[7]" in a passage becomes "(7)" in the answer."""
    draft = extract(
        "다리는 언제 놓였나?", [hit("다리는 1990년에 놓였다[7]. 강은 넓다.")], language="ko"
    )
    assert "[7]" not in render(draft, "answer")
    assert "(7)" in render(draft, "answer")


@given(
    st.lists(st.text(alphabet="가나다라 ab1.?!\n-|[]#:은는이다년", max_size=80), max_size=4),
    st.text(alphabet="가나다 ab1?언제몇 명", max_size=20),
)
def test_every_sentence_is_the_text_at_its_place(passages: list[str], question: str) -> None:
    """Whatever the text, a citation points at exactly what is quoted."""
    hits = [hit(text, start=9 * number) for number, text in enumerate(passages)]
    for mode in ("answer", "summary", "keypoints", "search"):
        draft = extract(question, hits, language="ko", mode=mode)
        for sentence in draft.sentences:
            place = sentence.citations[0]
            text = hits[place.hit_index].passage.text
            assert text[place.start : place.end] == sentence.text
        assert 0.0 <= draft.support <= 1.0 + 1e-9


SECTIONS = (
    "과적합은 모델이 잡음까지 외우는 현상이다.\n\n막는 방법\n드롭아웃은 뉴런의 일부를 끈다.\n\n"
    "확인하는 법\n학습 곡선을 그려 본다."
)
PRICES = (
    "사무: 여권 사진 촬영; 단위: 1회; 수수료: 1,000원; 부서: 민원여권과\n\n"
    "사무: 도면 열람; 단위: 1회; 수수료: 300원; 부서: 민원여권과\n\n"
    "사무: 지도 열람; 단위: 1회; 수수료: 500원; 부서: 민원여권과"
)


def test_a_heading_names_what_stands_below_it() -> None:
    """A sentence that shares no word with the question is found by its heading."""
    draft = extract("과적합을 막는 방법", [hit(SECTIONS, title="과적합")], language="ko")
    assert "드롭아웃은 뉴런의 일부를 끈다." in texts(draft)


def test_rows_that_fit_less_stay_out() -> None:
    """The name of a column and of an office is in every row; the row's own subject decides."""
    draft = extract("여권 사진 수수료는 얼마예요?", [hit(PRICES)], language="ko")
    assert [text.split(";")[0] for text in texts(draft)] == ["사무: 여권 사진 촬영"]
    assert draft.short_answer == "1,000원"


def test_rows_that_are_compared_stay_together() -> None:
    """Two rows that hold half of the question each are both quoted."""
    draft = extract("도면 열람과 지도 열람의 수수료 차이는?", [hit(PRICES)], language="ko")
    assert {text.split(";")[0] for text in texts(draft)} >= {"사무: 도면 열람", "사무: 지도 열람"}


def test_free_alone_is_no_short_answer() -> None:
    """ "무료" would not say for whom."""
    text = "참가비는 단체에 무료이다. 접수는 3월에 한다."
    assert extract("단체 참가비는 얼마인가요?", [hit(text)], language="ko").short_answer is None
