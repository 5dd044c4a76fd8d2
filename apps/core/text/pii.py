"""Masks personal data in Korean and English text; the one choke point before any sink.

Kinds with the masks of requirements document 000: phone, resident number, account, e-mail.
Further kinds are replaced by their name in brackets. Look-arounds are digits and ASCII letters,
never `\\b`: Hangul is a word character, so `\\b` misses `메일은test@example.com입니다`.

Patterns see a copy in which full-width and other compatible characters are ASCII and zero-width
characters are gone; what they find is mapped back to the text as it was given. Masking repeats
until nothing is found, so `mask(mask(x)) == mask(x)` holds by construction. Every pattern is
anchored by a look-behind and has bounded or disjoint repeats: time is linear in the text.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate, chain

# Blocks in which NFKC turns one character into one ASCII character (full-width, mathematical,
# circled, super- and subscript forms); measured: building the table takes about 1 ms.
_COMPATIBLE = ((0xA0, 0x100), (0x2000, 0x2500), (0xFE10, 0xFFF0), (0x1D400, 0x1D800))
_DASHES = "‐‑‒–—―−⁃﹘－ー"
_ZERO_WIDTH = re.compile(
    "[\u00ad\u034f\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]"
)
_PLAIN = re.compile(r"[\x00-\x7f가-힣]*")
# What every rule needs in flat text: an address has `@`, a foreign phone number `+`, and the
# shortest of the others (a passport) seven figures. Most questions have none of it.
_SIGNS = re.compile(r"[@+]")
_FIGURE, _FEWEST_FIGURES = re.compile(r"\d"), 7
# Both at once for most text; it has nothing to be made flat.
_DULL = re.compile(r"(?:[\x00-*,-/:-?A-\x7f가-힣]*+[0-9]){0,6}+[\x00-*,-/:-?A-\x7f가-힣]*+")


def mask(text: str) -> str:
    """Return `text` with personal data masked."""
    return text if _DULL.fullmatch(text) else mask_counted(text)[0]


def mask_counted(text: str) -> tuple[str, dict[str, int]]:
    """Return the masked text and how often each kind was found; counts, never values."""
    counts: Counter[str] = Counter()
    while True:
        found = sorted(_find(text))
        if not found:
            return text, dict(counts)
        counts.update(kind for _, _, kind, _ in found)
        cuts = chain([0], (end for _, end, _, _ in found))
        kept = (text[a:start] for a, (start, *_) in zip(cuts, found, strict=False))
        masks = (replacement for *_, replacement in found)
        text = "".join(chain.from_iterable(zip(kept, masks, strict=True))) + text[found[-1][1] :]


def _find(text: str) -> Iterator[tuple[int, int, str, str]]:
    flat, original = (text, _same) if _PLAIN.fullmatch(text) else _flatten(text)
    if _SIGNS.search(flat) is None and len(_FIGURE.findall(flat)) < _FEWEST_FIGURES:
        return
    for rule in _RULES:
        pieces, at = [], 0
        for match in rule.pattern.finditer(flat):
            start, end = match.span("value")
            value = flat[start:end]
            if not rule.accept(value):
                continue
            yield original(start), original(end - 1) + 1, rule.kind, rule.cover(value)
            # Blanked, not removed: later rules must not join what stood on both sides.
            pieces += [flat[at:start], "\0" * (end - start)]
            at = end
        if at:
            flat = "".join(pieces) + flat[at:]


def _flatten(text: str) -> tuple[str, Callable[[int], int]]:
    flat = text if text.isascii() else text.translate(_TO_ASCII)
    gaps = [match.start() for match in _ZERO_WIDTH.finditer(flat)]
    if not gaps:
        return flat, _same
    # The n-th gap stands before flat offset gap - n, so that many characters were dropped.
    before = [gap - n for n, gap in enumerate(gaps)]
    return _ZERO_WIDTH.sub("", flat), lambda at: at + bisect_right(before, at)


def _same(at: int) -> int:
    return at


def _ascii_table() -> dict[int, str]:
    forms = (
        (code, unicodedata.normalize("NFKC", chr(code)))
        for low, high in _COMPATIBLE
        for code in range(low, high)
    )
    table = {code: form for code, form in forms if len(form) == 1 and form.isascii()}
    return table | {ord(dash): "-" for dash in _DASHES}


_TO_ASCII = _ascii_table()


def _digits(value: str) -> str:
    return re.sub(r"\D", "", value)


_YEARS = re.compile(r"(?:(?:19|20)\d\d[ -]?)+")


def _always(_: str) -> bool:
    return True


def _luhn(value: str) -> bool:
    """Whether the check digit holds (ISO/IEC 7812-1, annex B); a row of years is no card."""
    if _YEARS.fullmatch(value):
        return False
    figures = [int(figure) for figure in reversed(_digits(value))]
    doubled = (sum(divmod(2 * figure, 10)) for figure in figures[1::2])
    return (sum(figures[::2]) + sum(doubled)) % 10 == 0


def _ean13(figures: str) -> bool:
    """Whether 13 digits are a valid article number (GS1 General Specifications, 7.9)."""
    weighted = (int(figure) * (1, 3)[place % 2] for place, figure in enumerate(figures))
    return sum(weighted) % 10 == 0


def _isbn10(figures: str) -> bool:
    """Whether ten digits are a valid ISBN-10 (ISO 2108:1992)."""
    return len(figures) == 10 and sum(accumulate(accumulate(map(int, figures)))) % 11 == 0


def _resident_checked(figures: str) -> bool:
    """Whether the last of 13 digits is the old check digit of a resident number.

    Source: weights 2..9, 2..5, modulo 11 (enforcement rules of the Resident Registration Act as
    in force until October 2020; later numbers have none).
    """
    weights = (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)
    total = sum(w * int(figure) for w, figure in zip(weights, figures, strict=False))
    return (11 - total % 11) % 10 == int(figures[12])


def _bare_resident(value: str) -> bool:
    # 13 digits in a row may be an article number (880…) or milliseconds since 1970 (15… to 19…).
    if _resident_checked(value):
        return True
    too_old = value[:2] < "20" and value[6] in "1256"
    return not too_old and not _ean13(value)


def _phone_accepted(value: str) -> bool:
    return not (value.isdigit() and _isbn10(value))


_DATED = re.compile(r"(?:19|20)\d\d-(?:0[1-9]|1[0-2])-")
_PATENT = re.compile(r"[1-4]0-(?:19|20)\d\d-\d{5,7}")  # Korean filing numbers: kind-year-serial


def _account_accepted(value: str) -> bool:
    figures = _digits(value)
    if not 10 <= len(figures) <= 16 or _isbn10(figures):
        return False
    if _DATED.match(value) or _PATENT.fullmatch(value):
        return False
    groups = value.split("-")
    isbn = figures.startswith(("978", "979")) if len(figures) == 13 else len(groups[-1]) == 1
    return (not isbn or len(figures) == 12) and not _YEARS.fullmatch(value)


def _cover_email(value: str) -> str:
    local, _, domain = value.partition("@")
    *labels, top = domain.split(".")
    covered = [label[0] + "*" * max(1, len(label) - 1) for label in labels]
    return ".".join([f"{local[0]}***@{covered[0]}", *covered[1:], top])


def _cover_phone(value: str) -> str:
    figures = _digits(value)
    if value.startswith("+82") or (figures.startswith("82") and len(figures) > 10):
        figures = "0" + figures[2:].lstrip("0")
    return f"{figures[:2]}**-****-****"


def _cover_account(value: str) -> str:
    return value[:2] + re.sub(r"\d", "*", value[2:])


@dataclass(frozen=True, slots=True)
class _Rule:
    kind: str
    pattern: re.Pattern[str]
    cover: Callable[[str], str]
    accept: Callable[[str], bool] = _always


def _named(kind: str) -> Callable[[str], str]:
    return lambda _: f"[{kind}]"


def _number(body: str) -> re.Pattern[str]:
    """A number that does not continue on either side, not even as a mask that stands already."""
    return re.compile(rf"(?<![0-9A-Za-z_*-])(?P<value>{body})(?![0-9A-Za-z_*]|-[0-9*])")


_BIRTH = r"\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
_GAP = r"[ .)-]{0,3}"  # 010-1234-5678, 010 1234 5678, 010.1234.5678, 010) 1234 - 5678
_SURE_GAP = r"[ .)-]{1,3}"
_AREA = r"0(?:2|3[1-3]|4[1-4]|5[1-5]|6[1-4]|70|80|50\d)"
_REGION = "서울|부산|대구|인천|광주|대전|울산|세종|경기|강원|충북|충남|전북|전남|경북|경남|제주"

# In the order in which they may claim text.
_RULES = (
    _Rule(
        "email",
        re.compile(
            r"(?<![A-Za-z0-9._%+-])"
            r"(?P<value>[A-Za-z0-9._%+-]+@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,24})"
        ),
        _cover_email,
    ),
    _Rule(
        "resident_number",
        _number(rf"{_BIRTH} ?[- ] ?[0-49](?:\d{{6}}|\*{{6}})"),
        lambda value: f"{value[:2]}****-*******",
    ),
    _Rule(
        "resident_number",
        _number(rf"{_BIRTH}[1-4]\d{{6}}"),
        lambda value: f"{value[:2]}****-*******",
        _bare_resident,
    ),
    _Rule(
        "foreigner_number",
        _number(rf"{_BIRTH} ?[- ] ?[5-8](?:\d{{6}}|\*{{6}})"),
        _named("foreigner_number"),
    ),
    _Rule(
        "foreigner_number",
        _number(rf"{_BIRTH}[5-8]\d{{6}}"),
        _named("foreigner_number"),
        _bare_resident,
    ),
    _Rule(
        "driving_licence",
        _number(rf"(?:(?:{_REGION}) ?-?|(?:1[1-9]|2[0-8])-)\d{{2}}-\d{{6}}-\d{{2}}"),
        _named("driving_licence"),
    ),
    _Rule(
        "phone",
        re.compile(
            rf"(?<![\d*])(?<!\d[.,])(?P<value>"
            rf"\+?82{_GAP}0?{_GAP}1[016-9]{_GAP}\d{{3,4}}{_GAP}\d{{4}}"
            rf"|\+82{_GAP}{_AREA[1:]}{_GAP}\d{{3,4}}{_GAP}\d{{4}}"
            rf"|01[016-9]{_GAP}\d{{3,4}}{_GAP}\d{{4}}"
            rf"|(?:{_AREA}|\({_AREA}\)){_SURE_GAP}\d{{3,4}}{_SURE_GAP}\d{{4}}"
            rf"|{_AREA}\d{{7,8}}"
            rf"|\+(?!82)[1-9]\d{{0,2}}(?:[ .-]{{1,2}}\(?\d{{1,4}}\)?){{2,4}}"
            rf"|\(?[2-9]\d\d\)?[ -][2-9]\d\d-\d{{4}}"
            rf")(?![\d*])"
        ),
        _cover_phone,
        _phone_accepted,
    ),
    _Rule(
        "card",
        _number(
            r"(?:[2-69]\d{3}(?P<gap>[ -]?)\d{4}(?P=gap)\d{4}(?P=gap)\d{4}"
            r"|3[47]\d\d(?P<amex>[ -]?)\d{6}(?P=amex)\d{5})"
        ),
        _named("card"),
        _luhn,
    ),
    _Rule("business_number", _number(r"\d{3}-\d{2}-\d{5}"), _named("business_number")),
    _Rule(
        "passport",
        _number(r"[MSRODG](?:\d{8}|\d{3}[A-Z]\d{4})"),
        _named("passport"),
    ),
    _Rule(
        "account",
        _number(r"\d{2,6}(?:-\d{2,7}){2}(?:-\d{1,6})?"),
        _cover_account,
        _account_accepted,
    ),
    _Rule(
        "account",
        re.compile(
            r"(?:계좌|통장|[Aa]ccount)[^\d\n@*]{0,16}"
            r"(?P<value>\d{2,14}(?:[ -]\d{2,8}){0,3})(?![\d*-])"
        ),
        _cover_account,
        _account_accepted,
    ),
)
