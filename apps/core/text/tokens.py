"""Index terms of Korean and English text: pairs of syllables, and words without particles.

Pairs of syllables need no dictionary: on two public Korean sets they rank as well as a
morphological analyser. Words without their particles say more than a pair when they match, so
the lexical leg adds both.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

CJK = "\uac00-\ud7a3\u1100-\u11ff\u3130-\u318f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
# `\b` finds no border between a digit and a Hangul syllable, so runs are named by their classes.
OTHER = rf"[^\W_{CJK}]"
# Found at every place without moving on, so that pairs overlap.
PAIR = re.compile(rf"(?=([{CJK}]{{2}}|(?<![{CJK}])[{CJK}](?![{CJK}])|(?<!{OTHER}){OTHER}+))")
HANGUL_TAIL = re.compile(r"[\uac00-\ud7a3]+\Z")

# Case particles, auxiliary particles and forms of the copula (Standard Korean Language
# Dictionary, part of speech "조사"), longest first; applied again until nothing is left to strip.
PARTICLE_LIST = """
은 는 이 가 을 를 의 에 로 와 과 도 만 께 랑 들 께서 에서 에게 한테 으로 부터 까지 처럼 보다
마다 조차 마저 밖에 대로 만큼 이나 이며 이란 이다 이고 이라 라는 라고 이라는 이라고 이라도
로서 로써 으로서 으로써 에게서 한테서 으로부터 로부터 이지만 이랑 하고 인가 인가요 인지
입니다 이었다 였다 이라면 라면 이든 든지 이든지
"""
PARTICLES: tuple[str, ...] = tuple(sorted(PARTICLE_LIST.split(), key=len, reverse=True))
SHORTEST_STEM = 2
# Words of people are shorter; what programs write without a space would fill the memory.
LONGEST_KEPT = 40
# A particle after a Latin word is found as nothing.
WORD = re.compile(
    rf"(?<=[^\W_])(?:{'|'.join(PARTICLES)})(?![{CJK}])|(\d+[{CJK}]+|[{CJK}]+|{OTHER}+)"
)


def bigrams(text: str) -> list[str]:
    """Pairs of neighbouring CJK characters and whole words of other scripts, in order.

    A CJK run of one character stands for itself. Lower case, Unicode NFKC.
    """
    return normal_bigrams(normal(text))


def normal_bigrams(text: str) -> list[str]:
    """`bigrams` of text that is normal already."""
    return PAIR.findall(text)


def stems(text: str) -> list[str]:
    """Words without Korean particles and English plural or verb endings, in order.

    A number keeps its counter ("2023년에" gives "2023년"); a particle after a Latin word
    vanishes. Lower case, Unicode NFKC.
    """
    return normal_stems(normal(text))


def normal_stems(text: str) -> list[str]:
    """`stems` of text that is normal already."""
    return [stem(word) for word in WORD.findall(text) if word]


def stem(word: str) -> str:
    """Strip one normalised word; stripping its result again changes nothing."""
    return _known_stem(word) if len(word) <= LONGEST_KEPT else _stem(word)


def _stem(word: str) -> str:
    if word.isascii():
        return _english(word) if word.isalpha() else word
    return _korean(word) if HANGUL_TAIL.search(word) else word


_known_stem = lru_cache(maxsize=1 << 16)(_stem)


def normal(text: str) -> str:
    """Lower case, Unicode NFKC."""
    return unicodedata.normalize("NFKC", text).lower()


def _korean(word: str) -> str:
    while True:
        for particle in PARTICLES:
            if word.endswith(particle) and len(word) - len(particle) >= SHORTEST_STEM:
                word = word.removesuffix(particle)
                break
        else:
            return word


def _english(word: str) -> str:
    """The S-stemmer, then -ing and -ed.

    Source: Harman 1991, "How effective is suffixing?", JASIS 42(1), the S rules; the verb
    endings follow step 1b of Porter 1980, "An algorithm for suffix stripping".
    """
    before = ""
    while word != before:
        before = word
        word = _verb(_plural(word))
    return word


def _plural(word: str) -> str:
    if len(word) <= 3 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and not word.endswith(("eies", "aies")):
        return word.removesuffix("ies") + "y"
    if word.endswith(("ches", "shes", "sses", "xes", "zes")):
        return word.removesuffix("es")
    return word.removesuffix("s")


def _verb(word: str) -> str:
    for ending in ("ing", "ed"):
        stem = word.removesuffix(ending)
        if stem != word and len(stem) >= 3 and any(vowel in stem for vowel in "aeiouy"):
            if len(stem) > 3 and stem[-1] == stem[-2] and stem[-1] not in "lsz":
                return stem[:-1]
            return stem
    return word.removesuffix("e") if len(word) > 4 and word.endswith("e") else word
