"""What a question is about, word by word, and whether a text speaks of it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from apps.core.text.overlap import EMPTY, LIKE, pairs
from apps.core.text.questions import Question
from apps.core.text.spelling import one_slip
from apps.core.text.thesaurus import alike
from apps.core.text.tokens import stems

# Words that ask, join clauses or point at words before; an answer need not have them.
FILLER_LIST = """
관련 관련된 관련해 경우 정도 가장 제일 지금 이번 우리 해당 하나 어떤 어떠한 그로 인한 인해 통해
통한 대해서 이와 이를 이는 이것 그것 이에 그에 이러한 그러한 그리고 또한 각각 자세히 상세히 간단히
따른 따르면 의한 의해 의하면 있으며 있을 있는지 있었 하는지 무엇인지 점들 등의 간의 중에 앞으
앞으로 지금까지 주로 먼저 실제 다음 함께 모두 서로 주세요 해주세요 하시오 얻을 미칠 되었 하였
한다면 된다면 특징 이유 방법 시기 시점 이름 연도 영향 결과 모습 방안 내용 사항 나오 가야 해야
하려면 안에 밖에 무슨 사이 동안 당시 현재 최근 오늘 내일 어제 use using during call know describ
explain accord follow one some any other into than more most also if not no so such first
"""
FILLER = EMPTY | frozenset(FILLER_LIST.split())
FILLED = re.compile(r"(?:것|설명|서술)")
# A noun of one syllable and its particle ("키를"), which the stemmer leaves whole.
SINGLE = re.compile(r"[가-힣][은는을를이가에도]")
# Korean endings and parts of compounds: "설계한" is spoken of where "설계" stands, less surely.
ALMOST, PARTLY = 0.8, 0.6
# Of a compound noun half of the pairs of syllables will do.
HALF = 0.5
# A noun that was made a verb: "설치하려면" is about "설치".
VERBAL = re.compile(r"([가-힣]{2,}?)(?:하|되|시키)[가-힣]*")
LONGEST_VERB = 5
# A number and the first syllable of what it counts.
COUNTER = re.compile(r"\d+[가-힣]")
# Shorter Latin words have too many neighbours that mean something else ("date", "data").
SHORTEST_MISSPELT = 5


def subjects(question: Question) -> tuple[str, ...]:
    """The stems of the question that an answer's surroundings should hold, each once, in order."""
    found = dict.fromkeys(stems(question.content))
    return tuple(word for word in found if _tells(word))


def _tells(word: str) -> bool:
    if len(word) < 2 or word in FILLER or FILLED.match(word):
        return False
    return SINGLE.fullmatch(word) is None


@dataclass(frozen=True, slots=True)
class Said:
    """A text as its stems and as plain lower-case text."""

    words: frozenset[str]
    flat: str

    def holds(self, word: str) -> float:
        """How surely the text speaks of a stem, 0..1.

        A number must stand there ("20리터" for "20리터짜리"), and a Latin word but for one wrong
        letter; a Korean word may have another ending or stand in the parts of its compound ("대형
        폐기물" for "대형폐기물").
        """
        if word.isascii() or word[0].isdigit():
            return 1.0 if self._whole(word) else ALMOST * self._misspelt(word)
        if word in self.flat:
            return 1.0
        verb = VERBAL.fullmatch(word)
        if verb and verb[1] in self.flat:
            return ALMOST
        if len(word) <= 3:
            return ALMOST if len(word) == 3 and word[:2] in self.flat else 0.0
        cuts = range(2, len(word) - 1)
        if any(word[:cut] in self.flat and word[cut:] in self.flat for cut in cuts):
            return 1.0
        return max(self._pairs(word), self._beginning(word))

    def means(self, word: str) -> float:
        """The same, also by another word for the same thing."""
        own = self.holds(word)
        return own if own >= ALMOST or not self._likewise(word) else max(own, LIKE)

    def names(self, word: str) -> bool:
        """Whether the text speaks of a noun: "반려견" begins as "반려묘" does and is another."""
        if len(word) == 3 and not word.isascii():
            return word in self.flat or self._likewise(word)
        return self.means(word) >= HALF

    def _likewise(self, word: str) -> bool:
        return any(self.holds(other) == 1.0 for _, other in alike(word))

    def _whole(self, word: str) -> bool:
        unit = COUNTER.match(word)
        cuts = range(unit.end() if unit else len(word), len(word) + 1)
        return any(word[:cut] in self.words for cut in cuts)

    def _misspelt(self, word: str) -> bool:
        if len(word) < SHORTEST_MISSPELT or not word.isalpha():
            return False
        return any(one[0] == word[0] and one_slip(one, word) for one in self.words)

    def _pairs(self, word: str) -> float:
        found = pairs(word)
        return sum(pair in self.flat for pair in found) / len(found)

    def _beginning(self, word: str) -> float:
        if word[:-1] in self.flat:
            return ALMOST
        return PARTLY if len(word) <= LONGEST_VERB and word[:2] in self.flat else 0.0
