"""Values as JsonLogic sees them: truth, equality, order, text, number and look-up.

The rules are JavaScript's, except that an empty list is false; flagd and its providers follow
the same reference.

Source: the JsonLogic specification and ECMA-262, sections 7.1 and 7.2.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal

DECIMAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
OTHER_BASE = re.compile(r"0(?:[xX][0-9a-fA-F]+|[oO][0-7]+|[bB][01]+)")
INFINITE = {"Infinity": math.inf, "+Infinity": math.inf, "-Infinity": -math.inf}
# From here on JavaScript writes a number with an exponent.
SMALL, LARGE = 1e-6, 1e21
MAX_DIGITS = 400


def truthy(value: object) -> bool:
    """Whether a condition with this value holds; "0" and {} are true, "" and [] are not."""
    if isinstance(value, float) and math.isnan(value):
        return False
    return bool(value) or isinstance(value, dict)


def loosely_equal(a: object, b: object) -> bool:
    """`==`: texts, booleans and numbers meet as numbers, null equals nothing but null."""
    if isinstance(a, str) and isinstance(b, str):
        return a == b
    if a is None or b is None:
        return a is b
    if isinstance(a, list | dict) and isinstance(b, list | dict):
        return a is b
    left, right = primitive(a), primitive(b)
    if isinstance(left, str) and isinstance(right, str):
        return left == right
    return number(left) == number(right)


def strictly_equal(a: object, b: object) -> bool:
    """`===`: the same kind and the same value; 1 equals 1.0 and not true."""
    if isinstance(a, bool) or isinstance(b, bool) or isinstance(a, list | dict):
        return a is b
    if isinstance(a, int | float) and isinstance(b, int | float):
        return a == b
    return type(a) is type(b) and a == b


def less(a: object, b: object) -> bool:
    """`<`: two texts by their characters, everything else as numbers."""
    left, right = primitive(a), primitive(b)
    if isinstance(left, str) and isinstance(right, str):
        return left < right
    return number(left) < number(right)


def less_or_equal(a: object, b: object) -> bool:
    """`<=`: as `less`."""
    left, right = primitive(a), primitive(b)
    if isinstance(left, str) and isinstance(right, str):
        return left <= right
    return number(left) <= number(right)


def contains(needle: object, haystack: object) -> bool:
    """`in`: a member of a list, or a part of a text."""
    if isinstance(haystack, list):
        return any(strictly_equal(needle, item) for item in haystack)
    if isinstance(haystack, str) and haystack:
        return ("null" if needle is None else text(needle)) in haystack
    return False


def primitive(value: object) -> object:
    """Lists and maps as texts, everything else as it is."""
    return text(value) if isinstance(value, list | dict) else value


def number(value: object) -> float:
    """A primitive as a number; not a number for a text that names none."""
    if isinstance(value, int | float):
        return value
    if value is None:
        return 0
    word = str(value).strip()
    if not word:
        return 0
    if len(word) <= MAX_DIGITS and DECIMAL.fullmatch(word):
        return float(word)
    if len(word) <= MAX_DIGITS and OTHER_BASE.fullmatch(word):
        return int(word, 0)
    return INFINITE.get(word, math.nan)


def text(value: object) -> str:
    """A value as `cat` writes it: nothing for null, a comma between the items of a list."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _digits(value)
    if isinstance(value, list):
        return ",".join(text(item) for item in value)
    return "[object Object]" if isinstance(value, dict) else str(value)


def _digits(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "0"
    if SMALL <= abs(value) < LARGE:
        plain = format(Decimal(repr(value)), "f")
        return plain.rstrip("0").rstrip(".") if "." in plain else plain
    return re.sub(r"\.0(?=e)", "", re.sub(r"e([+-])0*", r"e\1", repr(value)))


def look_up(data: object, path: str) -> object:
    """The value at a dotted path, None where it ends early; the empty path is everything."""
    if path == "":
        return data
    for name in path.split("."):
        if isinstance(data, Mapping):
            data = data.get(name)
        elif isinstance(data, list | str):
            data = _item(data, name)
        else:
            return None
    return data


def _item(data: list[object] | str, name: str) -> object:
    if name == "length":
        return len(data)
    if not (name.isascii() and name.isdigit()) or (name[0] == "0" and name != "0"):
        return None
    at = int(name) if len(name) < 10 else len(data)
    return data[at] if at < len(data) else None
