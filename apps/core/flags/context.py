"""What is known of a request when its flags are decided, and what its header asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from apps.core.domain.models import AnswerRequest

MAX_HEADER_CHARS = 2048
WORDS = {"on": True, "off": False}
FIELDS = ("user_id", "session_id", "api_key_id", "tenant", "locale", "endpoint", "request_id")


@dataclass(frozen=True, slots=True)
class Overrides:
    """The header `X-DTRAG-Flags`, e.g. `debate_mode=on;soft_q_bandit=off`.

    values: flag key to wish; a flag that is named twice with different words is off.
    ignored: entries that are malformed or not allowed to this caller, for a counter.
    """

    values: Mapping[str, bool] = field(default_factory=dict)
    ignored: int = 0


def parse_overrides(header: str, *, may_turn_on: bool) -> Overrides:
    """Read the header of an authenticated caller.

    Args:
        header: entries `key=on` or `key=off`, separated by semicolons.
        may_turn_on: whether the caller holds the scope `flags:override`.
    """
    if not header:
        return Overrides()
    if len(header) > MAX_HEADER_CHARS:
        return Overrides(ignored=1)
    values: dict[str, bool] = {}
    ignored = 0
    for entry in filter(None, (part.strip() for part in header.split(";"))):
        key, _, word = (part.strip() for part in entry.partition("="))
        wish = WORDS.get(word.lower())
        if not key or wish is None or (wish and not may_turn_on):
            ignored += 1
        else:
            values[key] = wish and values.get(key, True)
    return Overrides(MappingProxyType(values), ignored)


@dataclass(frozen=True, slots=True)
class FlagContext:
    """One request as rules and rollouts see it; a text that is None or empty is not known.

    targeting_key: what `fractional` hashes; not a unit of a rollout by itself.
    api_key_id: the id of the key, never the key.
    timestamp: seconds since 1970, read once for the whole request.
    attributes: free ones; they cannot take the name of a field.
    overrides: what the request's header may and does ask for.
    synthetic: health checks and tests of our own, which enter no statistics.
    """

    targeting_key: str | None = None
    user_id: str | None = None
    session_id: str | None = None
    api_key_id: str | None = None
    tenant: str | None = None
    locale: str | None = None
    endpoint: str | None = None
    request_id: str | None = None
    timestamp: int = 0
    attributes: Mapping[str, object] = field(default_factory=dict)
    overrides: Mapping[str, bool] = field(default_factory=dict)
    synthetic: bool = False

    def data(self) -> dict[str, object]:
        """What a targeting rule sees; `$flagd.flagKey` is filled in flag by flag."""
        return {
            **self.attributes,
            "targetingKey": self.targeting_key,
            "user_id": self.user_id,
            "session_id": self.session_id,
            "api_key_id": self.api_key_id,
            "tenant": self.tenant,
            "locale": self.locale,
            "endpoint": self.endpoint,
            "request_id": self.request_id,
            "$flagd": {"flagKey": "", "timestamp": self.timestamp},
        }


def context_of(request: AnswerRequest | None, *, timestamp: int) -> FlagContext:
    """The context of a question; without one, of nobody."""
    if request is None:
        return FlagContext(timestamp=timestamp, synthetic=True)
    return FlagContext(
        targeting_key=request.user_id or request.session_id or request.request_id or None,
        user_id=request.user_id,
        session_id=request.session_id,
        api_key_id=request.caller.key_id,
        tenant=request.caller.tenant,
        locale=request.language or request.locale,
        endpoint=request.endpoint,
        request_id=request.request_id or None,
        timestamp=timestamp,
        overrides=request.overrides,
        synthetic=request.synthetic,
    )


def foreign_context(
    targeting_key: str | None, attributes: Mapping[str, object], *, timestamp: int
) -> FlagContext:
    """The context of somebody else's request, e.g. through OpenFeature.

    Attributes with the name of a field fill it. A targeting key alone stands for the user.
    """
    known = {
        name: value for name in FIELDS if isinstance(value := attributes.get(name), str) and value
    }
    return FlagContext(
        targeting_key=targeting_key or None,
        user_id=known.get("user_id") or targeting_key or None,
        session_id=known.get("session_id"),
        api_key_id=known.get("api_key_id"),
        tenant=known.get("tenant"),
        locale=known.get("locale"),
        endpoint=known.get("endpoint"),
        request_id=known.get("request_id"),
        timestamp=timestamp,
        attributes=attributes,
    )
