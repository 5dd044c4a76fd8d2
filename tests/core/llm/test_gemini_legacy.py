"""The adapter for the SDK whose support has ended, over a stand-in for its one function."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from apps.core.errors import BadReply
from apps.core.llm.gemini_legacy import GeminiLegacy
from apps.core.llm.models import Message, Piece, pieces

ASKED: list[Message] = [("system", "rules"), ("human", "question")]


def response(text: str, reason: str = "STOP") -> Any:
    content = SimpleNamespace(parts=[SimpleNamespace(text=text)])
    candidate = SimpleNamespace(content=content, finish_reason=SimpleNamespace(name=reason))
    usage = SimpleNamespace(prompt_token_count=7, candidates_token_count=3, total_token_count=10)
    return SimpleNamespace(candidates=[candidate], usage_metadata=usage)


class Sdk:
    """Remembers how it was called."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.calls: list[tuple[str, str, int]] = []

    def __call__(self, system: str, user: str, limit: int) -> Any:
        self.calls.append((system, user, limit))
        return self.answer


async def said(sdk: Sdk) -> list[Piece]:
    chat = GeminiLegacy(call=sdk, max_output_tokens=99)
    return [p async for p in pieces(chat, "gemini-legacy:g", ASKED, max_tokens=5)]


async def test_the_whole_answer_is_one_piece() -> None:
    """System and question stay apart, the limit of the call holds, the tokens are counted."""
    sdk = Sdk(response("42 [1]."))
    assert await said(sdk) == [Piece("42 [1].", 7, 3)]
    assert sdk.calls == [("rules", "question", 5)]


async def test_a_reply_at_its_limit_says_so() -> None:
    """The reason to stop is understood."""
    assert (await said(Sdk(response("4", "MAX_TOKENS"))))[-1].truncated


async def test_no_candidate_is_a_bad_reply() -> None:
    """An empty answer does not become an index error."""
    with pytest.raises(BadReply):
        await said(Sdk(SimpleNamespace(candidates=[])))
