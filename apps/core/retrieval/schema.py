"""How passages are laid out for tantivy: fields, terms, and the writer.

Two indexes with the same fields stand side by side: whole passages, and windows of
neighbouring sentences, which say where in a passage the words stand together.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate
from pathlib import Path

import tantivy

from apps.core.domain.models import Passage
from apps.core.text import sentences, tokens

PASSAGES = "passages"
WINDOWS = "windows"
GRAINS = (PASSAGES, WINDOWS)
# A window starts at each sentence and holds as many as it takes to reach this length: about
# three sentences of Korean prose, or six to ten lines of a page cut up by its layout. On the dev
# sets 150 to 300 are alike; windows of three sentences whatever their length lose two points on
# pages of short lines.
WINDOW_CHARS = 200
# A title says what the whole passage is about, so it counts as if it stood there twice. Twice or
# three times rank the dev sets alike; once loses four points of first hits on multihop-en.
TITLE_TIMES = 2
# tantivy refuses less than 15 MB; one writer thread keeps the order of documents.
HEAP_BYTES = 50_000_000
TOKENIZER = "whitespace"


def schema() -> tantivy.Schema:
    """Fields: bigrams and stems (scored), key (filter terms), date (yyyymmdd), row.

    A search scores the stems of passages and the bigrams of windows; the bigrams of passages are
    there to be counted.
    """
    builder = tantivy.SchemaBuilder()
    for name in ("bigrams", "stems"):
        builder.add_text_field(name, tokenizer_name=TOKENIZER, index_option="freq")
    builder.add_text_field("key", tokenizer_name="raw", index_option="basic")
    builder.add_unsigned_field("date", indexed=True, fast=True)
    builder.add_unsigned_field("row", fast=True)
    return builder.build()


def create(directory: Path) -> None:
    """Make both indexes, empty, below `directory`."""
    for grain in GRAINS:
        (directory / grain).mkdir(parents=True)
        tantivy.Index(schema(), str(directory / grain))


def extend(directory: Path, added: Sequence[tuple[int, Passage]], removed: Collection[str]) -> None:
    """Delete the documents `removed` and add passages with their row numbers, in one commit."""
    writers = {}
    for grain in GRAINS:
        index = tantivy.Index.open(str(directory / grain))
        analyzer = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace()).build()
        index.register_tokenizer(TOKENIZER, analyzer)
        writers[grain] = index.writer(heap_size=HEAP_BYTES, num_threads=1)
    for writer in writers.values():
        for doc_id in removed:
            writer.delete_documents_by_term("key", doc_key(doc_id))
    for row, passage in added:
        for grain, document in _documents(row, passage):
            writers[grain].add_document(document)
    for writer in writers.values():
        writer.commit()
        writer.wait_merging_threads()


def doc_key(doc_id: str) -> str:
    """The filter term of a document."""
    return f"d:{doc_id}"


def tag_key(tag: str) -> str:
    """The filter term of a tag."""
    return f"t:{tag}"


def language_key(language: str) -> str:
    """The filter term of a language."""
    return f"l:{language}"


def category_key(path: Sequence[str]) -> str:
    """The filter term of a category path; a passage has one for each prefix of its path."""
    return "c:" + "\x1f".join(path)


def day(date: str | None) -> int:
    """An ISO date as yyyymmdd, 0 when there is none or it is not a date."""
    digits = (date or "").replace("-", "")
    return int(digits) if len(digits) == 8 and digits.isdecimal() and digits.isascii() else 0


def _keys(passage: Passage) -> list[str]:
    prefixes = accumulate(((name,) for name in passage.category), tuple.__add__)
    return [
        doc_key(passage.doc_id),
        language_key(passage.language),
        *map(tag_key, passage.tags),
        *map(category_key, prefixes),
    ]


def _documents(row: int, passage: Passage) -> Iterator[tuple[str, tantivy.Document]]:
    """The passage and its windows; the title belongs to each of them."""
    pieces = [passage.text[start:end] for start, end in sentences.split(passage.text)]
    texts = [" ".join([passage.title] * TITLE_TIMES), *pieces]
    # No term crosses the border of a sentence, so a window's terms are those of its sentences.
    bigrams = [" ".join(tokens.bigrams(text)) for text in texts]
    keys, date = _keys(passage), day(passage.source.date)
    spans = [(PASSAGES, 0, len(pieces)), *((WINDOWS, a, b) for a, b in windows(pieces))]
    for grain, start, end in spans:
        document = tantivy.Document()
        document.add_text("bigrams", " ".join([bigrams[0], *bigrams[start + 1 : end + 1]]))
        if grain == PASSAGES:
            document.add_text(
                "stems", " ".join(word for text in texts for word in tokens.stems(text))
            )
        document.add_unsigned("row", row)
        document.add_unsigned("date", date)
        for key in keys:
            document.add_text("key", key)
        yield grain, document


def windows(pieces: Sequence[str]) -> list[tuple[int, int]]:
    """[start, end) over sentences: from each one on until `WINDOW_CHARS` or the end."""
    found: list[tuple[int, int]] = []
    for start in range(len(pieces)):
        end, length = start, 0
        while end < len(pieces) and length < WINDOW_CHARS:
            length += len(pieces[end]) + 1
            end += 1
        found.append((start, end))
        if end == len(pieces):
            break
    return found or [(0, 0)]
