"""The `google-generativeai` SDK that the requirements name, behind LangChain's port.

Its support has ended, so it is an optional extra: `pip install 'dt-rag[gemini-legacy]'`. It is
called by synchronous REST in a thread: `generate_content_async` over REST raises TypeError, and
its REST streaming expects a JSON array where the server sends events. So a reply is one chunk.
"""

from __future__ import annotations

import asyncio
import importlib
import warnings
from collections.abc import Callable
from typing import Any

from langchain_core.callbacks import (
    AsyncCallbackManagerForLLMRun,
    CallbackManagerForLLMRun,
)
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from apps.core.errors import BadReply

Generate = Callable[..., Any]


def connect(
    model: str, *, api_key: str, base_url: str, timeout_s: float, max_output_tokens: int
) -> GeminiLegacy:
    """Open the model over REST.

    Raises:
        ImportError: the extra is not installed.
    """
    with warnings.catch_warnings():
        # The package announces the end of its support at import; the module's docstring says it.
        warnings.simplefilter("ignore")
        genai = importlib.import_module("google.generativeai")
    options = {"api_endpoint": base_url} if base_url else None
    genai.configure(api_key=api_key, transport="rest", client_options=options)

    def generate(system: str, user: str, limit: int) -> Any:
        chat = genai.GenerativeModel(model, system_instruction=system or None)
        return chat.generate_content(
            user,
            generation_config={"max_output_tokens": limit, "temperature": 0},
            request_options={"timeout": timeout_s, "retry": None},
        )

    return GeminiLegacy(call=generate, max_output_tokens=max_output_tokens)


class GeminiLegacy(BaseChatModel):
    """A chat model over one synchronous function `call(system, user, max_output_tokens)`."""

    call: Generate
    max_output_tokens: int

    @property
    def _llm_type(self) -> str:
        return "gemini-legacy"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        system = "\n".join(str(m.text) for m in messages if isinstance(m, SystemMessage))
        user = "\n".join(str(m.text) for m in messages if not isinstance(m, SystemMessage))
        limit = kwargs.get("max_output_tokens", self.max_output_tokens)
        return _result(self.call(system, user, limit))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return await asyncio.to_thread(self._generate, messages, stop, None, **kwargs)


def _result(response: Any) -> ChatResult:
    if not response.candidates:
        raise BadReply("gemini-legacy sent no candidate.")
    candidate = response.candidates[0]
    usage = response.usage_metadata
    message = AIMessage(
        "".join(part.text for part in candidate.content.parts),
        response_metadata={"finish_reason": candidate.finish_reason.name},
        usage_metadata={
            "input_tokens": usage.prompt_token_count,
            "output_tokens": usage.candidates_token_count,
            "total_tokens": usage.total_token_count,
        },
    )
    return ChatResult(generations=[ChatGeneration(message=message)])
