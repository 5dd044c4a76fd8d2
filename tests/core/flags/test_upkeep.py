"""How a process learns that a file of its host has changed, while nobody asks it anything."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from apps.core.flags import upkeep
from apps.core.flags.store import FlagStore
from apps.core.flags.upkeep import Upkeep
from apps.core.settings import Settings
from tests.fakes.clock import FakeClock

HOUR_S = 3600.0


@pytest.fixture
def env(tmp_path: Path) -> Path:
    """An env file in a directory of its own, as a mounted one is."""
    (tmp_path / "mounted").mkdir()
    path = tmp_path / "mounted" / "flags.env"
    path.write_text("FEATURE_DEBATE_MODE=false\n")
    return path


@pytest.fixture
def store(make_settings: Callable[..., Settings], env: Path) -> FlagStore:
    return FlagStore(make_settings(env_file=env), clock=FakeClock())


@contextlib.asynccontextmanager
async def running(store: FlagStore) -> AsyncIterator[asyncio.Event]:
    """The store at work; the event says that a veto has ended."""
    ended = asyncio.Event()
    store.subscribe(lambda _snapshot, _keys: None if store.vetoes else ended.set())
    task = asyncio.create_task(store.run())
    yield ended
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def allowed(env: Path, ended: asyncio.Event) -> None:
    """Lift the veto, again and again, because the kernel's watch may begin later than we write."""
    async with asyncio.timeout(30):
        for attempt in itertools.count():
            env.with_suffix(".new").write_text(f"# {attempt}\nFEATURE_DEBATE_MODE=auto\n")
            env.with_suffix(".new").replace(env)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), 0.5)
                return


async def test_the_kernel_tells_of_a_replaced_file(
    store: FlagStore, env: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although nobody asks the file system for an hour."""
    monkeypatch.setattr(upkeep, "WATCH_S", HOUR_S)
    monkeypatch.setattr(upkeep, "CONFIRM_S", HOUR_S)
    async with running(store) as ended:
        await allowed(env, ended)
    assert store.vetoes == ()


async def test_a_directory_that_cannot_be_watched_is_asked(
    make_settings: Callable[..., Settings], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rest goes on, and the log tells it."""
    store = FlagStore(make_settings(env_file=tmp_path / "none" / "x.env"), clock=FakeClock())
    async with running(store) as ended:
        (tmp_path / "KILL").write_text("*\n")
        async with asyncio.timeout(30):
            await ended.wait()
    assert store.is_killed("anything")
    assert "flags.directory_not_watched" in capsys.readouterr().out


def test_a_home_with_its_database_is_not_watched(
    make_settings: Callable[..., Settings], tmp_path: Path, env: Path, store: FlagStore
) -> None:
    """Every write to the database would wake the process."""
    assert store.files.directory == env.parent
    own = FlagStore(make_settings(env_file=tmp_path / "flags.env"), clock=FakeClock())
    assert own.files.directory is None


async def test_the_back_stop_compares_contents(
    store: FlagStore, env: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change without a mark counts when two questions in a row have found it."""
    monkeypatch.setattr("apps.core.flags.sources._mark", lambda _path: None)
    await asyncio.to_thread(env.write_text, "FEATURE_DEBATE_MODE=true\n")
    for vetoes in (("debate_mode",), ()):
        await Upkeep(store, FakeClock()).confirm()
        assert store.vetoes == vetoes
