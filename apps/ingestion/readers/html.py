"""Web pages: visible text with its paragraphs, without scripts, styles and navigation."""

from __future__ import annotations

import re
from collections.abc import Sequence

from selectolax.lexbor import LexborHTMLParser, LexborNode

from apps.ingestion.items import ItemMeta, Parsed, meta_from
from apps.ingestion.readers.encoding import decode
from apps.ingestion.readers.reader import Reader

CHARSET = re.compile(rb"<meta[^>]{0,200}charset=[\"']?([A-Za-z0-9_-]{1,40})", re.I)
INVISIBLE = "script, style, nav, noscript, template, svg, iframe, object, select, button, form"
BLOCKS = (
    "p, div, section, article, header, footer, main, aside, h1, h2, h3, h4, h5, h6, ul, ol, dl, "
    "li, dt, dd, table, caption, blockquote, pre, figure, figcaption, hr, address, details"
)
# White space of the source means nothing; these stand for line ends until it is folded.
BREAK, PARAGRAPH = "\ue000", "\ue001"


def read(content: bytes) -> Sequence[Parsed]:
    """One document for the page."""
    declared = CHARSET.search(content[:4096])
    return [page(decode(content, declared[1].decode("ascii") if declared else None))]


def page(markup: str) -> Parsed:
    """The text and the fields of a page."""
    tree = LexborHTMLParser(markup.replace(BREAK, "").replace(PARAGRAPH, ""))
    meta = _meta(tree)
    for node in tree.css(INVISIBLE):
        node.decompose()
    body = tree.body
    if body is None:
        return Parsed("", meta)
    _mark(body)
    text = re.sub(r"\s+", " ", body.text())
    text = re.sub(rf" ?{PARAGRAPH}[ {BREAK}{PARAGRAPH}]*", "\n\n", text)
    return Parsed(re.sub(rf" ?{BREAK}[ {BREAK}]*", "\n", text), meta)


def _mark(body: LexborNode) -> None:
    for node in body.css("br, tr"):
        node.insert_before(BREAK)
    for node in body.css("td + td, td + th, th + td, th + th"):
        node.insert_before(" | ")
    for node in body.css("pre"):
        node.replace_with(PARAGRAPH + node.text().replace("\n", BREAK) + PARAGRAPH)
    for node in body.css(BLOCKS):
        mark = BREAK if node.tag in {"li", "dt", "dd"} else PARAGRAPH
        node.insert_before(mark)
        node.insert_after(mark)


def _meta(tree: LexborHTMLParser) -> ItemMeta:
    title = tree.css_first("head > title") or tree.css_first("h1")
    root = tree.css_first("html")
    date = tree.css_first("meta[property='article:published_time'], meta[name='date']")
    return meta_from(
        {
            "title": " ".join(title.text().split()) if title else None,
            "language": root.attributes.get("lang") if root else None,
            "date": date.attributes.get("content") if date else None,
        }
    )


READER = Reader("html", read)
