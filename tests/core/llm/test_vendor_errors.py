"""Classes and statuses of providers that are not at hand, and what they become."""

from __future__ import annotations

import json

import pytest

from apps.core.errors import (
    BadReply,
    DtRagError,
    PromptTooLong,
    ProviderBusy,
    ProviderFailure,
)
from apps.core.llm.vendor_errors import translate


class HttpError(Exception):
    def __init__(self, status_code: int, text: str = "") -> None:
        super().__init__(text)
        self.status_code = status_code


class APIConnectionError(Exception):
    """As the OpenAI client names it."""


@pytest.mark.parametrize(
    ("error", "expected", "pause_s"),
    [
        (HttpError(429), ProviderBusy, 30.0),
        (HttpError(429, "{'retryDelay': '3.5s'}"), ProviderBusy, 3.5),
        (HttpError(502), ProviderBusy, None),
        (HttpError(403), ProviderFailure, None),
        (HttpError(404), ProviderFailure, None),
        (HttpError(400, "This model's maximum context length is 9 tokens"), PromptTooLong, None),
        (TimeoutError(), ProviderBusy, 30.0),
        (ConnectionResetError(), ProviderBusy, None),
        (APIConnectionError(), ProviderBusy, None),
        (json.JSONDecodeError("cut", "{", 1), BadReply, None),
        (TypeError("ours"), ProviderFailure, None),
    ],
)
def test_each_failure_has_one_name(
    error: Exception, expected: type[DtRagError], pause_s: float | None
) -> None:
    """The class decides about trying again, and the pause travels with it."""
    ours = translate(error, "p:m")
    assert type(ours) is expected
    assert ours.retry_after_s == pause_s


def test_a_status_of_the_cause_counts() -> None:
    """A wrapper without a status of its own is judged by what caused it."""
    wrapper = RuntimeError("wrapped")
    wrapper.__cause__ = HttpError(503)
    assert isinstance(translate(wrapper, "p:m"), ProviderBusy)


def test_our_own_error_stays_as_it_is() -> None:
    """Nothing is translated twice."""
    ours = BadReply("empty")
    assert translate(ours, "p:m") is ours
