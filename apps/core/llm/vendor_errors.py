"""Providers' exceptions into our error tree, once, at the door.

Vendors are recognised by the names of their classes and by their HTTP status, so no SDK is
imported here. Their messages are not passed on: they may quote the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from apps.core.errors import BadReply, PromptTooLong, ProviderBusy, ProviderFailure

T = TypeVar("T")

DEFAULT_PAUSE_S = 30.0
RETRY_DELAY = re.compile(r"retryDelay\W{1,6}(\d+(?:\.\d+)?)s")
KEY_REFUSED = re.compile(r"API[_ ]key[_ ](?:not valid|invalid|expired)", re.IGNORECASE)
TOO_LONG = re.compile(r"maximum (?:number of tokens|context length)|token limit", re.IGNORECASE)

PACKAGE = re.compile(r"langchain-[a-z-]+[a-z]")

TIMEOUTS = frozenset({"TimeoutError", "TimeoutException", "Timeout", "ModelTimeoutError"})
LOST_LIST = """
ConnectionError TransportError APIConnectionError ModelConnectionError ServiceUnavailable RetryError
"""
LOST = frozenset(LOST_LIST.split())
UNREADABLE = frozenset({"JSONDecodeError", "UnknownApiResponseError", "ParseError"})


def translate(error: Exception, model: str) -> ProviderFailure:
    """Name what went wrong with `model`; the result is to be raised from `error`."""
    if isinstance(error, ProviderFailure):
        return error
    kinds = {kind.__name__ for kind in type(error).__mro__}
    text = str(error)
    if "ContextOverflowError" in kinds or TOO_LONG.search(text):
        return PromptTooLong(f"The prompt is longer than {model} takes.")
    if kinds & TIMEOUTS:
        return ProviderBusy(f"{model} did not answer in time.", retry_after_s=DEFAULT_PAUSE_S)
    if kinds & UNREADABLE:
        return BadReply(f"{model} sent something that is not valid JSON.")
    return _by_status(_status(error), model, text) or _unknown(error, kinds, model)


def not_installed(name: str, error: ImportError) -> str:
    """A sentence on the package that `name` lacks; LangChain's own refusals tell it in words."""
    told = PACKAGE.search(str(error))
    package = error.name or (told[0] if told else "its package")
    return f"{name} needs {package!r}, which is not installed."


def set_up(name: str, factory: Callable[[], T], *, hint: str = "") -> T:
    """What `factory` makes for the model `name`; `hint` follows what went wrong.

    Raises:
        ProviderFailure: a package, a key or a word of the configuration is missing.
    """
    try:
        return factory()
    except ImportError as error:
        raise ProviderFailure(not_installed(name, error)) from error
    except ProviderFailure:
        raise
    # A client refuses its configuration with whatever class it likes.
    except Exception as error:
        raise ProviderFailure(f"{name} cannot be set up ({type(error).__name__}){hint}.") from error


def _by_status(status: int | None, model: str, text: str) -> ProviderFailure | None:
    if status == 429:
        found = RETRY_DELAY.search(text)
        pause_s = float(found[1]) if found else DEFAULT_PAUSE_S
        return ProviderBusy(f"{model} limits our calls.", retry_after_s=pause_s)
    if status is not None and status >= 500:
        return ProviderBusy(f"{model} is overloaded or failing (HTTP {status}).")
    if status in (401, 403) or KEY_REFUSED.search(text):
        return ProviderFailure(f"{model} refused the key.")
    if status is not None and status >= 400:
        return ProviderFailure(f"{model} refused the request (HTTP {status}).")
    return None


def _unknown(error: Exception, kinds: set[str], model: str) -> ProviderFailure:
    if kinds & LOST:
        return ProviderBusy(f"The connection to {model} was lost.")
    return ProviderFailure(f"{model} failed ({type(error).__name__}).")


def _status(error: BaseException | None) -> int | None:
    """The HTTP status that an SDK's exception, or what caused it, carries."""
    while error is not None:
        for name in ("status_code", "code"):
            value = getattr(error, name, None)
            if isinstance(value, int):
                return value
        error = error.__cause__
    return None
