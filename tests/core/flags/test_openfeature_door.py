"""The process's own flags through OpenFeature, told of changes and of silence."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from openfeature import api
from openfeature.event import EventDetails, ProviderEvent
from openfeature.provider import ProviderStatus

from apps.core.flags.openfeature_door import register
from apps.core.flags.store import FlagStore
from apps.core.settings import Settings
from tests.fakes.clock import FakeClock


@pytest.fixture
def store(make_settings: Callable[..., Settings]) -> FlagStore:
    return FlagStore(make_settings(), clock=FakeClock())


@pytest.fixture(autouse=True)
def registered(store: FlagStore) -> Iterator[list[Callable[[], None]]]:
    """What takes the provider away; the fixture does it for tests that do not."""
    ends = [register(store, FakeClock())]
    yield ends
    for end in ends:
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


def test_what_changes_no_flag_is_not_told(store: FlagStore, tmp_path: Path) -> None:
    """The first event that a listener hears is the one with a key."""
    changed = heard(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED)
    store.declare(())
    (tmp_path / "KILL").write_text("debate_mode\n")
    store.files.look(store.known)
    store.take_files()
    assert changed().flags_changed


def test_silence_of_the_database_and_its_end_are_told(store: FlagStore) -> None:
    """The values stay; the client's status is what the SDK defines for the events."""
    client = api.get_client()
    assert client.get_provider_status() is ProviderStatus.READY
    stale = heard(ProviderEvent.PROVIDER_STALE)
    store.judge_age(-1.0)
    assert "not confirmed" in (stale().message or "")
    assert client.get_provider_status() is ProviderStatus.STALE
    assert client.get_boolean_details("debate_mode", True).value is False
    ready = heard(ProviderEvent.PROVIDER_READY)
    store.judge_age(1.0)
    assert ready().provider_name == "dt-rag"
    assert client.get_provider_status() is ProviderStatus.READY


def test_a_store_that_is_stale_already_says_so(store: FlagStore) -> None:
    """Whoever registers late is not told that all is well."""
    store.judge_age(-1.0)
    end = register(store, FakeClock())
    assert api.get_client().get_provider_status() is ProviderStatus.STALE
    end()


def test_after_the_end_nothing_is_told(
    store: FlagStore, registered: list[Callable[[], None]]
) -> None:
    """The process's next provider hears nothing of ours."""
    registered.pop()()
    assert api.get_client().get_boolean_value("debate_mode", True) is True
    store.judge_age(-1.0)
    assert api.get_client().get_provider_status() is ProviderStatus.READY
