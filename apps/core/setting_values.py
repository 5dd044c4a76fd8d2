"""What the value of a setting must look like; a ValueError says what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args
from urllib.parse import urlsplit

MIN_SECRET_BYTES = 32
# Of 64 random hexadecimal digits fewer than 10 different ones come up once in 10^11 times.
MIN_SECRET_VARIETY = 10
EXAMPLE_SECRETS = ("change-me", "changeme", "production-secret-key", "replace-me", "example")
MODEL = re.compile(r"[a-z][a-z0-9_-]*:\S+")
RERANK_BY_MODEL = "llm"
DEFAULT_GEMINI = "google_genai:gemini-2.5-flash"
NO_MODEL = frozenset({"extractive", "none"})
Affliction = Literal["error", "slow"]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is done to a node on purpose: `amount` is a share of runs (error) or seconds (slow)."""

    kind: Affliction
    amount: float


def faults(value: str) -> Mapping[str, Fault]:
    """Read `node=error:0.5,other=slow:1.5`, node by node.

    Raises:
        ValueError: not of this form, or an amount outside of 0..1 (error) or 0..60 s (slow).
    """
    found = {}
    for entry in names(value):
        node, _, what = entry.partition("=")
        kind, _, amount = what.partition(":")
        known = {name: name for name in get_args(Affliction)}.get(kind)
        try:
            size = float(amount)
        except ValueError:
            size = -1.0
        if known is None or not node or not 0 <= size <= (1 if known == "error" else 60):
            raise ValueError(f"{entry!r} is not like debate_mode=error:0.5 or debate_mode=slow:1.5")
        found[node] = Fault(known, size)
    return MappingProxyType(found)


def database_url(value: str) -> str:
    """The address with the one driver that we use; other drivers' names are understood.

    Raises:
        ValueError: not PostgreSQL, and not a file of SQLite.
    """
    scheme, separator, rest = value.partition("://")
    kind = scheme.partition("+")[0]
    if separator and kind in ("postgresql", "postgres"):
        if not _has_usable_port(value):
            raise ValueError("the port is not a number")
        return f"postgresql+asyncpg://{rest}"
    if separator and kind == "sqlite":
        if rest.strip("/") in ("", ":memory:"):
            raise ValueError("SQLite needs a file, because every process must see the same data")
        return f"sqlite+aiosqlite://{rest}"
    raise ValueError("must begin with sqlite:/// or postgresql://")


def http_address(value: str) -> str:
    """An address of a service that speaks HTTP, without a slash at its end.

    Raises:
        ValueError: another scheme, no host, or a port that is no number.
    """
    if not value.startswith(("http://", "https://")):
        raise ValueError("must begin with http:// or https://")
    if not _has_usable_port(value) or not urlsplit(value).hostname:
        raise ValueError("must name a host, and a port that is a number")
    return value.rstrip("/")


def redis_url(value: str) -> str:
    """An address of Redis.

    Raises:
        ValueError: another scheme.
    """
    if not value.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must begin with redis://, rediss:// or unix://")
    return value


def reranker(value: str) -> str:
    """Who ranks passages once more: nobody (empty), `llm`, or a server by its address.

    Raises:
        ValueError: something else, or an address with a user name or password.
    """
    if value in ("none", RERANK_BY_MODEL):
        return value.removeprefix("none")
    if not value.startswith(("http://", "https://")):
        raise ValueError("must be none, llm, or an address that begins with http:// or https://")
    address = http_address(value)
    if "@" in urlsplit(address).netloc:
        raise ValueError("must not hold a password; DTRAG_RERANKER_KEY is the place for a key")
    if not (address.isascii() and address.isprintable()) or " " in address or "#" in address:
        raise ValueError("must be a plain address")
    return address


def bearer(value: str) -> str:
    """A key that can be sent in a header.

    Raises:
        ValueError: it holds a blank, or a letter beyond ASCII; it is never quoted.
    """
    if not (value.isascii() and value.isprintable()) or " " in value:
        raise ValueError("holds a character that no key has")
    return value


def chat_models(value: str) -> str:
    """A list of `provider:model`, or of words for none.

    Raises:
        ValueError: an entry is neither.
    """
    for name in names(value):
        if name not in NO_MODEL and not MODEL.fullmatch(name):
            raise ValueError(f"{name!r} is not of the form provider:model")
    return value


def names(value: str) -> tuple[str, ...]:
    """Names between commas."""
    return tuple(name.strip() for name in value.split(",") if name.strip())


def _has_usable_port(url: str) -> bool:
    try:
        port = urlsplit(url).port
    except ValueError:
        return False
    return port is None or port > 0


def refuse_weak_secret(value: str) -> None:
    """Accept a secret that nobody can guess.

    Raises:
        ValueError: it is short, an example, or not random.
    """
    if len(value.encode()) < MIN_SECRET_BYTES:
        raise ValueError(f"SECRET_KEY needs at least {MIN_SECRET_BYTES} bytes in production")
    if any(word in value.lower() for word in EXAMPLE_SECRETS):
        raise ValueError("SECRET_KEY still holds an example value")
    if len(set(value)) < MIN_SECRET_VARIETY:
        raise ValueError("SECRET_KEY is not random")
