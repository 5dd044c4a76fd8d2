"""The first two links of the chain: the models in turn, each sentence checked as it arrives."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass

from apps.core.domain.models import ServedBy
from apps.core.errors import BadReply, DtRagError, ProviderBusy
from apps.core.llm.models import Message
from apps.core.resilience import wait_s
from apps.core.text.sentences import split
from apps.orchestration.choosing import choice
from apps.orchestration.events import Data
from apps.orchestration.fencing import fenced, unguessable
from apps.orchestration.grounding import Grounder
from apps.orchestration.models import Account, ChainedModel
from apps.orchestration.node import RunContext
from apps.orchestration.prompts import fingerprint, prompt
from apps.orchestration.state import AnswerState, Update
from apps.orchestration.vetting import ModelChecker

# What the links after a model need: quoting takes milliseconds, the rest is for slow machines.
RESERVE_S = 0.5
ANSWER_TOKENS = 800
RETRY_BASE_S, RETRY_CAP_S = 0.3, 0.3
NO_ANSWER = "NO_ANSWER"
# Models that forget the word say it in their own; nothing of the draft holds then.
DECLINES = re.compile(
    rf"{NO_ANSWER}|찾을 수 없|찾지 못|나와 있지 않|언급되어 있지 않|정보가 없|알 수 없"
    r"|\b(?:do(?:es)? not|don't|doesn't) (?:contain|provide|mention|include|say)"
    r"|\b(?:cannot|can't|unable to) (?:answer|find|determine)|\bno information\b",
    re.IGNORECASE,
)
FINAL = re.compile(r"[.!?。！？…\]][\"'”’)]*\Z")


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model wrote, whether a sentence of it holds, and whether it says it cannot answer."""

    draft: str
    holds: bool
    declines: bool


class Writing:
    """One request's way through the models."""

    def __init__(self, state: AnswerState, ctx: RunContext) -> None:
        self._state = state
        self._ctx = ctx
        self._spent = Account()
        self._spoke = False
        self._failures: list[dict[str, str]] = []
        chosen = choice(state, ctx)
        self._name, self._models = chosen.prompt, chosen.models
        self._degraded = [*chosen.degraded]

    @property
    def all_failed(self) -> bool:
        """Whether no model replied at all; a reply without support is none to remember over."""
        return len(self._failures) == len(self._models)

    async def by_models(self) -> Update | None:
        """Ask the models in turn; None when each failed, or when nothing of a reply holds.

        Raises:
            ProviderFailure: a model broke off after text had gone out.
        """
        messages = _messages(self._state, self._name, self._ctx.rng)
        for place, model in enumerate(self._models):
            share = 1 / (len(self._models) - place)
            try:
                reply = await self._ask(model, messages, share)
            except DtRagError as error:
                if self._spoke:
                    raise
                self._note(model, error.code, error.detail)
                continue
            if reply is not None:
                return self._accepted(model, reply)
        return None

    def account(self, update: Update, prior: float) -> Update:
        """Add to an update what the models cost and how they failed."""
        trace: dict[str, object] = {"prompt": fingerprint(self._name, self._state["language"])}
        if self._failures:
            trace["models"] = self._failures
        return {
            **update,
            "prior": prior,
            "usage": self._spent.usage,
            "degraded": [*self._degraded, *update.get("degraded", [])],
            "trace": {**trace, **update.get("trace", {})},
        }

    def _link(self, model: ChainedModel) -> ServedBy:
        """The link of the chain that a model is in this request."""
        return "primary" if model is self._models[0] else "secondary"

    def _note(self, model: ChainedModel, code: str, detail: str) -> None:
        self._failures.append({"model": model.name, "code": code, "detail": detail})
        self._degraded.append(f"{self._link(model)}:{code}")

    def _accepted(self, model: ChainedModel, reply: Reply) -> Update | None:
        if not reply.holds and not reply.declines:
            self._degraded.append(f"{self._link(model)}:unsupported")
            return None
        return {
            "draft": reply.draft if reply.holds else "",
            "answer_origin": "compose",
            "served_by": self._link(model),
            "model": model.name,
        }

    async def _ask(
        self, model: ChainedModel, messages: Sequence[Message], share: float
    ) -> Reply | None:
        """Ask one model, twice if it stumbles; None when it may cost too much."""
        limit = self._ctx.max_cost_usd
        price = model.may_cost_usd(messages, max_tokens=ANSWER_TOKENS)
        spent = self._state["usage"].plus(self._spent.usage)
        if limit is not None and spent.cost_usd + price > limit:
            self._note(model, "max_cost", "The call may cost more than the request allows.")
            return None
        left_s = max(0.0, self._ctx.time_left_s() - RESERVE_S)
        deadline = self._ctx.clock.monotonic() + left_s * share
        try:
            return await self._listen(model, messages, deadline)
        except (ProviderBusy, BadReply) as error:
            if self._spoke or error.retry_after_s is not None:
                raise
        pause_s = wait_s(1, base_s=RETRY_BASE_S, cap_s=RETRY_CAP_S, rng=self._ctx.rng)
        await asyncio.sleep(pause_s)
        return await self._listen(model, messages, deadline)

    async def _listen(
        self, model: ChainedModel, messages: Sequence[Message], deadline: float
    ) -> Reply:
        hits, language = self._state["hits"], self._state["language"]
        grounder = Grounder(hits, verifier=ModelChecker(hits, language))
        draft, settled = "", False
        stream = model.stream(
            messages,
            deadline=deadline,
            max_tokens=ANSWER_TOKENS,
            account=self._spent,
            prompt_version=fingerprint(self._name, language),
        )
        async with aclosing(stream):
            async for piece in stream:
                draft += piece
                text = grounder.add(piece)
                settled = settled or bool(text)
                self._say(text)
        if self._spent.truncated:
            return Reply(without_fragment(draft), settled, declines=False)
        holds = bool(grounder.close().citations)
        return Reply(draft, holds, declines=DECLINES.search(draft) is not None)

    def _say(self, text: str) -> None:
        if text and self._ctx.may_emit_text:
            self._spoke = True
            self._ctx.emit(Data(text))


def without_fragment(draft: str) -> str:
    """Cut off a last sentence that the token limit broke."""
    spans = split(draft)
    if not spans or FINAL.search(draft.rstrip()):
        return draft
    return draft[: spans[-1][0]]


def _messages(state: AnswerState, name: str, rng: random.Random) -> list[Message]:
    marker = unguessable(state["hits"], rng)
    return prompt(
        name,
        state["language"],
        question=state["question_masked"],
        passages=fenced(state["hits"], marker),
        marker=marker,
    )
