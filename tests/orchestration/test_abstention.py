"""Evidence raises the confidence; without it the service abstains, with or without vectors."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core.domain.models import Language, SearchSignals
from apps.core.llm.evidence import Evidence
from apps.core.llm.extractive import Draft, DraftSentence, Support
from apps.orchestration.abstention import Abstention
from apps.orchestration.abstention import decide as decide_in

SENTENCE = DraftSentence("요금은 1,000원이다.", (Support(0, 0, 12),))
GOOD = Evidence(there=1.0, quoted=1.4, rival=0.5, best=14.0)
POOR = Evidence(there=0.3, quoted=0.5, rival=0.95, best=7.0)
LEXICAL = SearchSignals()


def decide(signals: SearchSignals, found: Draft, language: Language = "ko") -> Abstention:
    return decide_in(signals, found, language=language)


def draft(
    evidence: Evidence, *, support: float = 0.5, terms: int = 10, foreign: bool = False
) -> Draft:
    return Draft((SENTENCE,), "number", None, support, terms, evidence, foreign)


@pytest.mark.parametrize("language", ["ko", "en"])
@pytest.mark.parametrize("dense", [None, 0.5])
def test_strong_evidence_answers(dense: float | None, language: Language) -> None:
    """All of the question is found in one place."""
    verdict = decide(SearchSignals(dense_top=dense), draft(GOOD), language)
    assert not verdict.abstain
    assert verdict.confidence > 0.5


@pytest.mark.parametrize("language", ["ko", "en"])
@pytest.mark.parametrize("dense", [None, 0.25])
def test_weak_evidence_abstains(dense: float | None, language: Language) -> None:
    """A few common words are found here and there."""
    assert decide(SearchSignals(dense_top=dense), draft(POOR), language).abstain


@pytest.mark.parametrize("sign", ["rival", "missing", "valueless"])
def test_what_counts_against_it(sign: str) -> None:
    """A close second, a year that is nowhere, a number that no quote holds."""
    less = dataclasses.replace(GOOD, **{sign: 1.0})
    assert decide(LEXICAL, draft(less)).confidence < decide(LEXICAL, draft(GOOD)).confidence


def test_things_that_no_passage_speaks_of_are_not_answered() -> None:
    """Not by good evidence for the rest, nor as a short question of which enough is known."""
    fair = dataclasses.replace(GOOD, there=0.7)
    found = dataclasses.replace(draft(fair, support=0.7, terms=2), strange=True)
    assert decide(LEXICAL, found).abstain
    assert not decide(LEXICAL, dataclasses.replace(found, strange=False)).abstain


def test_nothing_found_abstains_for_sure() -> None:
    """No sentence, no answer."""
    empty = Draft((), "thing", None, 0.0, 3, Evidence(), False)
    verdict = decide(LEXICAL, empty)
    assert (verdict.abstain, verdict.confidence) == (True, 0.0)


def test_one_word_is_looked_up() -> None:
    """A term that stands there is answered however short the question; one that does not is not."""
    assert not decide(LEXICAL, draft(POOR, support=1.0, terms=1)).abstain
    assert decide(LEXICAL, draft(POOR, support=0.0, terms=1)).abstain


def test_a_word_that_stands_there_is_no_number() -> None:
    """ "How tall is the hall?" is not answered by any sentence about the hall."""
    lacking = dataclasses.replace(POOR, valueless=1.0)
    assert decide(LEXICAL, draft(lacking, support=1.0, terms=1)).abstain


def test_another_language_rests_on_the_vectors() -> None:
    """No words are shared: the centred cosine speaks, and without one nothing does."""
    foreign = draft(Evidence(rival=0.9, best=5.0), support=0.0, foreign=True)
    assert not decide(SearchSignals(dense_top=0.4), foreign).abstain
    assert decide(SearchSignals(dense_top=0.1), foreign).abstain
    assert decide(LEXICAL, foreign).abstain


@given(
    st.sampled_from(["there", "quoted", "best"]),
    st.floats(0, 30),
    st.floats(0, 30),
    st.one_of(st.none(), st.floats(-1, 1)),
)
def test_more_of_the_question_never_lowers_confidence(
    sign: str, left: float, right: float, dense: float | None
) -> None:
    """The probability lies in 0..1 and grows with what was found."""
    low, high = (dataclasses.replace(POOR, **{sign: one}) for one in sorted((left, right)))
    signals = SearchSignals(dense_top=dense)
    less, more = (decide(signals, draft(one)).confidence for one in (low, high))
    assert 0.0 <= less <= more <= 1.0
