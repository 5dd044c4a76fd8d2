"""Words for the same thing, in Korean and English: of daily life, of offices and of this product.

They help to find what the passages say; no answer is ever written with them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from apps.core.text.glossary import GLOSSARY
from apps.core.text.overlap import Instead, of_stems, terms
from apps.core.text.tokens import stem

# A line is a group; a word of two parts is written with a hyphen. Korean verbs stand in the forms
# that they begin with ("만들", "만드", "만든"), irregular English ones in all.
KOREAN = """
할인 감면 경감 인하
제일 가장
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
만들 만드 만든 만듭 생성
만들 만드 만든 발급
올리 올려 올린 올립 업로드 등록
잃어버 잃어버리 잃어버린 잃어버렸 분실
재발급 다시-발급
낳으 낳은 낳는 출산 출생
끄는 끄기 끄려 끈다 꺼진 비활성
켜는 켜기 켜려 켠다 켜진 활성
빌리 빌려 빌린 대여 대출 대관
돌려주 돌려받 반납 환급 환불
돌려받 환급 돌려준
신고 알리 알려 알립
문의 연락 안내
고장 파손 망가
취소 철회 해지
조건 자격 요건
나이 연령
기한 마감 마감일
걸리 걸려 걸린 소요
끝나 끝난 종료
입장 들어오 들어가
지급 받을 받는 나온다 나옵
내놓 배출
주말 토요일 일요일
한달 한-달 매월 매달 1개월
일년 1년 한-해
하루 1일 당일
일주일 1주 7일
막차 마지막-차
첫차 첫-차
명령어 명령
음식쓰레기 음식물-쓰레기
롤백 rollback 되돌리 되돌린
에러 error 오류
색인 인덱스 index
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
lose lost
forget forgot forgotten lost
make made
make create
create generate issue
begin began begun
build built
buy bought
break broke broken
broken damaged defective
pay paid
sell sold
send sent
hold held
write wrote written
choose chose chosen
give gave given
take took taken
speak spoke spoken
steal stole stolen
teach taught
leave left
grow grew grown
draw drew drawn
drive drove driven
fly flew flown
lead led
meet met
lend lent loan
borrow loan
rent lease hire
upload add
disable off deactivate
enable activate
turn switch
rid dispose discard
dispose discard throw
renew extend prolong
mandatory required compulsory obligatory
population inhabitant
foreigner foreign
deadline due
max maximum most
min minimum least
pickup collection
rush peak
weekend saturday sunday
call contact tell
report tell notify
lamp light
register registration
reserve reservation
apply application
cancel cancellation
renew renewal
deliver delivery
remove removal
dispose disposal
rent rental
install installation
expire expiry
discover discovery
invent invention inventor
design designer architect
"""
# What may follow a Korean word for its verb or its particle to be left over.
TAIL = re.compile(r"(?:하|되|시|해|돼|는|기|면|려|고|도|지|인|안|나|요|어|었|서|던|게|야)[가-힣]*|")
# A noun of one syllable, which the stemmer leaves with its particle ("키를", "책은").
SINGLE = re.compile(r"([가-힣])[은는을를]?")
SINGLE_PARTICLES = ("", "은", "는", "이", "가", "을", "를", "의", "에", "도", "로")


def _groups(lists: Iterable[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, dict[str, None]] = {}
    for line in lists:
        words = [word.replace("-", " ") for word in line.split()]
        for word in words:
            others = (stem(other) if other.isascii() else other for other in words if other != word)
            found.setdefault(stem(word), {}).update(dict.fromkeys(others))
    return {word: tuple(others) for word, others in found.items()}


SAME = _groups([*KOREAN.strip().splitlines(), *ENGLISH.strip().splitlines(), *GLOSSARY])
LONGEST_KEY = max(map(len, SAME))


def alike(word: str) -> Iterator[tuple[str, str]]:
    """Which beginning of a stem may be exchanged for what, longest beginning first."""
    for key in _keys(word):
        yield from ((key, other) for other in SAME[key])


@lru_cache(maxsize=1 << 12)
def instead(word: str) -> Instead | None:
    """What counts for a stem where it is looked for; None when nothing else does."""
    found = dict.fromkeys(terms(other) for _, other in alike(word))
    noun = SINGLE.fullmatch(word)
    if noun is not None:
        found.update(dict.fromkeys(frozenset([noun[1] + one]) for one in SINGLE_PARTICLES))
    return Instead(of_stems([word]), tuple(found)) if found else None


def _keys(word: str) -> list[str]:
    if word.isascii():
        return [word] if word in SAME else []
    longest = min(len(word), LONGEST_KEY)
    return [
        word[:cut]
        for cut in range(longest, 1, -1)
        if word[:cut] in SAME and TAIL.fullmatch(word, cut)
    ]
