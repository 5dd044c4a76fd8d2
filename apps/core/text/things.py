"""The things that a question names, where its form leaves no doubt that they are things.

A question without a verb ("piano disposal fee", "전기차 보조금은 얼마인가요?") is made of nouns.
What names the kind of the answer ("fee", "가격", "deadline") is no thing, because an answer need
not repeat it; a Korean word that may be a verb before a noun ("버릴") is none either. The office
whose holder is asked for is a thing in any question.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from apps.core.text.questions import Question
from apps.core.text.roles import role
from apps.core.text.subjects import subjects
from apps.core.text.tokens import stem

KOREAN = re.compile(r"[가-힣]")
# What asks behind a noun phrase: "…은 얼마인가요", "… 알려줘", "… 있나요".
KOREAN_TAIL = re.compile(
    r"(?:\s*(?:은|는|이|가)?\s*(?:총|모두|전부|대략|보통|다)?\s*(?:얼마|언제|어디|무엇|뭐|누구|몇\s\S+)"
    r"(?:인가요?|인지|입니까|이에요|예요|에요|이야|야|죠|지요|일까요)?"
    r"|\s(?:있(?:나요?|어요?|습니까|을까요|는지)|좀|알려\s?\S+|가르쳐\s?\S+|궁금\S*))+\s*$"
)
# A verb, or a particle that needs one.
KOREAN_VERBAL = re.compile(
    r"언제|어디|얼마|어떻게|왜|누가|몇|어느|어떤|무슨|.+(?:[요까니냐죠다줘려해돼져을를는에며서]|에게|으로|부터|까지|하고|[하되](?:[고며면는여지기게던자]|[려어][가-힣]*)?|[려으]면|어도|아도)"
)
# A subject has a verb behind it; who writes "의" writes sentences.
KOREAN_LINKED = re.compile(r"..+[이가의]")
LONGEST = 4
ENGLISH_ASKS = re.compile(
    r"\b(?:who|whom|whose|what|which|when|where|why|how|is|are|was|were|be|do|does|did|can|could"
    r"|will|would|shall|should|may|must|has|have|had|i|you|we|they|he|she|it|tell|list|explain)\b",
    re.IGNORECASE,
)
ENGLISH_PRICE = re.compile(r"^\s*how much (?:is|are)\s+(?P<things>.+)$", re.IGNORECASE)
ENGLISH_COUNT = re.compile(r"\bhow many\s+(?P<things>[a-z]+)\b", re.IGNORECASE)
KINDS_LIST = """
요금 비용 가격 수수료 금액 입장료 관람료 참가비 사용료 이용료 회비 벌금 과태료 연체료 시간 기간
기한 마감 마감일 날짜 일정 장소 위치 방법 절차 순서 번호 전화 전화번호 연락처 주소 이름 명령
명령어 조건 자격 기준 나이 연령 종류 목록 차이 뜻 의미 개념 이유 원인 크기 개수 인원 횟수 결과
내용 정보 안내 문의 신청 제한 한도 최대 최소 하루 한달 일년 사용 이용 새로 이전 이후
price cost fee fare charge rate amount deadline date time hour day number phone extension address
location place name command size limit maximum minimum max min age type kind list meaning way
information detail rule requirement contact opening schedule
"""
KINDS = frozenset(map(stem, KINDS_LIST.split()))
# Syllables that verbs end in before a noun: "버릴", "빌린", "쓰는".
VERB_ENDS = frozenset(
    "는은던을한할된될린릴든들른를낸낼진질친칠킨킬온올간갈산살본볼준줄쓴쓸탄탈운울난날긴길인일"
)


def things(question: Question) -> tuple[str, ...]:
    """The subjects that are surely things."""
    known = subjects(question)
    named = set(_korean(question.text) if KOREAN.search(question.text) else _english(question.text))
    office = role(question)
    if office is not None:
        named.add(stem(office))
    return tuple(word for word in known if word in named and word not in KINDS)


def _english(text: str) -> Iterator[str]:
    found = ENGLISH_PRICE.search(text) or ENGLISH_COUNT.search(text)
    phrase = found["things"] if found else text
    if not ENGLISH_ASKS.search(phrase):
        yield from (stem(word) for word in re.findall(r"[a-z]+", phrase.lower()))


def _korean(text: str) -> Iterator[str]:
    words = KOREAN_TAIL.sub("", text.strip(" ?？.!~")).split()
    linked = any(map(KOREAN_LINKED.fullmatch, words[:-1]))
    if not 0 < len(words) <= LONGEST or linked or any(map(KOREAN_VERBAL.fullmatch, words)):
        return
    yield stem(words[-1])
    yield from (stem(word) for word in words[:-1] if word[-1] not in VERB_ENDS)
