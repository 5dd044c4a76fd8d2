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
    """`confidence` is how probable it is that the passages answer, 0..1."""

    abstain: bool
    confidence: float


@dataclass(frozen=True, slots=True)
class Weights:
    """Of the logistic regression: one for each sign, and one for the best centred cosine."""

    bias: float
    signs: Evidence
    dense: float = 0.0


SIGNS = attrgetter(*(field.name for field in fields(Evidence)))
# Printed by `python -m bench.abstention` and, with vectors, by
# `python -m bench.abstention --embedder e5 --vectors FOLDER`. One regression for both languages
# is better on files it has not seen than one for each.
LEXICAL = Weights(
    -3.61,
    Evidence(there=2.42, quoted=1.3, rival=-3.84, best=0.34, missing=-2.76, valueless=-2.79),
)
HYBRID = Weights(
    -3.33, Evidence(there=2.39, quoted=1.32, rival=-4.01, best=0.32, missing=-2.56, valueless=-2.4)
)
# A passage in the other language shares no words; only the centred vectors speak. Fitted on 16
# answerable cross-lingual questions against 57 without an answer, so it is coarse.
FOREIGN = Weights(-6.0, Evidence(), dense=20.0)
THRESHOLD: dict[Language, float] = {"ko": 0.33, "en": 0.24}
# One or two terms are a wish to look something up: whether they stand there is all there is to ask.
LOOKUP_TERMS = 2


def decide(signals: SearchSignals, draft: Draft, *, language: Language) -> Abstention:
    """Weigh the evidence; no sentence at all always abstains.

    Args:
        signals: of the search that found the hits.
        draft: what `extract` made of them, also when a model is going to write the answer.
        language: of the question.
    """
    if not draft.sentences:
        return Abstention(True, 0.0)
    probability = _probability(signals, draft)
    return Abstention(probability < THRESHOLD[language], probability)


def _probability(signals: SearchSignals, draft: Draft) -> float:
    if draft.terms <= LOOKUP_TERMS:
        return min(1.0, draft.support)
    if signals.dense_top is None:
        return logistic(LEXICAL, draft.evidence)
    found = logistic(HYBRID, draft.evidence, signals.dense_top)
    if not draft.foreign:
        return found
    return max(found, logistic(FOREIGN, draft.evidence, signals.dense_top))


def logistic(weights: Weights, evidence: Evidence, dense_top: float = 0.0) -> float:
    """The probability that the regression gives, 0..1."""
    total = weights.bias + weights.dense * dense_top
    total += sum(map(mul, SIGNS(weights.signs), SIGNS(evidence)))
    return 1.0 / (1.0 + math.exp(-total))
