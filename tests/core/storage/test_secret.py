"""The service's secret: given, or made once and kept from others."""

from __future__ import annotations

import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from apps.core.errors import SystemFailure
from apps.core.settings import Settings
from apps.core.storage.secret import service_secret

Make = Callable[..., Settings]


def test_a_given_secret_is_used_and_no_file_is_made(make_settings: Make, tmp_path: Path) -> None:
    """SECRET_KEY is the pepper when it is set."""
    assert service_secret(make_settings(SECRET_KEY="x" * 40)) == b"x" * 40
    assert not (tmp_path / "secret_key").exists()


def test_a_secret_is_made_once(make_settings: Make, tmp_path: Path) -> None:
    """The second start finds the first one's secret; only the owner may read it."""
    first = service_secret(make_settings())
    assert len(first) == 32
    assert service_secret(make_settings()) == first
    assert stat.S_IMODE((tmp_path / "secret_key").stat().st_mode) == 0o600


def test_the_home_is_made_when_it_is_not_there(make_settings: Make, tmp_path: Path) -> None:
    """The very first start has no directory yet."""
    assert len(service_secret(make_settings(DTRAG_HOME=tmp_path / "a/b"))) == 32


def test_racing_starts_agree(make_settings: Make, tmp_path: Path) -> None:
    """Many at the same moment get one secret and leave no drafts behind."""
    settings = make_settings(DTRAG_HOME=tmp_path / "new")
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: service_secret(settings), range(32)))
    assert len(found) == 1
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["secret_key"]


def test_a_damaged_secret_stops_the_start(make_settings: Make, tmp_path: Path) -> None:
    """A cut file would make every key useless, and a guessable pepper."""
    (tmp_path / "secret_key").write_bytes(b"short")
    with pytest.raises(SystemFailure):
        service_secret(make_settings())
