"""Whether the passages answer the question at all, before anything is written.

A logistic regression over what the extractive answerer found. It works with the lexical leg
alone; with vectors it has coefficients of its own, and one for the best cosine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from operator import attrgetter, mul

from apps.core.domain.models import Language, SearchSignals
from apps.core.llm.evidence import Evidence
from apps.core.llm.extractive import Draft


@dataclass(frozen=True, slots=True)
class Abstention:
    """How probable it is that the passages answer, and from where on an answer is given, 0..1."""

    confidence: float
    threshold: float

    @property
    def abstain(self) -> bool:
        """Whether nothing should be said."""
        return self.confidence < self.threshold


@dataclass(frozen=True, slots=True)
class Weights:
    """Of the logistic regression: one for each sign, and one for the best centred cosine."""

    bias: float
    signs: Evidence
    dense: float = 0.0


SIGNS = attrgetter(*(field.name for field in fields(Evidence)))
# Coefficients and thresholds are printed by `python -m bench.abstention` and, for vectors, by
# `python -m bench.abstention --embedder e5 --vectors FOLDER`. One regression for both languages
# is better on files it has not seen than one for each.
LEXICAL = Weights(
    -6.07,
    Evidence(there=2.21, quoted=1.52, rival=-1.81, best=0.38, missing=-3.11, valueless=-2.14),
)
LEXICAL_THRESHOLD: dict[Language, float] = {"ko": 0.32, "en": 0.26}
HYBRID = Weights(
    -4.9,
    Evidence(there=0.95, quoted=0.27, rival=-2.12, best=0.29, missing=-3.57, valueless=-1.85),
    dense=6.53,
)
HYBRID_THRESHOLD: dict[Language, float] = {"ko": 0.44, "en": 0.33}
# A passage in the other language shares names, numbers and what the glossary has; else only the
# centred vectors speak. Set by hand on few cross-lingual questions, so it is coarse.
FOREIGN = Weights(-6.5, Evidence(there=2.0, missing=-3.0, valueless=-2.0), dense=20.0)
# One or two terms are a wish to look something up: whether they stand there is all there is to ask,
# unless it is a number that is asked for ("How tall is the Main Building?").
LOOKUP_TERMS = 2
# Half of their weight is not enough: on our own sample right answers hold all of it, and
# passages that speak of "tomorrow" but not of the weather .3 to .56. Costs five of 468 answers on
# xquad-en.
LOOKUP_THRESHOLD = 0.6
# Of "electric car subsidy" the passages may speak of electric cars for pages; and how long
# something takes is not answered by a sentence without any length of time. "When" may ask for a
# condition, which is no date.
STRANGE_THRESHOLD = 0.95
SURE_KINDS = frozenset({"number", "person"})


def decide(signals: SearchSignals, draft: Draft, *, language: Language) -> Abstention:
    """Weigh the evidence; no sentence at all always abstains.

    Args:
        signals: of the search that found the hits.
        draft: what `extract` made of them, also when a model is going to write the answer.
        language: of the question.
    """
    if _is_lookup(draft) and not draft.strange:
        return Abstention(min(1.0, draft.support), LOOKUP_THRESHOLD)
    lexical = signals.dense_top is None
    threshold = (LEXICAL_THRESHOLD if lexical else HYBRID_THRESHOLD)[language]
    if is_strange(draft):
        threshold = STRANGE_THRESHOLD
    return Abstention(_probability(signals.dense_top, draft), threshold)


def is_strange(draft: Draft) -> bool:
    """Whether the answer lacks a thing that the question names, or the value that it asks for."""
    valueless = draft.evidence.valueless and draft.answer_type in SURE_KINDS
    return bool(valueless) or (draft.strange and not draft.foreign)


def _is_lookup(draft: Draft) -> bool:
    few = draft.terms <= LOOKUP_TERMS
    return few and not draft.foreign and not draft.evidence.valueless


def _probability(dense_top: float | None, draft: Draft) -> float:
    if not draft.sentences:
        return 0.0
    if dense_top is None:
        return logistic(LEXICAL, draft.evidence)
    found = logistic(HYBRID, draft.evidence, dense_top)
    return max(found, logistic(FOREIGN, draft.evidence, dense_top)) if draft.foreign else found


def logistic(weights: Weights, evidence: Evidence, dense_top: float = 0.0) -> float:
    """The probability that the regression gives, 0..1."""
    total = weights.bias + weights.dense * dense_top
    total += sum(map(mul, SIGNS(weights.signs), SIGNS(evidence)))
    return 1.0 / (1.0 + math.exp(-total))
