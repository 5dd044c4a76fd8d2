"""What a number must be is read off the question."""

from __future__ import annotations

import pytest

from apps.core.text.measures import DURATION, LENGTH, MONEY
from apps.core.text.questions import analyse


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("여권 발급에 얼마나 걸리나요?", DURATION),
        ("허가에 며칠 걸려요?", DURATION),
        ("How long does it take?", (*DURATION, *LENGTH)),
        ("How tall is the Main Building?", LENGTH),
        ("수수료는 얼마예요?", MONEY),
        ("등록하려면 얼마를 내나요?", MONEY),
        ("인구는 얼마인가요?", ("person",)),
        ("가장 흔한 값은 얼마인가?", ()),
        ("How much is the ticket?", MONEY),
        ("해상도는 몇인가?", ()),
        ("청년 월세 지원 나이 제한", ("age",)),
        ("민원실은 몇 층에 있나요?", ("floor",)),
        ("Which floor is the office on?", ("floor",)),
        ("시청 전화번호 알려주세요", ("phone",)),
        ("내선은 몇 번인가요?", ("phone",)),
        ("What is the phone number of the duty office?", ("phone",)),
        ("시청 팩스 번호는?", ("fax",)),
        ("도서관 이메일 주소가 뭐예요?", ("mail",)),
    ],
)
def test_units(text: str, units: tuple[str, ...]) -> None:
    """Durations, prices, floors and ways to reach somebody are told apart."""
    asked = analyse(text)
    assert (asked.answer_type, asked.units) == ("number", units)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("전화번호는 어떤 모양으로 가려지나요?", "thing"),
        ("How is a phone number masked?", "manner"),
        ("축제 기간은 언제인가요?", "time"),
        ("표결 결과는 어땠나요?", "thing"),
    ],
)
def test_a_measure_that_is_only_spoken_of(text: str, kind: str) -> None:
    """A telephone number that is masked, or a period whose date is asked for, is no measure."""
    assert analyse(text).answer_type == kind


def test_how_long_is_no_content() -> None:
    """The words that ask for a duration need not stand in its answer."""
    assert analyse("허가에 며칠 걸려요?").content.split() == ["허가에"]
    assert analyse("How long is the course?").content.split() == ["course"]


@pytest.mark.parametrize(
    ("text", "clock"),
    [
        ("When does the library close on weekdays?", True),
        ("when is the reading room open on saturday", True),
        ("도서관은 언제 문을 닫나요?", True),
        ("도서관 여는 시간", True),
        ("When did the museum open?", False),
        ("When is the library closed?", False),
        ("축제는 언제 열리나요?", False),
    ],
)
def test_hours_are_asked_for_by_when_too(text: str, clock: bool) -> None:
    """What opens again and again opens at an hour; what opened once did so on a day."""
    asked = analyse(text)
    assert asked.answer_type == "time"
    assert (asked.units == ("clock",)) is clock
