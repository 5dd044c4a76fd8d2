"""Names of remembered answers."""

from __future__ import annotations

from apps.core.domain.models import AnswerRequest, Caller
from apps.orchestration.keys import answer_key, recall_key

ASKED = AnswerRequest("서울의 인구는?")


def test_spelling_does_not_matter() -> None:
    """White space, case and Unicode form are not part of the question."""
    twin = AnswerRequest("  서울의\n인구는? ")
    assert _key(ASKED) == _key(twin)
    assert _key(AnswerRequest("What IS it?")) == _key(AnswerRequest("what is it?"))


def test_who_asks_within_a_tenant_does_not_matter() -> None:
    """Two users of a tenant share an answer; two tenants do not."""
    one = AnswerRequest(ASKED.question, user_id="u", caller=Caller("k1", frozenset()))
    two = AnswerRequest(ASKED.question, caller=Caller("k2", frozenset(), tenant="other"))
    assert _key(one) == _key(ASKED)
    assert _key(two) != _key(ASKED)


def test_a_recollection_forgets_how_it_was_made() -> None:
    """Its key knows neither index nor models, but the flags that were on."""
    assert recall_key(ASKED, "off") == recall_key(ASKED, "off")
    assert recall_key(ASKED, "on") != recall_key(ASKED, "off")


def test_a_history_has_no_key() -> None:
    """An answer within a conversation is for that conversation."""
    told = AnswerRequest("그러면 부산은?", history=(("user", "서울의 인구는?"),))
    assert _key(told) is None
    assert recall_key(told, "off") is None


def test_nothing_of_the_question_is_readable() -> None:
    """A key is a region and a digest."""
    region, _, digest = (_key(ASKED) or "").partition(":")
    assert region == "answer"
    assert len(digest) == 64


def test_rerankers_never_share_an_answer() -> None:
    """Their orders differ, and workers with another configuration may share the cache."""
    assert len({_key(ASKED), _key(ASKED, reranker="llm "), _key(ASKED, reranker="http://a m")}) == 3


def _key(request: AnswerRequest, *, reranker: str = "") -> str | None:
    return answer_key(request, "off", models=["m"], version="v", reranker=reranker)
