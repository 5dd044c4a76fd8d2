"""A claim that repeats a sentence but for a name, a number or a negation contradicts it."""

from __future__ import annotations

import re
import unicodedata
from difflib import SequenceMatcher

from apps.core.text.numbers import holds, quantities, values
from apps.core.text.tokens import stem

NEGATION = re.compile(
    r"(?<![가-힣])(?:안|못)(?=\s)|않|없|(?<!뿐만 )(?<!뿐 )(?:아니|아닌|아닐|아님)"
    r"|못[하한할했]|지\s?말|불가능"
    r"|\bnot\b(?! only)|n['’]t\b|\b(?:no|never|without|cannot|neither|nor|none|nobody|nothing)\b",
    re.IGNORECASE,
)
WORD = re.compile(r"[^\W_]+(?:['’.·-][^\W_]+)*")
# A word with a Korean verb ending is no name; what ends in a particle or in nothing may be one.
VERBAL = re.compile(
    r"(?:다|고|며|면|서|만|여|어|아|해|한|된|할|될|인|하는|되는|있는|없는|었던|했던|던|게|도록|려|니다|요|음|함|기|지|않은|않는|적|적인|적으로|히)$"
)
# ... and these particles follow nothing but a noun.
NOMINAL = re.compile(r"(?:에서|에게|께서|보다|까지|부터|를|의|와|과|(?<![있없었았했])을)$")
PLURAL = re.compile(r"(?:들|님|씨|측|등)$")
# This share of the claim's words, in order, makes it a repetition.
REPEATS = 0.6
FEWEST_WORDS = 3
LONGEST_SWAP = 3


def negations(text: str) -> list[str]:
    """The words that deny something."""
    return [match.group() for match in NEGATION.finditer(text)]


def contradicts(claim: str, sentence: str, context: str) -> bool:
    """Whether `claim` repeats `sentence` with another name, number or polarity.

    Args:
        claim: what is said.
        sentence: the nearest sentence of the source.
        context: all that the source says around it; a name that stands there is not foreign.
    """
    said, source = WORD.findall(_normal(claim)), WORD.findall(_normal(sentence))
    left, right = [stem(word.lower()) for word in said], [stem(word.lower()) for word in source]
    matcher = SequenceMatcher(None, left, right, autojunk=False)
    blocks = [block for block in matcher.get_matching_blocks() if block.size]
    repeated = sum(block.size for block in blocks)
    if len(left) < FEWEST_WORDS or repeated < REPEATS * len(left):
        return False
    if _swaps_a_name(said, left, matcher, _compact(context)) or _swaps_a_number(
        said, matcher, values(sentence)
    ):
        return True
    region = " ".join(source[blocks[0].b : blocks[-1].b + blocks[-1].size + 2])
    return bool(negations(" ".join(said))) != bool(negations(region))


def _swaps_a_name(
    said: list[str], stems: list[str], matcher: SequenceMatcher[str], context: str
) -> bool:
    for tag, start, end, other_start, other_end in matcher.get_opcodes():
        if tag != "replace" or max(end - start, other_end - other_start) > LONGEST_SWAP:
            continue
        if any(_is_foreign(said[at], stems[at], context) for at in range(start, end)):
            return True
    return False


def _swaps_a_number(
    said: list[str], matcher: SequenceMatcher[str], known: frozenset[tuple[str, str]]
) -> bool:
    """A number that stands elsewhere in the passage is still wrong in this sentence."""
    replaced = (
        " ".join(said[start:end])
        for tag, start, end, _, _ in matcher.get_opcodes()
        if tag == "replace"
    )
    return any(not holds(one, known) for part in replaced for one in quantities(part))


def _is_foreign(word: str, its_stem: str, context: str) -> bool:
    bare = PLURAL.sub("", its_stem)
    if len(bare) < 2 or bare[0].isdigit() or bare in context:
        return False
    if word.isascii():
        return word[0].isupper()
    return NOMINAL.search(word) is not None or VERBAL.search(word) is None


def _normal(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _compact(text: str) -> str:
    return "".join(_normal(text).lower().split())
