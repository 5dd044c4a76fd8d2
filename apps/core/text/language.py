"""In which of our two languages a text is written."""

from __future__ import annotations

import re

from apps.core.domain.models import Language

# Hangul syllables and letters, and Han characters, which in this product are Hanja.
KOREAN = re.compile(r"[\uac00-\ud7a3\u1100-\u11ff\u3130-\u318f\u3400-\u9fff\uf900-\ufaff]+")
LATIN = re.compile(r"[A-Za-z\u00c0-\u024f]+")
# A Korean question about code is mostly Latin letters ("useEffect의 cleanup이 뭐야"), while an
# English text rarely holds more than a name in Hangul.
KOREAN_SHARE = 0.1
SAMPLE_CHARS = 20_000


def detect(text: str) -> Language:
    """Name the language of `text`; a text without letters counts as English."""
    sample = text[:SAMPLE_CHARS]
    korean = len("".join(KOREAN.findall(sample)))
    if not korean:
        return "en"
    latin = len("".join(LATIN.findall(sample)))
    return "ko" if korean >= KOREAN_SHARE * (korean + latin) else "en"
