"""The process's own flags through OpenFeature, told of changes and of silence."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from openfeature import api
from openfeature.event import EventDetails, ProviderEvent

from apps.core.flags.openfeature_door import register
from apps.core.flags.store import FlagStore
from apps.core.settings import Settings
from tests.fakes.clock import FakeClock


@pytest.fixture
def store(make_settings: Callable[..., Settings]) -> FlagStore:
    return FlagStore(make_settings(), clock=FakeClock())


@pytest.fixture(autouse=True)
def registered(store: FlagStore) -> Iterator[None]:
    end = register(store, FakeClock())
    yield
    end()


def heard(event: ProviderEvent) -> Callable[[], EventDetails]:
    """What a listener was told; it is called in a thread of the SDK."""
    told: list[EventDetails] = []
    arrived = threading.Event()

    def handler(details: EventDetails) -> None:
        told.append(details)
        arrived.set()

    api.add_handler(event, handler)

    def wait() -> EventDetails:
        assert arrived.wait(10)
        return told[0]

    return wait


def test_a_change_is_told_and_served(store: FlagStore, tmp_path: Path) -> None:
    """Whoever listens learns the key, and the next question has the new value."""
    client = api.get_client()
    changed = heard(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED)
    assert client.get_boolean_details("debate_mode", True).reason == "DEFAULT"
    (tmp_path / "KILL").write_text("debate_mode\n")
    store.files.look(store.known)
    store.take_files()
    assert "debate_mode" in (changed().flags_changed or [])
    assert client.get_boolean_details("debate_mode", True).reason == "DISABLED"


def test_silence_of_the_database_is_told(store: FlagStore) -> None:
    """The values stay; only listeners learn of it, once."""
    stale = heard(ProviderEvent.PROVIDER_STALE)
    store.judge_age(-1.0)
    store.judge_age(-1.0)
    assert "not confirmed" in (stale().message or "")
    assert api.get_client().get_boolean_details("debate_mode", True).value is False
