"""Numbers, dates and units of Korean and English text in one normal form, with their places.

"9억 4000여만 원", "940,000,000원" and "₩940 million" are the same quantity; "5 %", "５％" and
"5퍼센트" too. Two quantities that differ in spelling only are equal; nothing is rounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with its canonical unit ("" when it stands alone) at [start, end) of the text."""

    value: str
    unit: str
    start: int
    end: int


# Full-width ASCII becomes ASCII one character for one, so that offsets stay what they are.
NARROW = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20, 0xA0: 0x20}

MULTIPLIERS = {
    "조": 10**12,
    "억": 10**8,
    "만": 10**4,
    "천": 10**3,
    "백": 10**2,
    "trillion": 10**12,
    "billion": 10**9,
    "million": 10**6,
    "thousand": 10**3,
    "hundred": 10**2,
}
UNIT_WORDS: dict[str, str] = {
    "%": "% 퍼센트 프로 percent per|cent",
    "%p": "%p %포인트 퍼센트포인트 percentage|points percentage|point",
    "year": "년 연도 년도 years year yrs yr",
    "months": "개월 달 months",
    "month": "월",
    "day": "일 days day",
    "week": "주일 주 weeks week",
    "hour": "시간 hours hour hrs",
    "clock": "시",
    "minute": "분 minutes minute mins",
    "quarter": "분기 사분기 /4분기 quarters",
    "second": "초 seconds second secs",
    "decade": "년대 decades",
    "century": "세기 centuries",
    "age": "세 살 years|old",
    "person": "명 인 people persons",
    "item": "개",
    "country": "개국 countries",
    "count": "회 차례 번 times",
    "ordinal": "번째 회째",
    "rank": "위",
    "score": "점 points",
    "won": "원 won krw",
    "dollar": "달러 dollars dollar usd",
    "yen": "엔 yen",
    "euro": "유로 euros euro",
    "yuan": "위안 yuan",
    "pound": "파운드 pounds",
    "km": "km 킬로미터 kilometers kilometres kilometer kilometre ㎞",
    "m": "m 미터 meters metres meter metre",
    "cm": "cm 센티미터 센티 centimeters ㎝",
    "mm": "mm 밀리미터 millimeters ㎜",
    "mile": "miles mile 마일",
    "foot": "feet foot ft 피트",
    "inch": "inches inch 인치",
    "kg": "kg 킬로그램 kilograms ㎏",
    "g": "g 그램 grams",
    "ton": "톤 t tons tonnes",
    "area": "㎡ 평 km² km2 m²",
    "degree": "도 ℃ °c °f °",
    "mb": "mb 메가바이트",
    "gb": "gb 기가바이트",
    "ms": "ms 밀리초 milliseconds",
    "vehicle": "대",
    "case": "건",
    "place": "곳 군데",
    "sheet": "장",
    "book": "권",
    "kind": "가지 종류 종",
    "game": "경기",
    "goal": "골",
    "article": "조",
    "paragraph": "항",
    "generation": "세대",
    "floor": "층",
}
UNITS: dict[str, str] = {
    spelling.replace("|", " "): unit
    for unit, spellings in UNIT_WORDS.items()
    for spelling in spellings.split()
}
CURRENCY = {"$": "dollar", "₩": "won", "€": "euro", "£": "pound", "¥": "yen"}
# A version ("2.3.4") is kept as it is written.
DIGITS = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)*"
# "조" is also an article of a law ("제65조"): it multiplies only where money or digits follow.
STEP = r"\s?(?:여\s?)?(?:조(?=\s?\d|\s?여?\s?원|\s?달러|\s?위안|\s?엔)|억|만|천|백)여?"
KOREAN_NUMBER = (
    rf"(?:{DIGITS})(?:{STEP})*(?:\s?(?:{DIGITS})(?:{STEP})+)*(?:(?<=[조억만천백])\s?(?:{DIGITS}))?"
)
ENGLISH_SCALE = r"(?:[\s-](?:trillion|billion|million|thousand|hundred)\b)?"
UNIT_PATTERN = "|".join(re.escape(word) for word in sorted(UNITS, key=len, reverse=True))
# A one-syllable unit after a space is a unit only where no other syllable but a particle follows:
# "3 일본" is not three days.
PATTERN = re.compile(
    rf"(?<![\d.,])(?P<number>{KOREAN_NUMBER}{ENGLISH_SCALE})"
    rf"(?:(?P<tight>{UNIT_PATTERN})(?![A-Za-z])"
    rf"|[\s-](?P<loose>{UNIT_PATTERN})(?![A-Za-z])(?=[^가-힣]|$|[은는이가을를의에로와과도만]|으로|까지|부터))?",
    re.IGNORECASE,
)
ANY_DIGIT = re.compile(r"\d")
PIECE = re.compile(
    rf"({DIGITS})|(조|억|만|천|백)|(trillion|billion|million|thousand|hundred)", re.I
)

