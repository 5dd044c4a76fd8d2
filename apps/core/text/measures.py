"""Which measure a question asks for: the units that a number must carry, or the form it must have.

Units are the canonical ones of `numbers`; "clock", "floor", "phone", "fax" and "mail" are forms
that `answers` knows.
"""

from __future__ import annotations

import re

MONEY = ("won", "dollar", "yen", "euro", "yuan", "pound")
DURATION = ("year", "months", "day", "week", "hour", "minute", "second", "decade", "century")
LENGTH = ("m", "km", "cm", "mm", "mile", "foot", "inch")
WEIGHT = ("kg", "g", "ton")
# What follows "몇" or names a measure, and the canonical unit that its answer carries.
KOREAN_COUNTERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"명|사람|인(?!가)", ("person",)),
    (r"개국", ("country", "item")),
    (r"퍼센트|프로|%", ("%", "%p")),
    (r"세|살", ("age",)),
    (r"원|달러|엔", MONEY),
    (r"회|번|차례", ("count", "ordinal")),
    (r"위|등", ("rank",)),
    (r"점", ("score",)),
    (r"시간", ("hour",)),
    (r"개월|달", ("months", "month")),
    (r"주", ("week",)),
    (r"일|며칠", ("day",)),
    (r"년", ("year",)),
    (r"분", ("minute", "person")),
    (r"초", ("second",)),
    (r"미터|킬로미터|센티미터|m\b|km\b", LENGTH),
    (r"킬로그램|그램|톤|kg\b", WEIGHT),
    (r"도", ("degree",)),
    (r"층", ("floor",)),
    (r"대|곳|건|권|장|편|척|호|차|골|개|가지|종|쪽|페이지", ()),
)
KOREAN_MONEY = (
    r"금액|가격|비용|액수|매출액?|상금|연봉|요금|예산|자본금|이적료|몸값|수입|벌금|수수료|사용료|이용료|관람료|입장료"
    r"|임대료|보험료|참가비|회비|월세|보증금|과태료|연체료|축하금|지원금|보조금|장려금|세금|[가-힣]{2,}(?:료|비|금|세)|[가-힣]+값|봉급|월급|시급|대금"
)
KOREAN_MEASURES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (KOREAN_MONEY, MONEY),
    (r"(?:나이|연령)(?:\s?(?:제한|기준|조건))?", ("age",)),
    (r"점수|득점|평점", ("score",)),
    (r"비율|확률|점유율|시청률|득표율|지지율|승률|증가율|이율|금리|할인율", ("%", "%p", "ratio")),
    (r"횟수", ("count",)),
    (r"인원|사람의 수|인구", ("person",)),
    (r"순위", ("rank",)),
    (r"기간", DURATION),
    (r"거리|높이|길이|키|깊이|폭", LENGTH),
    (r"무게|중량|몸무게", WEIGHT),
    (r"면적|넓이", ("area",)),
    (r"온도|기온", ("degree",)),
    (r"개수|갯수|수량|숫자|\S수|수", ()),
)
ENGLISH_MEASURES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"percent|proportion|\bshare\b", ("%", "%p")),
    (r"how old|\bage\b", ("age", "year")),
    (
        r"\b(?:costs?|prices?|fees?|fares?|fines?|charged?|pay|paid|dollars?|revenue|salary|budget"
        r"|money|refund(?:ed)?|deposit|worth)\b"
        r"|how much (?:is|are|was|were) (?:an?|the|it|they|your)\b",
        MONEY,
    ),
    (r"how (?:tall|high|deep|wide)\b", LENGTH),
    (r"how heavy\b", WEIGHT),
    (r"how long", (*DURATION, *LENGTH)),
    (r"how often", (*DURATION, "count")),
    (r"how (?:many|much) (?:years?)", ("year",)),
    (r"how many (?:days?)", ("day",)),
    (r"how many (?:hours?)", ("hour",)),
    (r"how many (?:minutes?)", ("minute",)),
)
ENDING = (
    r"(?:은|는|이|가|을|를|로|으로|이며|이고)?"
    r"\s*(?:무엇\S*|뭐\S*|뭔\S*|언제\S*|얼마\S*|어떻게\s*\S+)?\s*[?？.\s]*$"
)
TELLING = r"(?:은|는|이|가|을|를)?\s*(?:좀\s*)?(?:(?:알려|가르쳐|말해)\s?\S*|몇\s?번\S*|있\S*)?"
PRICED = re.compile(
    rf"(?:{KOREAN_MONEY}).*얼마|얼마\S*\s(?:내[야나죠요]|드[나는니]|들[어까]|받[나을는]|줘|주[나는니])"
)
LASTING = re.compile(
    r"얼마나\s*(?:걸|소요|오래)|얼마\s*동안|며칠\s*(?:이나\s*)?(?:걸|소요|동안|안에|이내)"
)
FORMS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(
            r"몇\s*시(?![가-힣]*간)|\b(?:at )?what time\b|\bwhat (?:are|is) .*\bhours\b"
            r"|\bwhen (?:do|does|is|are|will)\b.*\b(?:open|close)\W*(?:$|(?:on|in|at|for|during)\b)"
            r"|\b(?:opening|office|business) hours\b"
            r"|언제\s*(?:문을?\s*)?(?:여(?:나요|는지|니)|열어|닫[나는아])"
            rf"|(?:여는|운영|영업|개관|진료|근무|이용)\s?시간{ENDING}",
            re.IGNORECASE,
        ),
        "clock",
    ),
    (re.compile(r"몇\s*층|\b(?:what|which) floor\b", re.IGNORECASE), "floor"),
    (
        re.compile(
            rf"팩스(?:\s?번호)?{TELLING}{ENDING}|^(?!.*\bhow\b).*\bfax numbers?\b", re.IGNORECASE
        ),
        "fax",
    ),
    (
        re.compile(
            rf"(?:전화\s?번호|연락처|내선(?:\s?번호)?){TELLING}{ENDING}"
            r"|^(?!.*\bhow\b).*\b(?:(?:tele)?phone|extension|contact) numbers?\b"
            r"|\bwhat (?:is|was) the extension\b",
            re.IGNORECASE,
        ),
        "phone",
    ),
    (
        re.compile(
            rf"(?:이메일|메일|전자\s?우편)(?:\s?주소)?{TELLING}{ENDING}"
            r"|^(?!.*\bhow\b).*\be-?mail address\b",
            re.IGNORECASE,
        ),
        "mail",
    ),
)


def form(text: str) -> str | None:
    """The form that the answer must have, when the question names one."""
    return next((name for pattern, name in FORMS if pattern.search(text)), None)


def korean_units(text: str) -> tuple[str, ...] | None:
    """Units that a Korean question admits; () any, None when it asks for no number."""
    asked = re.search(r"몇\s*(\S+)", text)
    if asked:
        found = (units for pattern, units in KOREAN_COUNTERS if re.match(pattern, asked[1]))
        return next(found, ())
    for pattern, units in KOREAN_MEASURES:
        if re.search(rf"(?:{pattern}){ENDING}", text):
            return units
    if PRICED.search(text):
        return MONEY
    return () if re.search(r"얼마|어느\s*정도", text) else None


def english_units(text: str) -> tuple[str, ...]:
    """Units that an English question for a number admits; () any."""
    found = (
        units for pattern, units in ENGLISH_MEASURES if re.search(pattern, text, re.IGNORECASE)
    )
    return next(found, ())
