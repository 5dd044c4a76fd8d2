"""Whole flagd documents into SQL and out of it, in one unit of work or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from apps.core.domain.flags import Flag
from apps.core.flags.definition import DOCUMENT, FlagSet, export_document
from apps.core.flags.edits import may_be_on
from apps.core.flags.prerequisites import prerequisites_first
from apps.core.flags.stored import EVALUATORS, definition_of, evaluators_of, wish_of
from apps.core.flags.views import requirements
from apps.core.storage import flag_versions
from apps.core.storage import flags as stored_flags
from apps.core.storage.engine import Session
from apps.core.storage.flag_audit import Cause
from apps.core.storage.flags import FlagTable, FlagWish, StoredFlag

Mode = Literal["merge", "replace"]


@dataclass(frozen=True, slots=True)
class Imported:
    """What a document changed, by flag key in order.

    on: of the created and changed, those that are now on and were not, for a look at vetoes.
    document: whether the shared rules or other top-level members changed.
    """

    version: int
    created: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    on: tuple[str, ...] = ()
    document: bool = False


def exported(table: FlagTable) -> bytes:
    """All definitions as one document; flags without one, and kill marks, are left out."""
    evaluators = evaluators_of(table)
    found = (definition_of(row, evaluators) for row in table.flags)
    return export_document(
        [each for each in found if each is not None],
        evaluators=evaluators,
        metadata=table.document.get("metadata"),
        extra={name: value for name, value in table.document.items() if name not in DOCUMENT},
    )


async def take_in(
    s: Session, document: FlagSet, *, mode: Mode, cause: Cause, flags: Sequence[Flag]
) -> Imported:
    """Make SQL say what the document says; the caller's unit of work keeps it.

    Args:
        mode: `merge` leaves flags and shared rules that the document does not name; `replace`
            removes them. A kill mark stays either way.

    Raises:
        PrerequisiteCycle: flags would wait for each other.
        BusinessFailure: a rollout is under way whose flag would be removed or move its cohort.
    """
    await flag_versions.lock(s)
    before = await stored_flags.load_flags(s)
    known = {row.key: row for row in before.flags}
    said = [key for key, row in known.items() if row.wish != FlagWish()]
    gone = [key for key in said if key not in document.flags] if mode == "replace" else []
    _refuse_circles(known, document, gone=gone, flags=flags)
    for key in gone:
        await _remove(s, known[key], cause)
    whole = _document(before.document, document, mode=mode)
    if whole != before.document:
        wish = FlagWish(definition=whole or None)
        await stored_flags.put(s, stored_flags.DOCUMENT, wish, cause=cause)
    for definition in document.flags.values():
        await stored_flags.put(s, definition.key, wish_of(definition), cause=cause)
    after = await stored_flags.load_flags(s)
    return _compared(before, after, document=whole != before.document)


def _refuse_circles(
    known: Mapping[str, StoredFlag],
    document: FlagSet,
    *,
    gone: Sequence[str],
    flags: Sequence[Flag],
) -> None:
    kept = {key: row.wish.definition for key, row in known.items() if key not in gone}
    new = {key: definition.raw for key, definition in document.flags.items()}
    prerequisites_first(requirements(flags, {**kept, **new}))


async def _remove(s: Session, row: StoredFlag, cause: Cause) -> None:
    if row.killed:
        # Nobody who loads a file means to turn a killed flag on again.
        await stored_flags.put(s, row.key, FlagWish(), cause=cause)
    else:
        await stored_flags.remove(s, row.key, cause=cause)


def _document(before: Mapping[str, Any], given: FlagSet, *, mode: Mode) -> dict[str, Any]:
    new: dict[str, Any] = dict(given.extra)
    old = dict(before) if mode == "merge" else {}
    for name, members in ((EVALUATORS, given.evaluators), ("metadata", given.metadata)):
        merged = {**old.get(name, {}), **members}
        if merged:
            new[name] = merged
    return {**old, **new}


def _compared(before: FlagTable, after: FlagTable, *, document: bool) -> Imported:
    old = {row.key: row for row in before.flags}
    new = {row.key: row for row in after.flags}
    defined = {key for key, row in old.items() if row.wish != FlagWish()}
    touched = [key for key in new if key not in old or old[key].version != new[key].version]
    emptied = {key for key in touched if new[key].wish == FlagWish()}
    created = [key for key in touched if key not in defined and key not in emptied]
    return Imported(
        after.version,
        created=tuple(created),
        changed=tuple(key for key in touched if key in defined and key not in emptied),
        removed=tuple(sorted({*(key for key in old if key not in new), *emptied})),
        on=tuple(key for key in touched if _on(new[key], after) and not _on(old.get(key), before)),
        document=document,
    )


def _on(row: StoredFlag | None, table: FlagTable) -> bool:
    return row is not None and may_be_on(definition_of(row, evaluators_of(table)))
