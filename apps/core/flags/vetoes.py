"""Which hosts forbid a flag by their environment, and what the variable is called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from apps.core.errors import EnvironmentVeto
from apps.core.flags.catalogue import OWN_NAMES, PREFIX, key_of
from apps.core.storage.flag_acks import Ack


def variable_of(key: str, names: Mapping[str, str] | None = None) -> str:
    """The variable that may veto a flag; `names` are those that really gave a word."""
    own = OWN_NAMES.get(key, f"{PREFIX}{key.upper()}")
    return (names or {}).get(key, own)


def hosts_against(key: str, acks: Iterable[Ack]) -> tuple[str, ...]:
    """Hosts whose workers reported a veto, in order and once each."""
    return tuple(sorted({ack.host for ack in acks if key in map(key_of, ack.env_vetoes)}))


def refuse(key: str, hosts: Iterable[str], names: Mapping[str, str] | None = None) -> None:
    """Stop a change that turns the flag on where any host forbids it.

    Raises:
        EnvironmentVeto: with the variable and the hosts.
    """
    found = sorted(set(hosts))
    if found:
        raise EnvironmentVeto(f"env:{variable_of(key, names)}=false", found)
