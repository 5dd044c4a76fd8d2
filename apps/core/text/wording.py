"""A question in the words of its passages: misspelt words, and other words for the same thing.

Only a word that no passage has is exchanged, and only for one that a passage has, so a question
in the passages' own words stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from operator import itemgetter

from apps.core.text.spelling import is_korean, is_latin, korean_slips, latin_slip
from apps.core.text.tokens import stem

# Words of daily life and of offices for the same thing. A line is a group; a word of two parts
# is written with a hyphen.
KOREAN = """
할인 감면 경감 인하
무료 무상 공짜 면제
벌금 과태료 범칙금
연체료 연체금 가산금 지체상금
연체 체납 늦게 지연
휴관일 휴무일 쉬는-날 휴일 정기휴일
휴관 휴무 쉬는-날 휴업
영업시간 운영시간 이용시간 여는-시간 근무시간 개관시간 업무시간 운영-시간 이용-시간 근무-시간
강아지 반려견 애완견
반려동물 애완동물
전기차 전기자동차
경차 경형
자동차 차량 승용차
아이 자녀 아동 어린이
아기 영아 신생아 영유아
출산 출생 분만
노인 어르신 고령자 경로 노년
임산부 임신부 산모
환불 반환 환급
반납 반환 돌려주
마감 기한 종료
비용 요금 수수료 금액
가격 요금 금액
입장료 관람료 입장권
연락처 전화번호 내선
위치 주소 소재지
회사 기업 업체
직원 담당자 사원
버리 배출 폐기
쓰레기 폐기물
이사 전입 전출
대여 대출 임대 빌리 대관
도서 책자 서적
서류 문서 구비서류
비밀번호 암호 패스워드
홈페이지 누리집 웹사이트
인터넷 온라인 누리집
다운로드 내려받
업로드 올리
에러 오류 장애
삭제 제거 지우
의사 의료진
교사 선생님 교원
급여 임금 봉급 월급
채용 모집 고용
엘리베이터 승강기
예방 방지 막는
수리 수선 고치
변경 수정 바꾸
증가 늘리 늘어
감소 줄이 줄어
중단 중지 멈추
시작 개시 착수
공휴일 휴일
버스 시내버스
화장실 변기
"""
ENGLISH = """
elevator lift
trash garbage rubbish waste litter
puppy dog
pet animal
apartment flat
kid child
penalty fine
overdue late
discount reduction
vacation holiday
bike bicycle
car vehicle
phone telephone
subway metro
movie film
price cost fee charge fare
buy purchase
begin start
finish end
error failure
delete remove
password passphrase
picture image photo
doctor physician
salary wage
couch sofa
fridge refrigerator
cellphone mobile
staff employee
attorney lawyer
undo rollback revert
infant baby
senior elderly
cab taxi
fix repair
allow permit
bill invoice
job work
"""
# What may follow a Korean word for its verb or its particle to be left over.
TAIL = re.compile(r"(?:하|되|시|해|돼|는|기|면|려|고|도|지|인|안|나)[가-힣]*|")
LATIN = re.compile(r"[A-Za-z]+")


def _groups(lists: Iterable[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, dict[str, None]] = {}
    for line in lists:
        words = [word.replace("-", " ") for word in line.split()]
        for word in words:
            others = (stem(other) if other.isascii() else other for other in words if other != word)
            found.setdefault(stem(word), {}).update(dict.fromkeys(others))
    return {word: tuple(others) for word, others in found.items()}


SAME = _groups([*KOREAN.strip().splitlines(), *ENGLISH.strip().splitlines()])
SHORTEST = 2
LONGEST_KEY = max(map(len, SAME))


def reworded(
    text: str,
    words: Iterable[str],
    *,
    known: Collection[str],
    place: Callable[[str], int | None],
) -> str:
    """Exchange each of `words` that no passage has for one that the best passage has.

    Args:
        text: the question.
        words: its stems.
        known: stems of the passages.
        place: how far down the passages a stem or a Korean string first stands; None nowhere.
    """
    for word in words:
        if len(word) < SHORTEST or place(word) is not None:
            continue
        found = [
            (at, old, new) for old, new in _others(word, known) if (at := place(new)) is not None
        ]
        if found:
            _, old, new = min(found, key=itemgetter(0))
            text = _exchanged(text, old, new)
    return text


def _exchanged(text: str, old: str, new: str) -> str:
    if not old.isascii():
        return text.replace(old, new, 1)
    return LATIN.sub(lambda word: new if stem(word[0].lower()) == old else word[0], text)


def _others(word: str, known: Collection[str]) -> Iterator[tuple[str, str]]:
    """What may stand for which part of a word; spellings first."""
    if is_korean(word):
        yield from ((word, other) for other in korean_slips(word))
    slip = latin_slip(word, known) if is_latin(word) else None
    if slip is not None:
        yield word, slip
    for key in _keys(word):
        yield from ((key, other) for other in SAME[key])


def _keys(word: str) -> list[str]:
    if word.isascii():
        return [word] if word in SAME else []
    longest = min(len(word), LONGEST_KEY)
    return [
        word[:cut]
        for cut in range(longest, 1, -1)
        if word[:cut] in SAME and TAIL.fullmatch(word, cut)
    ]
