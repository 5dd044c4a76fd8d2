"""Whether the passages answer the question at all, before anything is written.

A logistic regression over what the search felt and what the extractive answerer found. It works
with the lexical leg alone; the dense leg, when there is one, has coefficients of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from apps.core.domain.models import Language, SearchSignals
from apps.core.llm.extractive import Draft


@dataclass(frozen=True, slots=True)
class Abstention:
    """`confidence` is how probable it is that the passages answer, 0..1."""

    abstain: bool
    confidence: float


@dataclass(frozen=True, slots=True)
class Weights:
    """Of the logistic regression.

    coverage: of the idf-weighted share of the question in the top three hits.
    gap: of the lead of the first raw BM25 score over the second, as a share of the first.
    support: of the share of the question in the best sentence and its neighbours.
    matched: of ln(1 + number of the question's terms found there): half of a long question says
        more than half of a short one.
    missing: of the share of the question's numbers and names that no passage holds.
    dense: of the best centred cosine.
    """

    bias: float
    coverage: float
    gap: float
    support: float
    matched: float
    missing: float = 0.0
    dense: float = 0.0


# Fitted by ridge-penalised maximum likelihood (penalty 2) on the dev halves with the production
# search, every set with about equal weight: korquad1, allganize-ko, semantic-ko (Korean), xquad-en
# alone and among multihop-en (English), with their gold passages in the index and again without
# them, and unanswerable. Ten-fold cross-validation on that balanced mix, abstention precision /
# recall at the thresholds below: Korean .84 / .71 lexical, .84 / .69 with e5; English .92 / .78
# and .92 / .77.
LEXICAL: dict[Language, Weights] = {
    "ko": Weights(bias=-4.15, coverage=0.75, gap=1.5, support=1.8, matched=1.5, missing=-1.6),
    "en": Weights(bias=-5.1, coverage=2.5, gap=2.3, support=2.8, matched=1.55, missing=-2.9),
}
HYBRID: dict[Language, Weights] = {
    "ko": Weights(
        bias=-4.0, coverage=0.7, gap=1.65, support=1.6, matched=1.15, missing=-1.6, dense=1.4
    ),
    "en": Weights(
        bias=-5.6, coverage=2.7, gap=2.3, support=2.8, matched=0.9, missing=-2.1, dense=3.05
    ),
}
# A passage in the other language shares no words; only the centred vectors speak. Fitted on 16
# answerable cross-lingual questions against 57 without an answer, so it is coarse.
FOREIGN = Weights(bias=-6.0, coverage=0.0, gap=0.0, support=0.0, matched=0.0, dense=20.0)
THRESHOLD: dict[Language, float] = {"ko": 0.36, "en": 0.35}
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
    probability = _probability(signals, draft, language)
    return Abstention(probability < THRESHOLD[language], probability)


def _probability(signals: SearchSignals, draft: Draft, language: Language) -> float:
    if draft.terms <= LOOKUP_TERMS:
        return min(1.0, draft.support)
    table = LEXICAL if signals.dense_top is None else HYBRID
    found = _logistic(table[language], signals, draft)
    if not draft.foreign or signals.dense_top is None:
        return found
    return max(found, _logistic(FOREIGN, signals, draft))


def _logistic(weights: Weights, signals: SearchSignals, draft: Draft) -> float:
    lead = signals.lexical_gap / signals.lexical_top if signals.lexical_top > 0 else 0.0
    total = (
        weights.bias
        + weights.coverage * signals.coverage
        + weights.gap * lead
        + weights.support * draft.support
        + weights.matched * math.log1p(draft.support * draft.terms)
        + weights.missing * draft.missing
        + weights.dense * (signals.dense_top or 0.0)
    )
    return 1.0 / (1.0 + math.exp(-total))
