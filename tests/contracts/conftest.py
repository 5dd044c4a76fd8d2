"""The same tests on both database engines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from apps.core.settings import Settings
from apps.core.storage.engine import Storage


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.pg)])
def database_url(request: pytest.FixtureRequest) -> str:
    """A migrated database of this test, on each engine."""
    name = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    return str(request.getfixturevalue(name))


@pytest.fixture
async def storage(
    database_url: str, make_settings: Callable[..., Settings]
) -> AsyncIterator[Storage]:
    """An open storage on each engine."""
    opened = await Storage.open(make_settings(DATABASE_URL=database_url))
    yield opened
    await opened.close()
