"""A law: whatever people do, the audit has one row for each version, and the chain holds."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.core.errors import DtRagError
from apps.core.flags.admin import FlagAdmin, Wish
from apps.core.flags.definition import parse_document
from apps.core.flags.edits import Edit
from apps.core.flags.transfer import Mode
from apps.core.settings import Settings
from apps.core.storage import flag_versions
from apps.core.storage.engine import Storage
from apps.core.storage.flag_audit import AuditFilter
from tests.fakes.clock import FakeClock

Act = Callable[[FlagAdmin], Awaitable[object]]
ME = Wish("key:abc", "rest", "why")
KEYS = st.sampled_from(["debate_mode", "tools_policy", "mcp_tools", "unknown"])
SWITCH = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off"}
EDITS = st.one_of(
    st.builds(Edit, on=st.booleans()),
    st.builds(Edit, percent=st.sampled_from([0, 5, 50, 100])),
    st.just(Edit(auto=True)),
    st.just(Edit(definition=SWITCH)),
    st.just(Edit(members={"metadata": {"prerequisites": "mcp_tools"}})),
    st.just(Edit(members={"targeting": {"soon": []}})),
    st.builds(lambda owner: Edit(metadata={"owner": owner}), st.sampled_from(["a", None])),
)


def editing(key: str, edit: Edit, seen: int | None) -> Act:
    return lambda admin: admin.edit(key, edit, wish=ME, if_match=seen)


def importing(keys: set[str], mode: Mode, dry_run: bool) -> Act:
    document = parse_document({"flags": dict.fromkeys(sorted(keys), SWITCH)})
    return lambda admin: admin.take_in(document, mode=mode, wish=ME, dry_run=dry_run)


ACTS: st.SearchStrategy[Act] = st.one_of(
    st.builds(editing, KEYS, EDITS, st.sampled_from([None, None, 0, 1])),
    st.builds(lambda key: lambda admin: admin.kill(key, wish=ME), KEYS),
    st.builds(lambda key: lambda admin: admin.unkill(key, wish=ME), KEYS),
    st.just(lambda admin: admin.kill_all(wish=ME)),
    st.just(lambda admin: admin.unkill_all(wish=ME)),
    st.builds(importing, st.sets(KEYS), st.sampled_from(["merge", "replace"]), st.booleans()),
)


async def facts(admin: FlagAdmin) -> tuple[int, int, object]:
    """The version, the number of audit rows, and everything that flags say."""
    async with admin.storage.reading() as s:
        head = await flag_versions.read(s)
    rows, verdict = await admin.audit(AuditFilter(), limit=1000)
    assert verdict.ok
    return head.version, len(rows), (head.kill_all, (await admin.all())[1])


async def follow(path: Path, acts: list[Act]) -> None:
    storage = await Storage.open(Settings(DATABASE_URL=f"sqlite+aiosqlite:///{path}"))
    try:
        admin = FlagAdmin(storage, None, FakeClock())
        before = await facts(admin)
        for act in acts:
            try:
                await act(admin)
            except DtRagError:
                assert await facts(admin) == before
            after = await facts(admin)
            assert after[0] - before[0] == after[1] - before[1]
            assert (after[2] == before[2]) == (after[1] == before[1])
            before = after
    finally:
        await storage.close()


def test_one_row_for_each_effective_change(sqlite_template: Path) -> None:
    """No row for what changes nothing or is refused; never two for one step of the version."""

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(acts=st.lists(ACTS, max_size=10))
    def holds(acts: list[Act]) -> None:
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / "dtrag.db"
            shutil.copyfile(sqlite_template, path)
            asyncio.run(follow(path, acts))

    holds()
