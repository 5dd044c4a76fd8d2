"""Personal data is covered in both languages, and nothing else is."""

from __future__ import annotations

import random
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core.text.pii import mask, mask_counted

PARTICLES = (
    "은",
    "는",
    "이",
    "가",
    "을",
    "를",
    "로",
    "으로",
    "이고",
    "입니다",
    "에",
    "이며",
    "까지",
)
LEADS = (
    "문의는",
    "제 번호:",
    "담당자",
    "연락처",
    "값은 ",
    "",
    "(",
    "[",
    "“",
    "주민",
    "통지 ",
    "김철수",
)
TAILS = (
    " 연락 주세요.",
    " 확인했습니다.",
    ", 감사합니다.",
    "",
    ")",
    "]",
    "”라고 적었다.",
    "\n다음 줄",
)
SEED = 20251014


def luhn_card(rng: random.Random, gap: str) -> str:
    figures = [rng.choice("4569"), *(rng.choice("0123456789") for _ in range(14))]
    doubled = [int(x) * (2 if i % 2 == 0 else 1) for i, x in enumerate(figures)]
    check = -sum(sum(divmod(value, 10)) for value in doubled) % 10
    whole = "".join(figures) + str(check)
    return gap.join(whole[i : i + 4] for i in range(0, 16, 4))


def digits(rng: random.Random, n: int) -> str:
    return "".join(rng.choice("0123456789") for _ in range(n))


def personal(rng: random.Random) -> str:
    birth = f"{rng.randint(50, 99)}{rng.randint(1, 12):02}{rng.randint(1, 28):02}"
    gap = rng.choice(("-", " ", ".", ""))
    name = (
        "".join(rng.choice("abcdefghij.kl_m") for _ in range(rng.randint(1, 9))).strip(".") or "a"
    )
    area = rng.choice(("02", "031", "042", "051", "062", "070", "064"))
    shapes = [
        f"{name}@{rng.choice(('example.com', 'mail.example.co.kr', 'a.io', 'ex-ample.org'))}",
        f"{rng.choice(('010', '011', '016'))}{gap}{digits(rng, 4)}{gap}{digits(rng, 4)}",
        f"+82-10-{digits(rng, 4)}-{digits(rng, 4)}",
        f"{area}-{digits(rng, rng.choice((3, 4)))}-{digits(rng, 4)}",
        f"{birth}-{rng.randint(1, 4)}{digits(rng, 6)}",
        f"{birth}-{rng.randint(5, 8)}{digits(rng, 6)}",
        f"{rng.randint(111, 899)}-{digits(rng, 3)}-{digits(rng, 6)}",
        f"{rng.randint(3000, 9000)}-{digits(rng, 2)}-{digits(rng, 7)}",
        f"{digits(rng, 6)}-{digits(rng, 2)}-{digits(rng, 6)}",
        f"{rng.randint(300, 399)}-{digits(rng, 4)}-{digits(rng, 4)}-{digits(rng, 2)}",
        luhn_card(rng, rng.choice(("-", " ", ""))),
        f"{rng.randint(100, 899)}-{digits(rng, 2)}-{digits(rng, 5)}",
        f"{rng.randint(11, 28)}-{digits(rng, 2)}-{digits(rng, 6)}-{digits(rng, 2)}",
        f"{rng.choice('MSR')}{digits(rng, 3)}{rng.choice('ABCD')}{digits(rng, 4)}",
    ]
    return rng.choice(shapes)


def isbn13(rng: random.Random) -> str:
    body = f"979{digits(rng, 9)}"
    check = -sum(int(x) * (1, 3)[i % 2] for i, x in enumerate(body)) % 10
    return f"979-{body[3:5]}-{body[5:9]}-{body[9:12]}-{check}"


