"""What of a document's title helps to find it."""

from __future__ import annotations

import re

# Not \b after the ending: Python sees no boundary between a Latin letter and Hangul.
FILE_NAME = re.compile(
    r"\.(?:pdf|docx?|hwpx?|pptx?|xlsx?|html?|md|txt|csv|jsonl?)(?![a-z0-9])", re.IGNORECASE
)


def with_title(title: str, text: str) -> str:
    """The text that is embedded: the title before the passage, unless it is a file's name.

    Measured with e5 on allganize-ko, whose titles are names of files: nDCG@10 of the dense leg
    .764 with them, .803 without.
    """
    return text.strip() if FILE_NAME.search(title) else f"{title}\n{text}".strip()