MONTH_LIST = "january february march april may june july august september october november december"
MONTHS = {name: number for number, name in enumerate(MONTH_LIST.split(), start=1)}
MONTHS |= {name[:3]: number for name, number in MONTHS.items()} | {"sept": 9}
MONTH_WORD = "|".join(sorted(MONTHS, key=len, reverse=True))
NUMERIC_DATE = re.compile(
    r"(?<![\d.])(?P<year>(?:1[0-9]|20)\d\d)\s?[-./]\s?(?P<month>0?[1-9]|1[0-2])"
    r"(?:\s?[-./]\s?(?P<day>0?[1-9]|[12]\d|3[01]))?(?![\d])(?!\.\d)"
)
ENGLISH_DATE = re.compile(
    rf"(?:(?P<day>\d{{1,2}})(?:st|nd|rd|th)?\s(?:of\s)?)?\b(?P<month>{MONTH_WORD})\b\.?"
    rf"(?:\s(?P<after>\d{{1,2}})(?:st|nd|rd|th)?(?!\d))?(?:,?\s(?P<year>1\d{{3}}|20\d\d)\b)?",
    re.IGNORECASE,
)
SHORT_YEAR = re.compile(r"['‘’](?P<year>\d\d)(?=\s?년|\s?[.~∼-]|\b)")


def quantities(text: str) -> list[Quantity]:
    """Every number of `text`, in order; the parts of a date are quantities of their own."""
    if not ANY_DIGIT.search(text):
        return []
    flat = text.translate(NARROW)
    dated = [*_dates(flat)]
    taken = [(found.start, found.end) for found in dated]
    plain = [
        found
        for found in _numbers(flat)
        if not any(start < found.end and found.start < end for start, end in taken)
    ]
    return sorted([*dated, *plain], key=lambda found: (found.start, found.end))


def holds(claim: Quantity, known: frozenset[tuple[str, str]]) -> bool:
    """Whether `known` values (see `values`) contain the claimed one.

    A claimed number without a unit is content with any unit; a calendar year or a month may lose
    its unit in the other language.
    """
    if (claim.value, claim.unit) in known or ((claim.value, "*") in known and claim.unit == ""):
        return True
    return claim.unit in ("year", "month", "day") and (claim.value, "") in known


def values(text: str) -> frozenset[tuple[str, str]]:
    """(value, unit) of every quantity, and (value, "*") for "with whatever unit"."""
    found = quantities(text)
    return frozenset(pair for one in found for pair in ((one.value, one.unit), (one.value, "*")))


def _dates(flat: str) -> Iterator[Quantity]:
    for match in NUMERIC_DATE.finditer(flat):
        yield from _parts(match, ("year", "month", "day"))
    for match in ENGLISH_DATE.finditer(flat):
        if match["day"] or match["after"] or match["year"]:
            yield from _parts(match, ("day", "month", "after", "year"))
    for match in SHORT_YEAR.finditer(flat):
        yield Quantity(f"20{match['year']}", "year", match.start(), match.end())


def _parts(match: re.Match[str], names: tuple[str, ...]) -> Iterator[Quantity]:
    for name in names:
        word = match[name]
        if word:
            number = str(MONTHS.get(word.lower(), word)).lstrip("0")
            unit = "day" if name == "after" else name
            yield Quantity(number, unit, match.start(name), match.end(name))


def _numbers(flat: str) -> Iterator[Quantity]:
    for match in PATTERN.finditer(flat):
        unit, start = match["tight"] or match["loose"], match.start()
        before = flat[max(0, start - 1) : start]
        name = UNITS[unit.lower()] if unit else CURRENCY.get(before, "")
        start -= before in CURRENCY
        yield Quantity(_value(match["number"]), name, start, match.end())


def _value(number: str) -> str:
    """Read "3조 2천5백억" as Chinese-style groups: 천 and 백 inside a group, 만 억 조 close it."""
    if number.count(".") > 1:
        return number
    total, group, current = Decimal(0), Decimal(0), Decimal(0)
    for digits, korean, english in PIECE.findall(number):
        if digits:
            current = Decimal(digits.replace(",", ""))
        elif english:
            current *= MULTIPLIERS[english.lower()]
        elif korean in "천백":
            group += (current or Decimal(1)) * MULTIPLIERS[korean]
            current = Decimal(0)
        else:
            total += (group + current or Decimal(1)) * MULTIPLIERS[korean]
            group, current = Decimal(0), Decimal(0)
    text = f"{total + group + current:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
