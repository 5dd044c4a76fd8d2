"""Titles in the embedded text."""

from __future__ import annotations

import pytest

from apps.core.text.titles import with_title


@pytest.mark.parametrize(
    "title", ["report.pdf", "상반기 보고서.hwp", "B2B.PDF - 12", "계획.docx의 사본"]
)
def test_a_file_name_is_not_embedded(title: str) -> None:
    """The name of a file says how it is stored, not what it is about."""
    assert with_title(title, " 본문 ") == "본문"


@pytest.mark.parametrize("title", ["민원 안내", "Node.js basics", "ver.2 plan", "e.mdx"])
def test_a_title_is_embedded_first(title: str) -> None:
    """A title stands on its own line before the text, dots or not."""
    assert with_title(title, "본문") == f"{title}\n본문"


def test_no_title_leaves_the_text() -> None:
    """Without a title there is no empty line."""
    assert with_title("", "본문") == "본문"
