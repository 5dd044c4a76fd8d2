"""Faithfulness v1 keeps what a passage says and finds what it does not."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from apps.orchestration.faithfulness import Evidence, judge
from bench.corruptions import HARMLESS, WRONG
from bench.faithfulness import measure

DATA = Path(os.environ.get("DTRAG_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
SEED = 20

KOREAN = (
    "한빛시는 2021년 4월 물빛자전거를 시작하였다. 2025년 3월 현재 대여소는 46곳이고 자전거는 "
    "520대이다. 요금은 30분에 1,000원이며 시민 카드가 있으면 700원이다. 김한솔 과장이 사업을 "
    "맡고 있다. 대여소는 새벽에 운영하지 않는다. 내년 예산은 9억 4000만 원이다. React로 만든 "
    "앱에서 빌린다."
)
ENGLISH = (
    "The Mulbit Bike scheme was opened by Mayor Anna Berg on 5 April 2021. It has 46 stations and "
    "520 bicycles, 80 of them electric. A ride of thirty minutes costs 1,000 won. The scheme is "
    "run by the Transport Division. Bicycles are not rented out between two and four at night. "
    'The city calls it "a quiet revolution" in its report.'
)


@pytest.mark.parametrize(
    "claim",
    [
        "요금은 30분에 1,000원이며 시민 카드가 있으면 700원이다.",
        "요금은 30분에 1000원입니다.",
        "물빛자전거는 2021년 4월에 시작했습니다.",
        "내년 예산은 940,000,000원이다.",
        "김한솔 과장이 사업을 맡는다.",
        "새벽에는 대여소를 운영하지 않습니다.",
        "React로 만든 앱이다.",
        "자전거는 520대, 대여소는 46곳이다.",
    ],
)
def test_what_the_passage_says_in_korean(claim: str) -> None:
    """Word for word, in other speech levels, orders and spellings of numbers."""
    assert judge(claim, Evidence(KOREAN)).supported


@pytest.mark.parametrize(
    "claim",
    [
        "요금은 30분에 2,000원이며 시민 카드가 있으면 700원이다.",
        "물빛자전거는 2022년 4월에 시작했습니다.",
        "이한솔 과장이 사업을 맡고 있다.",
        "대여소는 새벽에 운영한다.",
        "Vue로 만든 앱에서 빌린다.",
        "내년 예산은 94억 원이다.",
        "자전거는 520곳이다.",
        "화성에는 대여소가 없다.",
        "시장은 조례를 공포하였다.",
    ],
)
def test_what_it_does_not_say_in_korean(claim: str) -> None:
    """Other numbers, names, polarity, units, and inventions."""
    assert not judge(claim, Evidence(KOREAN)).supported


@pytest.mark.parametrize(
    ("claim", "supported"),
    [
        ("The scheme has 46 stations and 520 bicycles.", True),
        ("Anna Berg opened the Mulbit Bike scheme in April 2021.", True),
        ('The report calls it "a quiet revolution".', True),
        ("The scheme has 47 stations and 520 bicycles.", False),
        ("Otto Berg opened the Mulbit Bike scheme in April 2021.", False),
        ("The scheme is not run by the Transport Division.", False),
        ("Bicycles are rented out between two and four at night.", False),
        ('The report calls it "a loud revolution".', False),
        ("Penguins live in Antarctica.", False),
    ],
)
def test_english(claim: str, *, supported: bool) -> None:
    """The same rules in English."""
    assert judge(claim, Evidence(ENGLISH)).supported is supported


def test_the_place_is_the_sentence_that_supports() -> None:
    """The span is the shortest run of whole sentences."""
    found = judge("요금은 30분에 1000원입니다.", Evidence(KOREAN))
    quote = KOREAN[found.start : found.end]
    assert quote == "요금은 30분에 1,000원이며 시민 카드가 있으면 700원이다."


def test_a_part_of_a_sentence_may_not_hide_its_negation() -> None:
    """The beginning of a denied sentence is no quotation."""
    assert not judge("대여소는 새벽에 운영", Evidence("대여소는 새벽에 운영하지 않는다.")).supported


def test_a_whole_sentence_is_found_behind_a_part_of_another() -> None:
    """ "나다." is quoted from its own place, not from within "가나다."."""
    text = "가나다. 나다."
    found = judge("나다.", Evidence(text))
    assert (found.support, text[found.start : found.end]) == (1.0, "나다.")


def test_the_title_may_stand_for_a_pronoun() -> None:
    """The name of the article may replace "he"."""
    text = "그는 1990년 서울에서 태어났다."
    assert judge("Kim Hansol은 1990년 서울에서 태어났다.", Evidence(text, "Kim Hansol")).supported
    assert not judge("Kim Hansol은 1990년 서울에서 태어났다.", Evidence(text)).supported


def test_across_languages_numbers_and_names_must_hold() -> None:
    """A Korean sentence about an English passage needs an anchor, and only where it is cited."""
    evidence = Evidence(ENGLISH)
    assert judge("대여소는 46곳이다.", evidence).support == pytest.approx(0.6)
    assert judge("Anna Berg 시장이 2021년에 열었다.", evidence).supported
    assert not judge("대여소는 47곳이다.", evidence).supported
    assert not judge("시장이 직접 열었다.", evidence).supported
    assert not judge("Anna Berg 시장이 2021년에 열었다.", evidence, cited=False).supported


def test_an_empty_passage_supports_nothing() -> None:
    """And nothing breaks."""
    assert not judge("무엇이든 사실이다.", Evidence("")).supported


@pytest.mark.parametrize("text", [KOREAN, ENGLISH], ids=["ko", "en"])
def test_spoiled_sentences_of_our_own_are_found(text: str) -> None:
    """Every number, name and negation that the generator spoils (seed 20) is found."""
    rng = random.Random(SEED)
    names = ["김한솔", "Anna Berg", "Otto Lind", "이도윤", "Transport Division", "Parks Division"]
    evidence = Evidence(text)
    for start, end in evidence.spans:
        for change in WRONG.values():
            claim = change(text[start:end], names, rng)
            assert claim is None or not judge(claim, evidence).supported, claim
        for change in HARMLESS.values():
            claim = change(text[start:end], names, rng)
            assert claim is None or judge(claim, evidence).supported, claim


@pytest.mark.data
@pytest.mark.parametrize("name", ["korquad1.dev.jsonl", "xquad-en.dev.jsonl"])
def test_goals_on_public_sentences(name: str) -> None:
    """Numbers .95, names .85, negation .60 at no more than 5 % false alarms."""
    file = DATA / name
    if not file.is_file():
        pytest.skip("shared data is absent")
    least = {"number": 0.95, "name": 0.85, "negation": 0.60}
    for row in measure(file, count=100, seed=11):
        if row.harmless:
            assert row.dropped_share <= 0.05, row
        else:
            assert row.dropped_share >= least[row.change], row
