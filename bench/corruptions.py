"""Spoils true sentences in one place each, or rewrites them harmlessly, from an explicit seed."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

Change = Callable[[str, Sequence[str], random.Random], "str | None"]

NUMBER = re.compile(r"(?<![\d,.])\d+(?:,\d{3})*(?![\d,.])")
KOREAN_DENIALS: tuple[tuple[str, str], ...] = (
    (r"하였다(?=\W*$)", "하지 않았다"),
    (r"했다(?=\W*$)", "하지 않았다"),
    (r"되었다(?=\W*$)", "되지 않았다"),
    (r"됐다(?=\W*$)", "되지 않았다"),
    (r"한다(?=\W*$)", "하지 않는다"),
    (r"된다(?=\W*$)", "되지 않는다"),
    (r"있다(?=\W*$)", "없다"),
    (r"있었다(?=\W*$)", "없었다"),
    (r"이다(?=\W*$)", "이 아니다"),
    (r"이었다(?=\W*$)", "이 아니었다"),
    (r"([가-힣])였다(?=\W*$)", r"\1가 아니었다"),
    (r"지 않았다(?=\W*$)", "었다"),
    (r"없다(?=\W*$)", "있다"),
    (r"([가-힣])([았었])다(?=\W*$)", r"\1지 않\2다"),
)
ENGLISH_DENIALS: tuple[tuple[str, str], ...] = (
    (r"\b(is|are|was|were|has|have|had|can|could|will|would|may|should) (?!not\b)", r"\1 not "),
    (r"\b(\w+) not\b", r"\1"),
)
POLITE: tuple[tuple[str, str], ...] = (
    (r"하였다(?=\W*$)", "하였습니다"),
    (r"했다(?=\W*$)", "했습니다"),
    (r"되었다(?=\W*$)", "되었습니다"),
    (r"한다(?=\W*$)", "합니다"),
    (r"된다(?=\W*$)", "됩니다"),
    (r"있다(?=\W*$)", "있습니다"),
    (r"이다(?=\W*$)", "입니다"),
    (r"였다(?=\W*$)", "였습니다"),
    (r"([가-힣])다(?=\W*$)", r"\1습니다"),
)


def other_number(sentence: str, pool: Sequence[str], rng: random.Random) -> str | None:
    """One number becomes another of the same length."""
    found = list(NUMBER.finditer(sentence))
    if not found:
        return None
    match = rng.choice(found)
    new = match.group()
    while new == match.group():
        digits = (str(rng.randint(at == 0, 9)) if c.isdigit() else c for at, c in enumerate(new))
        new = "".join(digits)
    return sentence[: match.start()] + new + sentence[match.end() :]


def other_name(sentence: str, pool: Sequence[str], rng: random.Random) -> str | None:
    """A name of the pool that stands in the sentence becomes another one of the pool."""
    here = [name for name in pool if name in sentence]
    script = [
        [name for name in pool if name not in sentence and name.isascii() == old.isascii()]
        for old in here
    ]
    pairs = [(old, new) for old, new in zip(here, script, strict=True) if new]
    if not pairs:
        return None
    old, candidates = rng.choice(pairs)
    return sentence.replace(old, rng.choice(candidates))


def denied(sentence: str, pool: Sequence[str], rng: random.Random) -> str | None:
    """The sentence says the opposite."""
    return _first(sentence, KOREAN_DENIALS + ENGLISH_DENIALS)


def polite(sentence: str, pool: Sequence[str], rng: random.Random) -> str | None:
    """Korean only: the same in formal speech."""
    return _first(sentence, POLITE)


def shortened(sentence: str, pool: Sequence[str], rng: random.Random) -> str | None:
    """What stands before the first comma is left out."""
    head, comma, rest = sentence.partition(", ")
    return rest[:1].upper() + rest[1:] if comma and len(rest) > len(head) else None


def regrouped(sentence: str, pool: Sequence[str], rng: random.Random) -> str | None:
    """Thousands lose their separators."""
    new = re.sub(r"(?<=\d),(?=\d{3}\b)", "", sentence)
    return new if new != sentence else None


def _first(sentence: str, rules: Sequence[tuple[str, str]]) -> str | None:
    for pattern, replacement in rules:
        new, count = re.subn(pattern, replacement, sentence, count=1)
        if count:
            return new
    return None


WRONG: dict[str, Change] = {"number": other_number, "name": other_name, "negation": denied}
HARMLESS: dict[str, Change] = {
    "verbatim": lambda sentence, pool, rng: sentence,
    "polite": polite,
    "shortened": shortened,
    "regrouped": regrouped,
}
