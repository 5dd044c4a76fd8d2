"""Evidence raises the confidence; without it the service abstains, with or without vectors."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core.domain.models import Language, SearchSignals
from apps.core.llm.extractive import Draft, DraftSentence, Support
from apps.orchestration.abstention import decide

SENTENCE = DraftSentence("요금은 1,000원이다.", (Support(0, 0, 12),))
GOOD = SearchSignals(lexical_top=20.0, lexical_gap=8.0, coverage=0.8)
POOR = SearchSignals(lexical_top=6.0, lexical_gap=0.2, coverage=0.35)


def draft(*, support: float, terms: int = 10, missing: float = 0.0, foreign: bool = False) -> Draft:
    return Draft((SENTENCE,), "number", None, support, terms, missing, None, foreign)


@pytest.mark.parametrize("language", ["ko", "en"])
@pytest.mark.parametrize("dense", [None, 0.5])
def test_strong_evidence_answers(language: Language, dense: float | None) -> None:
    """Most of the question is found in one place."""
    signals = dataclasses.replace(GOOD, dense_top=dense)
    verdict = decide(signals, draft(support=0.7), language=language)
    assert not verdict.abstain
    assert verdict.confidence > 0.5


@pytest.mark.parametrize("language", ["ko", "en"])
@pytest.mark.parametrize("dense", [None, 0.25])
def test_weak_evidence_abstains(language: Language, dense: float | None) -> None:
    """A few common words are found here and there."""
    signals = dataclasses.replace(POOR, dense_top=dense)
    assert decide(signals, draft(support=0.15), language=language).abstain


@pytest.mark.parametrize("language", ["ko", "en"])
def test_what_no_passage_names_counts_against_it(language: Language) -> None:
    """A year or a name of the question that is nowhere lowers the confidence."""
    whole = decide(GOOD, draft(support=0.6), language=language)
    lacking = decide(GOOD, draft(support=0.6, missing=1.0), language=language)
    assert lacking.confidence < whole.confidence


def test_nothing_found_abstains_for_sure() -> None:
    """No sentence, no answer."""
    empty = Draft((), "thing", None, 0.0, 3, 0.0, None, False)
    verdict = decide(SearchSignals(), empty, language="ko")
    assert (verdict.abstain, verdict.confidence) == (True, 0.0)


def test_one_word_is_looked_up() -> None:
    """A term that stands there is answered however short the question; one that does not is not."""
    assert not decide(POOR, draft(support=1.0, terms=1), language="en").abstain
    assert decide(POOR, draft(support=0.0, terms=1), language="en").abstain


def test_another_language_rests_on_the_vectors() -> None:
    """No words are shared: the centred cosine speaks, and without one nothing does."""
    foreign = draft(support=0.0, foreign=True)
    near = dataclasses.replace(POOR, dense_top=0.4)
    far = dataclasses.replace(POOR, dense_top=0.1)
    assert not decide(near, foreign, language="ko").abstain
    assert decide(far, foreign, language="ko").abstain
    assert decide(POOR, foreign, language="ko").abstain


@given(
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0, 100),
    st.one_of(st.none(), st.floats(-1, 1)),
    st.integers(0, 40),
    st.sampled_from(["ko", "en"]),
)
def test_more_support_never_lowers_confidence(
    left: float, right: float, top: float, dense: float | None, terms: int, language: Language
) -> None:
    """The probability lies in 0..1 and grows with the support."""
    signals = SearchSignals(top, top / 3, 0.5, dense, None)
    low, high = sorted((left, right))
    less = decide(signals, draft(support=low, terms=terms), language=language).confidence
    more = decide(signals, draft(support=high, terms=terms), language=language).confidence
    assert 0.0 <= less <= more <= 1.0