def clean(rng: random.Random) -> str:
    day = f"{rng.randint(1950, 2035)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
    shapes = [
        f"회의는 {day}에 열립니다.",
        f"기록 {day} {rng.randint(10, 23)}:{rng.randint(10, 59)}:00을 보세요.",
        f"인덱스 {day.replace('-', '')}_{rng.randint(1000, 2359)}로 되돌립니다.",
        f"가격은 {rng.randint(1, 999)},{digits(rng, 3)},{digits(rng, 3)}원입니다.",
        f"The price was ${rng.randint(1, 999)},{digits(rng, 3)}.{digits(rng, 2)} in {day[:4]}.",
        f"버전 {rng.randint(0, 20)}.{rng.randint(0, 99)}.{digits(rng, 3)}-rc{digits(rng, 1)}이다.",
        f"ISBN {isbn13(rng)}를 참고.",
        f"ISBN {isbn13(rng).replace('-', '')} 참고.",
        f"ISBN 89-{digits(rng, 3)}-{digits(rng, 4)}-{rng.randint(0, 9)}은 옛 형식이다.",
        f"서버 192.168.{rng.randint(0, 255)}.{rng.randint(0, 255)}에 접속했다.",
        f"{day[:4]}-{int(day[:4]) + 1} 회계연도 예산",
        f"p. {rng.randint(1, 99)}-{digits(rng, 3)}, doi 10.{digits(rng, 4)}/{digits(rng, 5)}x",
        f"원주율 3.{digits(rng, 14)}까지 계산",
        f"commit {rng.getrandbits(160):040x} by bot",
        f"특허 10-{rng.randint(1990, 2024)}-{digits(rng, 7)}호",
        f"전체 {rng.randint(1, 99)}만 {digits(rng, 4)}명, {rng.randint(1, 99)}.{digits(rng, 1)}%",
        f"대표번호 15{digits(rng, 2)}-{digits(rng, 4)}로 전화",
        f"at {rng.randint(1_500_000_000, 1_900_000_000)} seconds since 1970",
        f"id {rng.getrandbits(32):08x}-{rng.getrandbits(16):04x}-4{rng.getrandbits(12):03x}-"
        f"a{rng.getrandbits(12):03x}-{rng.getrandbits(48):012x}",
    ]
    return rng.choice(shapes)


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        ("010-1234-5678", "01**-****-****"),
        ("901201-1234567", "90****-*******"),
        ("123-456-789012", "12*-***-******"),
        ("test@example.com", "t***@e******.com"),
    ],
)
@pytest.mark.parametrize("frame", ["{}", "번호는{}입니다", "({})", "A: {}, B", "“{}”를", "그{}\n"])
def test_the_four_masks_are_exact(value: str, masked: str, frame: str) -> None:
    """The four examples of requirements document 000 hold bare, glued to Hangul and bracketed."""
    assert mask(frame.format(value)) == frame.format(masked)


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        ("901201-5234567", "[foreigner_number]"),
        ("123-45-67890", "[business_number]"),
        ("11-12-123456-01", "[driving_licence]"),
        ("서울 12-123456-78", "[driving_licence]"),
        ("M123A4567", "[passport]"),
        ("4111 1111 1111 1111", "[card]"),
        ("4111-1111-1111-1112", "41**-****-****-****"),
        ("901201-1******", "90****-*******"),
        ("010 1234 5678", "01**-****-****"),
        ("01012345678", "01**-****-****"),
        ("+82 10-1234-5678", "01**-****-****"),
        ("(02) 123-4567", "02**-****-****"),
        ("+1 202-555-0147", "12**-****-****"),
        ("계좌 110123456789", "계좌 11**********"),
    ],
)
def test_further_kinds(value: str, masked: str) -> None:
    """Other spellings are covered, and further kinds are replaced by their name in brackets."""
    assert mask(f"내용: {value}를") == f"내용: {masked}를"


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        ("9012011234567", "90****-*******"),
        ("8501011234567", "85****-*******"),
        ("9012015234567", "[foreigner_number]"),
        ("8801010000019", "8801010000019"),
        ("1712311234567", "1712311234567"),
        ("1760425200000", "1760425200000"),
    ],
)
def test_thirteen_digits_in_a_row_are_judged(value: str, masked: str) -> None:
    """Resident numbers without a hyphen are covered; article numbers and clock readings stay."""
    assert mask(f"번호 {value}번") == f"번호 {masked}번"


