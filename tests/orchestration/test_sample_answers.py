"""What the answerer quotes from the sample corpus, for questions as people type them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from apps.core.domain.models import Hit, Passage, SearchQuery
from apps.core.llm.extractive import Draft, extract
from apps.core.retrieval.options import SearchOptions
from apps.core.retrieval.search import Search
from apps.core.text.gold import read_passages
from apps.core.text.language import detect
from apps.ingestion.quality import publish_all
from apps.orchestration.abstention import Abstention, decide
from bench.sample_set import write


@pytest.fixture(scope="module")
def passages(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Passage]:
    file = tmp_path_factory.mktemp("sample") / "sample.jsonl"
    write(file)
    return read_passages([file])


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory, passages: Sequence[Passage]) -> Search:
    root = tmp_path_factory.mktemp("index")
    publish_all(root, passages, None)
    return Search(root, embedder=None, options=SearchOptions())


async def ask(search: Search, question: str) -> tuple[Draft, Abstention]:
    found = await search.search(SearchQuery(question, top_k=5))
    language = detect(question)
    draft = extract(question, found.hits, language=language)
    return draft, decide(found.signals, draft, language=language)


@pytest.mark.parametrize(
    ("question", "quote"),
    [
        ("도서관 책 늦게 반납하면 연체료 내야 되나요?", "돈은 받지 않는다"),
        ("중앙도서관 휴관일 알려주세요", "둘째 월요일과 넷째 월요일"),
        ("쇼파 버리는데 얼마에요", "3인용 소파 | 8,000원"),
        ("전기차도 주차요금 할인되나요?", "최초 1시간 면제"),
        ("옥외광고물 허가 며칠 걸려요?", "처리 기간: 7일"),
        ("별빛카드 잃어버렸는데 다시 만드는 데 얼마나 걸리나요?", "일주일이 걸린다"),
        ("여권을 새로 만들려면 며칠이 걸리나요?", "근무일로 5일"),
        ("민원여권과는 몇 층에 있나요", "본관 1층"),
        ("강아지 등록 안하면 벌금 나와요?", "과태료를 낼 수 있습니다"),
        ("1급지랑 2급지 하루 최대 주차요금 차이", "2급지 | 600원"),
        ("과적합을 막는 방법", "데이터 늘리기"),
        ("시민동 대강당을 빌리려면 4시간에 얼마를 내나요?", "80,000원"),
        ("how much is the textbook for korean class", "12,000 won"),
        ("monthly parking pass class 2 price", "70,000 won"),
        ("How much is the fine for late books?", "There are no fines for late books"),
        ("When is the residents' centre open?", "09:00 to 18:00"),
        ("책 몇 권까지 빌릴 수 있어요", "7권까지"),
        ("쌍둥이를 낳으면 축하금은 어떻게 계산해요?", "따로 계산한다"),
        ("API 키는 어떻게 만들어요?", "dtrag keys create"),
        ("한글날에 도서관 열어요?", "이름: 한글날"),
        ("Which office handles bicycles?", "Transport Division"),
        ("where do I report a broken streetlight", "Scan the code on the pole"),
        ("how do i renew a book", "extended once"),
        ("청년 월세 지원 나이 제한", "만 19세 이상 34세 이하"),
        ("When does the library close on weekdays?", "09:00–20:00"),
        ("What is the peeking problem in A/B tests?", "stopping at the first p < 0.05"),
        ("How long is a cached answer kept?", "default: 3600"),
        ("How do I turn off every flag when the database is down?", "into the file KILL"),
        ("쓰레기봉투 20리터짜리는 얼마예요?", "20리터 540원"),
        ("How many books does the central library own?", "184,000 books"),
    ],
)
async def test_the_quotes_hold_the_answer(search: Search, question: str, quote: str) -> None:
    """Paraphrases, slips, rows of tables, prices and durations are answered."""
    draft, verdict = await ask(search, question)
    assert not verdict.abstain
    assert any(quote in one.text for one in draft.sentences)


@pytest.mark.parametrize(
    ("question", "short"),
    [
        ("옥외광고물 허가 며칠 걸려요?", "7일"),
        ("세정과 내선번호", "2310"),
        ("책 몇 권까지 빌릴 수 있어요", "7권까지"),
        ("2급지 공영주차장의 월 정기권은 얼마인가요?", "70,000원"),
    ],
)
async def test_the_short_answer(search: Search, question: str, short: str) -> None:
    """The column that the question names decides in a row; a bound stays with its value."""
    draft, _ = await ask(search, question)
    assert draft.short_answer == short


async def test_the_title_is_no_answer(search: Search) -> None:
    """It repeats the question's words and says nothing."""
    draft, _ = await ask(search, "올해 시 예산에서 제일 많이 쓰는 분야가 어디야?")
    assert "2025년 한빛시 세출 예산 요약" not in [one.text for one in draft.sentences]
    assert any("사회복지로" in one.text for one in draft.sentences)


@pytest.mark.parametrize(
    ("question", "document", "quote"),
    [
        ("What time do the fireworks start?", "hanbit-ko-festival-2025", "20:30 | 불꽃놀이"),
        (
            "How many people did the festival attract last year?",
            "hanbit-ko-festival-2025",
            "132,000명",
        ),
        ("When is the birth grant paid?", "hanbit-ko-childbirth", "다음 달 20일"),
        ("교재는 얼마예요?", "hanbit-en-residents-centre-guide", "The textbook costs 12,000 won"),
    ],
)
def test_the_sentence_of_the_other_language(
    passages: Sequence[Passage], question: str, document: str, quote: str
) -> None:
    """The glossary finds it in a passage that shares no word with the question."""
    hits = [Hit(one, 1.0) for one in passages if one.doc_id.startswith(document)]
    draft = extract(question, hits, language=detect(question))
    assert any(quote in one.text for one in draft.sentences)


async def test_other_rows_stay_out(search: Search) -> None:
    """The row about passports is quoted without the rows of the same table."""
    draft, _ = await ask(search, "여권 발급 수수료는 얼마예요?")
    assert [one.text.split(";")[0] for one in draft.sentences] == ["사무: 여권 사진 촬영 공간 사용"]


@pytest.mark.parametrize(
    "question",
    [
        "한빛시 시장은 누구예요?",
        "한빛시청 팩스 번호 알려주세요",
        "수영장 이용 요금은?",
        "what's the wifi password at city hall",
        "How long does it take to get a driving licence?",
        "여권 사진 규격",
        "피아노 폐기 수수료",
        "도서관 프린터 요금",
        "electric car subsidy",
        "Who is the director of the Central Library?",
        "museum opening hours",
        "how many teachers work at the residents centre",
        "how many parks are there in Hanbit",
        "벚꽃축제에 누가 공연하나요?",
        "한빛시장 이름이 뭐예요?",
        "반려묘 등록 비용",
        "운전면허 갱신 수수료",
        "출생 축하금 예산은 총 얼마야?",
        "How tall is the Main Building?",
    ],
)
async def test_what_the_corpus_lacks_is_not_answered(search: Search, question: str) -> None:
    """No name, no fax number, no number of such things and no subject of that kind: no answer."""
    _, verdict = await ask(search, question)
    assert verdict.abstain
