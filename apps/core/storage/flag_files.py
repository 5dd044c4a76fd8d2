"""What the env file and the KILL file of each host say, audited once per host and content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import select

from apps.core.storage import flag_audit, flag_versions
from apps.core.storage.connections import Session, canonical_json, insert
from apps.core.storage.flag_audit import Cause
from apps.core.storage.flag_tables import flag_host_file


@dataclass(frozen=True, slots=True)
class HostFile:
    """A file of one host as a worker read it.

    Fields:
        content: what it says of flags, for instance `{"debate_mode": "false"}`.
        changed_at: when the file became so by its host's file system (`st_ctime`).
    """

    host: str
    source: Literal["envfile", "killfile"]
    sha256: str
    content: Mapping[str, str]
    changed_at: float


async def record(s: Session, read: HostFile, *, actor: str, now: float) -> bool:
    """Audit a file that says something new; every worker of the host may report it.

    Returns:
        False when another worker was first, or when it says of flags what it said before.
    """
    await flag_versions.lock(s)
    known = await _known(s, read)
    # A worker that was slow may come with content that is already replaced.
    if known is not None and read.changed_at < known.changed_at:
        return False
    await _keep(s, read)
    before = known.content if known else {}
    if canonical_json(before) == canonical_json(dict(read.content)):
        return False
    facts = {"host": read.host, "sha256": read.sha256}
    cause = Cause(actor, read.source, now, evidence=facts)
    await flag_audit.append(
        s, cause, flag_key=None, before=before if known else None, after=read.content
    )
    return True


async def _known(s: Session, read: HostFile) -> HostFile | None:
    query = select(flag_host_file).where(
        flag_host_file.c.host == read.host, flag_host_file.c.source == read.source
    )
    row = (await s.execute(query)).mappings().first()
    return HostFile(**row) if row else None


async def _keep(s: Session, read: HostFile) -> None:
    row = {
        "host": read.host,
        "source": read.source,
        "sha256": read.sha256,
        "content": dict(read.content),
        "changed_at": read.changed_at,
    }
    statement = insert(s, flag_host_file).values(row)
    newer = {name: statement.excluded[name] for name in ("sha256", "content", "changed_at")}
    await s.execute(statement.on_conflict_do_update(index_elements=["host", "source"], set_=newer))