@pytest.mark.parametrize(
    "value",
    [
        "2025-10-14",
        "20251014_1134",
        "1,234",
        "2025-10-14-113045",
        "978-89-01-12345-6",
        "2020-2021",
        "2017 2018 2019 2021",
    ],
)
def test_other_numbers_stay(value: str) -> None:
    """Dates, versions, prices and book numbers are not personal data."""
    assert mask(f"값 {value}입니다") == f"값 {value}입니다"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("전화 ０１０－１２３４－５６７８번", "전화 01**-****-****번"),
        ("전화 01\u200b0-12\u200d34-5678번", "전화 01**-****-****번"),
        ("메일 ｔｅｓｔ＠ｅｘａｍｐｌｅ．ｃｏｍ으로", "메일 t***@e******.com으로"),
        ("\ufeff앞①\u200b뒤 010–1234–5678\u200b끝", "\ufeff앞①\u200b뒤 01**-****-****\u200b끝"),
    ],
)
def test_disguised_digits_are_seen_and_the_rest_is_kept(text: str, masked: str) -> None:
    """Full-width and zero-width tricks do not help, and text around a mask stays as it was."""
    assert mask(text) == masked


def test_counts_name_kinds() -> None:
    """Counts are by kind and hold no values."""
    text = "a@b.com, c@d.com 그리고 010-1234-5678"
    assert mask_counted(text)[1] == {"email": 2, "phone": 1}
    assert mask_counted("아무것도 없음") == ("아무것도 없음", {})


def test_recall_on_generated_korean() -> None:
    """At least 99 % of 2,000 values with particles attached leave nothing recognisable."""
    rng = random.Random(SEED)
    missed = []
    for _ in range(2000):
        value = personal(rng)
        text = f"{rng.choice(LEADS)}{value}{rng.choice(PARTICLES)}{rng.choice(TAILS)}"
        covered = mask(text)
        if value in covered or len(re.findall(r"\d", covered)) > 3:
            missed.append((value, covered))
    assert len(missed) <= 20, missed[:20]


def test_false_positives_on_clean_text() -> None:
    """At most 0.5 % of 2,000 clean sentences are changed."""
    rng = random.Random(SEED)
    sentences = [clean(rng) for _ in range(2000)]
    wrong = [(text, mask(text)) for text in sentences if mask(text) != text]
    assert len(wrong) <= 10, wrong[:20]


PIECES = st.sampled_from(
    [
        "010-1234-5678",
        "901201-1234567",
        "123-456-789012",
        "t@e.com",
        "-",
        "*",
        "01",
        "2",
        "+82",
        "가",
        "@",
        ".",
        "\u200b",
        "０",
        "12-",
        "4111111111111111",
        "M12345678",
        "계좌",
        ")",
        "(",
        "\xa0",
    ]
)


@given(st.lists(PIECES, max_size=12).map("".join) | st.text(max_size=60))
def test_masking_twice_changes_nothing(text: str) -> None:
    """mask(mask(x)) == mask(x)."""
    once = mask(text)
    assert mask(once) == once


@given(st.lists(PIECES, max_size=12).map("".join), st.sampled_from(["가나", " x ", "\n"]))
def test_text_without_finds_is_returned_as_it_was(text: str, filler: str) -> None:
    """Nothing is normalised on the way: no find, no change."""
    masked, counts = mask_counted(filler + text)
    assert counts or masked == filler + text


@given(st.lists(PIECES | st.sampled_from("0123456789@+ -가a."), max_size=14).map("".join))
def test_the_short_way_overlooks_nothing(text: str) -> None:
    """Text that is taken for harmless at a glance has nothing to find."""
    assert mask(text) == mask_counted(text)[0]


@pytest.mark.parametrize(
    "unit",
    ["1", "1-", "a@", "a.", "12-", "0101", "+1 1", "010-1234-5678-", "계좌1", "\u200b0", "x@y.com"],
)
def test_time_grows_with_length_only(unit: str) -> None:
    """Eight times the text takes about eight times as long, also for hostile text of 1 MB."""
    small = unit * (125_000 // len(unit))

    def seconds(text: str) -> float:
        start = time.perf_counter()
        mask(text)
        return time.perf_counter() - start

    once = min(seconds(small) for _ in range(3))
    assert seconds(small * 8) < 40 * once + 0.5


def test_a_short_foreign_number_is_covered() -> None:
    """Fewer than seven figures are personal only behind a plus, which the first look must see."""
    assert "45" not in mask("call +4 12 345")
