"""Names, identifiers and quotations of a text that another text does not hold."""

from __future__ import annotations

import re
import unicodedata

from apps.core.text.tokens import stem

# `\w` would take a Korean particle along: "useState를".
LATIN = re.compile(r"[A-Za-zÀ-ɏ][A-Za-z0-9_À-ɏ.+#'’-]*[A-Za-z0-9_À-ɏ+#]|[A-Za-z]")
TITLES = (
    "대통령|총리|의원|교수|감독|작가|선수|장관|박사|사장|회장|대표|왕|황제|교황|신부|목사|장군|시인|화가|기자"
    "|변호사|판사|검사|위원장|총재|시장|지사|주교|추기경|배우|가수|코치"
)
HANGUL = re.compile(r"[가-힣]")
QUOTATION = re.compile(
    r"[“\"「『《〈]([^“”\"「」『』《》〈〉]{2,})[”\"」』》〉]|‘([^‘’]{2,})’(?![a-z])"
)
CAMEL = re.compile(r"[a-z][A-Z]|_|\d")
SIGNS = frozenset("%$€£₩°")
THOUSANDS = re.compile(r",\d{3}(?!\d)")
GAP = "."
# Capitalised by grammar, not because they name something.
PLAIN_LIST = """
i a the in on at it he she they we you this that these those and but or if when as what which who
whose whom where why how
"""
PLAIN = frozenset(PLAIN_LIST.split())


def squeeze(text: str) -> tuple[str, list[int]]:
    """What is left of `text` when case, white space and punctuation do not count.

    Numbers stay apart and whole: "3.5" is not "35", "1 5" is not "15", "1,500" is "1500", and
    the signs of %, degrees and money stay.

    Returns:
        lower-case NFKC characters, and the offset in `text` that each came from.
    """
    kept: list[str] = []
    places: list[int] = []
    for at, char in enumerate(text):
        for one in unicodedata.normalize("NFKC", char).casefold():
            gap = one.isdigit() and kept and kept[-1].isdigit() and at - places[-1] > 1
            if gap and not THOUSANDS.match(text, places[-1] + 1):
                kept.append(GAP)
                places.append(at)
            if one.isalnum() or one in SIGNS:
                kept.append(one)
                places.append(at)
    return "".join(kept), places


def names(claim: str) -> list[str]:
    """Latin words of a Korean claim; capitalised words and identifiers of an English one."""
    korean = HANGUL.search(claim) is not None
    found = LATIN.finditer(claim)
    return [match.group() for match in found if korean or _is_name(match, claim)]


def foreign_names(claim: str, text: str) -> list[str]:
    """The `names` of a claim that `text` lacks; plural and case do not matter."""
    known = {stem(word) for word in _words(text)}
    return [name for name in names(claim) if any(stem(word) not in known for word in _words(name))]


def foreign_quotations(claim: str, text: str) -> list[str]:
    """What the claim puts between quotation marks and `text` does not hold."""
    flat, _ = squeeze(text)
    found = (match[1] or match[2] for match in QUOTATION.finditer(claim))
    return [quoted for quoted in found if squeeze(quoted)[0] not in flat]


def _words(text: str) -> list[str]:
    """Lower-case parts of Latin words: "Mary's" and "Anglo-Saxon" are two each."""
    found = LATIN.findall(unicodedata.normalize("NFKC", text))
    parts = (part for word in found for part in re.split(r"['’.\-]", word.casefold()))
    return [part for part in parts if len(part) > 1 or part.isdigit()]


def _is_name(match: re.Match[str], claim: str) -> bool:
    word = match.group()
    if CAMEL.search(word):
        return True
    if not word[0].isupper() or word.casefold() in PLAIN:
        return False
    starts = not any(char.isalnum() for char in claim[: match.start()])
    following = claim[match.end() : match.end() + 2].strip()
    return not starts or following[:1].isupper()
