"""Our flags through the OpenFeature SDK."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import EventDetails, ProviderEvent

from apps.core.domain.flags import Flag
from apps.core.flags.definition import parse_flag
from apps.core.flags.provider import SqlFlagProvider
from apps.core.flags.rollout import Split
from apps.core.flags.snapshot import FlagEntry, FlagWorld, Snapshot
from tests.fakes.clock import FakeClock

SINCE = {"if": [{"==": [{"var": "since"}, "2026-01-02T00:00:00+00:00"]}, "on"]}
RULED = parse_flag(
    "meta_planner",
    {
        "state": "ENABLED",
        "variants": {"on": True, "off": False},
        "defaultVariant": "off",
        "targeting": {"if": [{"in": ["a", {"var": "groups.names"}]}, "on", SINCE]},
        "metadata": {"owner": "answers"},
    },
)
WORLD = FlagWorld(
    version=1,
    flags=(Flag("debate_mode", ""),),
    entries=(FlagEntry.of(RULED),),
    rollouts={"debate_mode": Split("debate_mode", 100, id="r1", epoch=1, stage=3)},
)


class Holder:
    """What a worker holds: the current snapshot, swapped by an assignment."""

    def __init__(self) -> None:
        self.snapshot: Snapshot | None = Snapshot(WORLD)


@pytest.fixture
def holder() -> Holder:
    return Holder()


@pytest.fixture
def provider(holder: Holder) -> SqlFlagProvider:
    return SqlFlagProvider(lambda: holder.snapshot, FakeClock())


@pytest.fixture
def client(provider: SqlFlagProvider) -> Iterator[OpenFeatureClient]:
    api.set_provider_and_wait(provider, "flags")
    yield api.get_client("flags")
    api.clear_providers()


def test_a_rollout_is_told_in_the_metadata(client: OpenFeatureClient) -> None:
    """Value, variant, reason, and what decided."""
    found = client.get_boolean_details("debate_mode", False, EvaluationContext("kim"))
    assert (found.value, found.variant, found.reason) == (True, "on", "SPLIT")
    assert found.flag_metadata == {
        "layer": "ROLLOUT", "rollout": "r1", "epoch": 1, "stage": 3, "arm": "canary",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("attributes", "on"),
    [
        ({"groups": {"names": ["a"]}}, True),
        ({"groups": {"names": ("b",)}}, False),
        ({"since": datetime(2026, 1, 2, tzinfo=UTC)}, True),
    ],
)
async def test_attributes_reach_the_rules(
    client: OpenFeatureClient, attributes: dict[str, object], on: bool
) -> None:
    """Lists, objects and times as JSON has them; the asynchronous door is the same."""
    context = EvaluationContext("kim", attributes)  # type: ignore[arg-type]
    found = await client.get_boolean_details_async("meta_planner", False, context)
    assert found.value is on
    assert found.flag_metadata["owner"] == "answers"


def test_the_next_call_sees_the_next_snapshot(client: OpenFeatureClient, holder: Holder) -> None:
    """A kill, for example."""
    assert client.get_boolean_value("debate_mode", False, EvaluationContext("kim"))
    holder.snapshot = Snapshot(replace(WORLD, kill_all=True))
    assert not client.get_boolean_value("debate_mode", True, EvaluationContext("kim"))


def test_before_the_first_snapshot_defaults_are_served(
    client: OpenFeatureClient, holder: Holder
) -> None:
    """With the code that says why."""
    holder.snapshot = None
    found = client.get_boolean_details("debate_mode", True)
    assert (found.value, found.reason, found.error_code) == (True, "ERROR", "PROVIDER_NOT_READY")


def test_without_a_context_there_is_no_unit(client: OpenFeatureClient) -> None:
    """Off, never random."""
    found = client.get_boolean_details("debate_mode", True)
    assert (found.value, found.reason) == (False, "DEFAULT")


def test_listeners_hear_of_changes(provider: SqlFlagProvider) -> None:
    """Which flags changed, and that the truth cannot be reached."""
    heard: list[tuple[str, list[str] | None, str | None]] = []

    def on_emit(_provider: object, event: ProviderEvent, details: EventDetails) -> None:
        heard.append((event.value, details.flags_changed, details.message))

    provider.attach(on_emit)  # type: ignore[arg-type]
    provider.changed(["debate_mode"])
    provider.stale("no answer for 5 s")
    assert heard == [
        ("PROVIDER_CONFIGURATION_CHANGED", ["debate_mode"], None),
        ("PROVIDER_STALE", None, "no answer for 5 s"),
    ]
    assert provider.get_metadata().name == "dt-rag"
