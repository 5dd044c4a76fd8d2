"""Chat models by name, and the one place where they are called.

`DTRAG_LLM` lists `provider:model` in the order of preference. A provider's package is imported
when its model is first used (1.5-4 s), so call `NamedModel.factory` in a thread and keep what it
returns for the life of the process: a Gemini client that is collected closes running calls.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from apps.core.errors import BadReply, ProviderFailure
from apps.core.llm.vendor_errors import set_up, translate
from apps.core.settings import Settings

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessageChunk

Message = tuple[Literal["system", "human"], str]

CALL_LIMIT_S = 30.0  # requirements document 003: no call to a provider may take longer
MAX_OUTPUT_TOKENS = 1024
ALIASES = {"gemini": "google_genai"}

# How a provider's client calls the limit of one call; others keep the limit of their factory.
OUTPUT_LIMIT = {
    "google_genai": "max_output_tokens",
    "gemini-legacy": "max_output_tokens",
    "openai": "max_tokens",
}
OTHER_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "openai": {
        "temperature": 0,
        "timeout": CALL_LIMIT_S,
        "max_retries": 0,
        "max_tokens": MAX_OUTPUT_TOKENS,
        "stream_usage": True,
    },
    "ollama": {"temperature": 0, "num_predict": MAX_OUTPUT_TOKENS},
}
# These say why they stopped; a stream of theirs that ends without a reason was cut.
TELLS_END = frozenset({"google_genai", "openai"})
LENGTH = frozenset({"max_tokens", "length"})
BLOCKED_LIST = """
safety recitation blocklist prohibited_content spii language image_safety content_filter refusal
"""
BLOCKED = frozenset(BLOCKED_LIST.split())


@dataclass(frozen=True, slots=True)
class NamedModel:
    """A configured model; `factory` imports its package, so it is slow the first time.

    The factory raises ProviderFailure when the package, the key or the model is missing.
    """

    name: str
    factory: Callable[[], BaseChatModel]

    @property
    def provider(self) -> str:
        """The part of the name before the colon."""
        return self.name.partition(":")[0]


@dataclass(frozen=True, slots=True)
class Piece:
    """A bit of a reply; tokens are those not told before; `truncated` ends a reply too early."""

    text: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    truncated: bool = False


def chat_models(settings: Settings) -> list[NamedModel]:
    """List the configured models, best first; empty means the service answers extractively."""
    return [_named(settings, name) for name in settings.chat_models]


def _named(settings: Settings, entry: str) -> NamedModel:
    provider, _, model = entry.partition(":")
    provider = ALIASES.get(provider, provider)
    build = {"google_genai": _google, "gemini-legacy": _gemini_legacy}.get(provider)
    name = f"{provider}:{model}"
    factory = partial(build, settings, model) if build else partial(_any, provider, model)
    return NamedModel(name, partial(set_up, name, factory, hint="; check its key"))


def _google(settings: Settings, model: str) -> BaseChatModel:
    key = settings.GEMINI_API_KEY
    if key is None:
        raise ProviderFailure("GEMINI_API_KEY is not set.")
    from langchain_google_genai import ChatGoogleGenerativeAI  # noqa: PLC0415

    options: dict[str, Any] = {}
    if settings.GEMINI_BASE_URL:
        options["base_url"] = settings.GEMINI_BASE_URL
    if model.startswith("gemini-2.5-flash"):
        # Thoughts count as output: with a budget they can use up the limit before the first word.
        options["thinking_budget"] = 0
    # `timeout` is in seconds here; the client turns it into the milliseconds of google-genai.
    # `max_retries` counts attempts, so 1 is no retry: the chain of models is what retries.
    chat: BaseChatModel = ChatGoogleGenerativeAI(
        model=model,
        api_key=key,
        temperature=0,
        timeout=CALL_LIMIT_S,
        max_retries=1,
        max_output_tokens=MAX_OUTPUT_TOKENS,
        **options,
    )
    return chat


def _gemini_legacy(settings: Settings, model: str) -> BaseChatModel:
    from apps.core.llm.gemini_legacy import connect  # noqa: PLC0415

    if settings.GEMINI_API_KEY is None:
        raise ProviderFailure("GEMINI_API_KEY is not set.")
    return connect(
        model,
        api_key=settings.GEMINI_API_KEY.get_secret_value(),
        base_url=settings.GEMINI_BASE_URL,
        timeout_s=CALL_LIMIT_S,
        max_output_tokens=MAX_OUTPUT_TOKENS,
    )


def _any(provider: str, model: str) -> BaseChatModel:
    from langchain.chat_models import init_chat_model  # noqa: PLC0415

    options = OTHER_OPTIONS.get(provider, {})
    chat: BaseChatModel = init_chat_model(model, model_provider=provider, **options)
    return chat


async def pieces(
    chat: BaseChatModel, name: str, messages: Sequence[Message], *, max_tokens: int
) -> AsyncGenerator[Piece, None]:
    """Call the model once and pass its reply on as it comes.

    To end the call early, cancel the task that iterates: the cancellation reaches the open
    connection, while a closed generator of google-genai keeps it until the garbage collector runs.

    Raises:
        ProviderBusy: limits, overload, timeouts, lost connections.
        BadReply: unreadable, empty, blocked, or cut before its end.
        PromptTooLong: the prompt does not fit.
        ProviderFailure: refused key, unknown model, anything else.
    """
    provider = name.partition(":")[0]
    limit = OUTPUT_LIMIT.get(provider)
    options: dict[str, Any] = {limit: max_tokens} if limit else {}
    spoke, end = False, ""
    try:
        async with aclosing(chat.astream(list(messages), **options)) as stream:  # type: ignore[type-var]
            async for chunk in stream:
                piece, reason = _piece(chunk), _end(chunk)
                end = reason or end
                spoke = spoke or bool(piece.text.strip())
                if piece != Piece():
                    yield piece
    # Each vendor has its own classes; none of them leaves this room.
    except Exception as error:
        raise translate(error, name) from error
    _check_end(name, end, spoke=spoke, tells_end=provider in TELLS_END)
    if end in LENGTH:
        yield Piece(truncated=True)


# `astream` is declared as AsyncIterator, but it is an async generator and must be closed.


def _piece(chunk: AIMessageChunk) -> Piece:
    usage = chunk.usage_metadata
    if usage is None:
        return Piece(str(chunk.text))
    return Piece(str(chunk.text), usage["input_tokens"], usage["output_tokens"])


def _end(chunk: AIMessageChunk) -> str:
    """Why the model stopped, in lower case; empty while it goes on."""
    facts = chunk.response_metadata
    blocked = (facts.get("prompt_feedback") or {}).get("block_reason")
    if blocked:
        return "safety"
    return str(facts.get("finish_reason") or facts.get("done_reason") or "").lower()


def _check_end(name: str, end: str, *, spoke: bool, tells_end: bool) -> None:
    if end in BLOCKED:
        raise BadReply(f"{name} blocked the reply ({end}).")
    if not spoke:
        raise BadReply(f"{name} sent an empty reply.")
    if tells_end and not end:
        raise BadReply(f"{name} was cut before the end of its reply.")
