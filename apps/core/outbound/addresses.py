"""Which addresses may be asked for: judged by their spelling, then by what they resolve to.

Source of the rules: OWASP Server-Side Request Forgery Prevention Cheat Sheet.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field

import httpx

from apps.core.errors import Unprocessable
from apps.core.settings import Settings

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_URL_CHARS = 2048
DEFAULT_PORTS = {"https": 443, "http": 80}
UNCLEAN = re.compile(r"[\x00-\x20\x7f-\xa0\\<>\"{}|^`]")
AUTHORITY_END = re.compile(r"[/?#]")
LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
NUMBER = re.compile(r"\d+|0x[0-9a-f]*")
# Names that mean this host or this network wherever they are asked (RFC 6761, 6762, 8375, 9476;
# cloud providers' metadata services).
LOCAL_NAMES = (
    "localhost",
    "local",
    "localdomain",
    "internal",
    "intranet",
    "home.arpa",
    "alt",
    "lan",
)
# Not public although the library's tables, which follow IANA's, may call them global.
NEVER = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.88.99.0/24",  # 6to4 relays, RFC 7526
        "168.63.129.16/32",  # a cloud's own host, reachable from every guest
        "::/96",  # IPv4-compatible, RFC 4291 2.5.5.1
        "fec0::/10",  # site-local, RFC 3879
        "3fff::/20",  # documentation, RFC 9637
        "5f00::/16",  # segment routing, RFC 9602
    )
)
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052
PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")  # all that IANA has given out


@dataclass(frozen=True, slots=True)
class Policy:
    """Hosts that the operator allows: (name, port), None for any port. Only they may use http."""

    allowed: frozenset[tuple[str, int | None]] = field(default_factory=frozenset)

    def trusts(self, host: str, port: int) -> bool:
        """Whether the operator named this host."""
        return bool({(host, port), (host, None)} & self.allowed)


@dataclass(frozen=True, slots=True)
class Target:
    """An address that is fit to be resolved."""

    url: httpx.URL
    host: str
    port: int
    trusted: bool

    @property
    def text(self) -> str:
        """The address as it will be asked for."""
        return str(self.url)


def policy(settings: Settings) -> Policy:
    """The hosts of FETCH_ALLOW_HOSTS, `host` or `host:port`, separated by commas."""
    entries = (entry.strip().lower() for entry in settings.FETCH_ALLOW_HOSTS.split(","))
    return Policy(frozenset(_host_and_port(entry) for entry in entries if entry))


def _host_and_port(entry: str) -> tuple[str, int | None]:
    name, _, port = entry.rpartition(":")
    if name and port.isdigit() and (":" not in name or name.endswith("]")):
        return name.strip("[]"), int(port)
    return entry.strip("[]"), None


def checked(url: str, allowed: Policy) -> Target:
    """Judge an address by its spelling; nothing is resolved yet.

    Raises:
        Unprocessable: no public web address, or one written so that readers disagree about it.
    """
    if len(url) > MAX_URL_CHARS or UNCLEAN.search(url):
        raise refused("it holds characters that do not belong in an address")
    try:
        parsed = httpx.URL(url)
        port = DEFAULT_PORTS.get(parsed.scheme, 0) if parsed.port is None else parsed.port
    except (httpx.InvalidURL, ValueError):
        raise refused("it cannot be read") from None
    if parsed.scheme not in DEFAULT_PORTS or not url.lower().startswith(f"{parsed.scheme}://"):
        raise refused("only http and https are served")
    if parsed.userinfo or "@" in AUTHORITY_END.split(url, maxsplit=3)[2]:
        raise refused("it holds a user name")
    host = parsed.raw_host.decode("ascii", errors="replace")
    trusted = allowed.trusts(host, port)
    if not trusted:
        _check_host(host)
        if parsed.scheme != "https":
            raise refused("only https is allowed")
        if port not in DEFAULT_PORTS.values():
            raise refused("its port is not allowed")
    return Target(parsed.copy_with(fragment=None), host, port, trusted)


def _check_host(host: str) -> None:
    number = literal(host)
    if number is not None:
        if not is_public(str(number)):
            raise refused("its host is not on the public internet")
        return
    labels = host.split(".")
    if len(host) > 253 or not all(LABEL.fullmatch(label) for label in labels):
        raise refused("its host is not a name")
    if NUMBER.fullmatch(labels[-1]):
        # Decimal, octal, hexadecimal and short forms: systems read them as different numbers.
        raise refused("its host is an unusual spelling of a number")
    if len(labels) == 1 or any(host == name or host.endswith(f".{name}") for name in LOCAL_NAMES):
        raise refused("its host is a local name")


def literal(host: str) -> IPAddress | None:
    """The number that `host` is, in its usual spelling; None for a name."""
    try:
        return ipaddress.ip_address(host) if "%" not in host else None
    except ValueError:
        return None


def is_public(address: str) -> bool:
    """Whether an address, and each that is wrapped in it, belongs to the public internet."""
    return all(_is_public(each) for each in _unwrapped(ipaddress.ip_address(address)))


def _unwrapped(address: IPAddress) -> list[IPAddress]:
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address in NAT64:
        return [ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)]
    wrapped = [address.sixtofour] if address.sixtofour else list(address.teredo or ())
    return [address, *wrapped] if not wrapped else list(wrapped)


def _is_public(address: IPAddress) -> bool:
    if address.is_multicast or address.is_reserved or not address.is_global:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address not in PUBLIC_V6:
        return False
    return not any(address in network for network in NEVER if network.version == address.version)


def may_connect(address: str, *, trusted: bool) -> bool:
    """Whether a connection may go to this answer of a resolver."""
    if not trusted:
        return is_public(address)
    # The operator's word covers private networks, not the metadata service behind a stolen name.
    one = _unwrapped(ipaddress.ip_address(address))[0]
    return not (one.is_link_local or one.is_multicast or one.is_unspecified)


def refused(reason: str) -> Unprocessable:
    """The error that says why."""
    return Unprocessable(f"The address is refused: {reason}.")
