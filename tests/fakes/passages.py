"""Passages for tests of the index."""

from __future__ import annotations

from apps.core.domain.models import Passage, Source
from apps.core.text import language


def passage(
    doc_id: str,
    text: str,
    *,
    number: int = 0,
    title: str = "",
    tags: tuple[str, ...] = (),
    category: tuple[str, ...] = (),
    date: str | None = None,
) -> Passage:
    """A chunk `<doc_id>#<number>` in the language of its text."""
    return Passage(
        chunk_id=f"{doc_id}#{number}",
        doc_id=doc_id,
        title=title,
        text=text,
        start=0,
        end=len(text),
        language=language.detect(text),
        tags=tags,
        category=category,
        source=Source(title=title, date=date),
    )


SMALL = (
    passage("river", "한강은 서울을 지나 황해로 흐른다. 길이는 494킬로미터이다.", title="한강"),
    passage("bank", "한국은행은 기준금리를 결정한다. 금리는 연 3.5퍼센트이다.", title="한국은행"),
    passage("react", "React의 useEffect는 화면이 그려진 뒤에 실행된다.", title="useEffect"),
    passage("school", "Corporal punishment was common in schools. It is banned now.", title=""),
    passage("cell", "Photosynthesis happens in the chloroplast of plant cells.", title="Cells"),
)
