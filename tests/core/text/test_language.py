"""The language of a text is the one its reader speaks."""

from __future__ import annotations

import pytest

from apps.core.text import language


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("서울의 인구는?", "ko"),
        ("What is RAG?", "en"),
        ("useEffect의 cleanup이 뭐야", "ko"),
        ("The singer Kim (김) was born in Busan and later moved to Daegu with her family.", "en"),
        ("人工知能", "ko"),
        ("3.14", "en"),
        ("", "en"),
    ],
)
def test_detect(text: str, expected: str) -> None:
    """Code words do not make a Korean question English, nor a name an English text Korean."""
    assert language.detect(text) == expected
