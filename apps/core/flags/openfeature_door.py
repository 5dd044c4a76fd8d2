"""Our flags as the process's OpenFeature provider, for extensions that speak its language."""

from __future__ import annotations

from collections.abc import Callable

from openfeature import api

from apps.core.domain.ports import Clock
from apps.core.flags.provider import SqlFlagProvider
from apps.core.flags.store import FlagStore


def register(store: FlagStore, clock: Clock) -> Callable[[], None]:
    """Make the store the default provider of this process; call it after the fork, in a thread.

    Handlers hear PROVIDER_CONFIGURATION_CHANGED with the keys, PROVIDER_STALE when the database
    stays silent, and PROVIDER_READY when it answers again.

    Returns:
        What takes it away again.
    """
    provider = SqlFlagProvider(lambda: store.snapshot, clock)
    # Without waiting, a thread of the SDK would serve defaults until it is done.
    api.set_provider_and_wait(provider)
    ends = (
        store.subscribe(lambda _snapshot, keys: provider.changed(sorted(keys))),
        store.when_stale(lambda why: provider.stale(why) if why else provider.ready()),
    )
    if store.stale:
        provider.stale("The database was silent before this provider began.")

    def end() -> None:
        for each in ends:
            each()
        api.clear_providers()

    return end
