"""Judges a URL by its spelling and an IP address by its number; pure, no look-ups.

The host has one accepted spelling: what we check, what we connect to and what the server reads in
`Host` come from the same parsed value, so two parsers can never disagree about it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal, cast
from urllib.parse import quote

from apps.core.errors import Unprocessable
from apps.core.settings import SettingsError

Address = IPv4Address | IPv6Address
Scheme = Literal["http", "https"]
DEFAULT_PORTS: dict[Scheme, int] = {"http": 80, "https": 443}

MAX_URL_CHARS = 8000  # what RFC 9110 section 4.1 asks everybody to support
URL = re.compile(r"(https?)://([^/?#]*)([^?#]*)(\?[^#]*)?(?:#.*)?", re.I | re.A)
AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]]+)(?::([1-9][0-9]{0,4}))?", re.I | re.A)
LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
# The URL standard reads a host as IPv4 when its last label is a number, in any base.
NUMBER = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)")
PATH_SAFE = "/%:@!$&'()*+,;=~-._[]"
QUERY_SAFE = PATH_SAFE + "?"

# Names that never mean a public server: RFC 6761, 6762, 7686, 8375, ICANN's .internal, and what
# small networks use without asking. The last two are cloud metadata under a public suffix.
PRIVATE_NAMES = tuple(
    f".{name}"
    for name in (
        *("localhost", "localdomain", "local", "internal", "intranet", "private", "corp"),
        *("home", "lan", "arpa", "onion", "metadata.goog", "metadata.tencentyun.com"),
    )
)
# Metadata services: AWS and most others, Alibaba, Azure, Oracle, AWS on IPv6, Google on IPv6.
METADATA = frozenset(
    ip_address(number)
    for number in (
        *("169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
        *("fd00:ec2::254", "fd20:ce::254"),
    )
)
# Not public although the `ipaddress` of some Python versions says so; IANA special-purpose
# address registries.
NOT_PUBLIC = (
    *(ip_network("192.0.0.0/24"), ip_network("192.88.99.0/24"), ip_network("240.0.0.0/4")),
    *(ip_network("2001::/23"), ip_network("2001:db8::/32"), ip_network("3fff::/20")),
)
PUBLIC_V6 = IPv6Network("2000::/3")  # RFC 4291: the only block given out so far
THIS_NETWORK = IPv4Network("0.0.0.0/8")
FUTURE_USE = IPv4Network("240.0.0.0/4")
NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052


@dataclass(frozen=True, slots=True)
class Listing:
    """The hosts of `FETCH_ALLOW_HOSTS`; a port of None stands for 80 and 443."""

    entries: frozenset[tuple[str, int | None]] = frozenset()

    def holds(self, host: str, port: int) -> bool:
        """Whether the operator has allowed this host on this port."""
        usual = port in DEFAULT_PORTS.values()
        return (host, port) in self.entries or (usual and (host, None) in self.entries)


@dataclass(frozen=True, slots=True)
class Target:
    """A URL whose spelling is accepted; `host` is an ASCII name or the text of an address."""

    scheme: Scheme
    host: str
    port: int
    path: str
    listed: bool

    @property
    def authority(self) -> str:
        """The value of the `Host` header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL in its one spelling, ASCII."""
        return f"{self.scheme}://{self.authority}{self.path}"


def listing(text: str) -> Listing:
    """Read `FETCH_ALLOW_HOSTS`: host or host:port, separated by commas.

    Raises:
        SettingsError: an entry is neither.
    """
    return Listing(frozenset(_entry(word.strip()) for word in text.split(",") if word.strip()))


def _entry(word: str) -> tuple[str, int | None]:
    try:
        return _authority(word)
    except Unprocessable as error:
        raise SettingsError(f"FETCH_ALLOW_HOSTS: {word!r} is not host or host:port.") from error


def target(url: str, listed: Listing) -> Target:
    """Accept the spelling of a URL.

    Raises:
        Unprocessable: scheme, host or port is not one that may be fetched.
    """
    match = URL.fullmatch(url)
    if len(url) > MAX_URL_CHARS or not _printable(url) or match is None:
        raise Unprocessable("The URL must be a plain http or https address.")
    scheme = cast("Scheme", match[1].lower())
    host, given_port = _authority(match[2])
    port = given_port or DEFAULT_PORTS[scheme]
    found = Target(scheme, host, port, _path(match[3], match[4]), listed.holds(host, port))
    if not found.listed:
        _refuse_unlisted(found)
    return found


def _refuse_unlisted(found: Target) -> None:
    if found.scheme != "https":
        raise Unprocessable("The URL must begin with https.")
    if found.port not in DEFAULT_PORTS.values():
        raise Unprocessable("The URL names a port that may not be fetched from.")
    address = literal(found.host)
    inside = "." not in found.host or f".{found.host}".endswith(PRIVATE_NAMES)
    if address is None and inside:
        raise Unprocessable("The URL names a host that is not on the public internet.")


def _printable(url: str) -> bool:
    # Refuses CR, LF, tabs, blanks, zero-width and direction marks; a backslash is a slash to some.
    return url.isprintable() and not any(mark in url for mark in " \\")


def _path(path: str, query: str | None) -> str:
    return quote(path or "/", safe=PATH_SAFE) + quote(query or "", safe=QUERY_SAFE)


def _authority(text: str) -> tuple[str, int | None]:
    if "@" in text:
        raise Unprocessable("The URL must not hold a user name or password.")
    match = AUTHORITY.fullmatch(text)
    if match is None or int(match[2] or 0) > 65535:
        raise Unprocessable("The host or port of the URL is not well-formed.")
    return _host(match[1]), int(match[2]) if match[2] else None


def _host(text: str) -> str:
    if text.startswith("["):
        return _v6(text[1:-1])
    name = _ascii(text.lower()).removesuffix(".")
    labels = name.split(".")
    if NUMBER.fullmatch(labels[-1]):
        return _v4(text)
    if len(name) > 253 or not all(LABEL.fullmatch(label) for label in labels):
        raise Unprocessable("The host of the URL is not well-formed.")
    return name


def _v6(text: str) -> str:
    try:
        return IPv6Address(text).compressed
    except ValueError as error:
        raise Unprocessable("The host of the URL is not well-formed.") from error


def _v4(text: str) -> str:
    # Octal, hexadecimal, short, dotless and full-width spellings all fail here.
    try:
        return str(IPv4Address(text))
    except ValueError as error:
        raise Unprocessable("The URL must spell an address as four decimal numbers.") from error


def _ascii(name: str) -> str:
    if name.isascii() and "xn--" not in name:
        return name
    import idna  # noqa: PLC0415 - comes with httpx; its tables are large

    try:
        return idna.encode(name, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError) as error:
        raise Unprocessable("The host of the URL is not a valid name.") from error


def literal(host: str) -> Address | None:
    """The address that `host` spells, or None when it is a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def may_connect(address: Address, *, listed: bool) -> bool:
    """Whether a connection to `address` is allowed.

    Args:
        address: where the name leads; addresses that wrap another are judged by what they wrap.
        listed: the operator named the host, so private and loopback addresses are meant.
    """
    allowed = _is_ordinary if listed else _is_public
    return all(allowed(inner) for inner in unwrapped(address))


def unwrapped(address: Address) -> tuple[Address, ...]:
    """The addresses to which a packet for `address` really goes."""
    if isinstance(address, IPv4Address):
        return (address,)
    if address.ipv4_mapped:
        return (address.ipv4_mapped,)
    if address in NAT64:
        return (IPv4Address(int(address) & 0xFFFFFFFF),)
    if address.sixtofour:
        return (address.sixtofour,)
    return address.teredo or (address,)


def _is_ordinary(address: Address) -> bool:
    """Not metadata, not link-local, not many hosts, not none."""
    special = address.is_link_local or address.is_multicast or address.is_unspecified
    return not special and not (
        address in METADATA or address in THIS_NETWORK or address in FUTURE_USE
    )


def _is_public(address: Address) -> bool:
    given_out = isinstance(address, IPv4Address) or address in PUBLIC_V6
    reserved = any(address in network for network in NOT_PUBLIC)
    return _is_ordinary(address) and address.is_global and given_out and not reserved
