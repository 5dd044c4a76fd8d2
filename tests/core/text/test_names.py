"""Names, identifiers and quotations must stand in the source."""

from __future__ import annotations

import pytest

from apps.core.text.names import foreign_names, foreign_quotations, squeeze


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ("1,500원", "1500 원", True),
        ("Hello, World!", "hello world", True),
        ("ＡＢＣ", "abc", True),
        ("3.5%", "35%", False),
        ("1 5", "15", False),
        ("5%", "5", False),
    ],
)
def test_squeeze(left: str, right: str, *, same: bool) -> None:
    """Case, space and punctuation vanish; numbers stay what they are."""
    assert (squeeze(left)[0] == squeeze(right)[0]) is same


def test_squeeze_remembers_places() -> None:
    """Each character knows where it stood."""
    flat, places = squeeze("a, B")
    assert (flat, places) == ("ab", [0, 3])


@pytest.mark.parametrize(
    ("claim", "text", "foreign"),
    [
        ("React의 useState를 쓴다.", "React는 useState 훅을 준다.", []),
        ("React의 useMemo를 쓴다.", "React는 useState 훅을 준다.", ["useMemo"]),
        ("The bridge was built by Anna Berg.", "Anna Berg built the bridge.", []),
        ("The bridge was built by Otto Berg.", "Anna Berg built the bridge.", ["Otto"]),
        ("Anna Berg built it.", "Otto Berg built it.", ["Anna"]),
        ("Bridges are built quickly.", "They build a bridge.", []),
        ("Call flush_all to finish.", "Call flush to finish.", ["flush_all"]),
    ],
)
def test_foreign_names(claim: str, text: str, foreign: list[str]) -> None:
    """Latin words in Korean, capitals and identifiers in English."""
    assert foreign_names(claim, text) == foreign


def test_quotations_are_literal() -> None:
    """What stands between quotation marks must have been said."""
    assert foreign_quotations('시장은 "반대한다"고 했다.', '"찬성한다"고 했다.') == ["반대한다"]
    assert foreign_quotations("시장은 「찬성 한다」고 했다.", '"찬성한다"고 했다.') == []
