"""What callers hand in, checked and ready for the queue; and what they see of it afterwards."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import PurePosixPath
from typing import Literal, cast

from apps.core.errors import MissingParameter, TooLarge
from apps.core.storage.job_items import Item
from apps.core.storage.jobs import Job
from apps.core.text import pii
from apps.ingestion.items import ITEM_STATES, ItemState, ItemView, JobView, NewItem, clean, masked
from apps.ingestion.pipeline import checked_id


def checked_rows(items: Sequence[NewItem], *, max_bytes: int) -> list[Item]:
    """The rows of a job's items; names and titles are masked before anything is stored.

    Raises:
        MissingParameter: no item.
        TooLarge: an item is over the limit.
        Unprocessable: an id that cannot be one.
    """
    if not items:
        raise MissingParameter("There is nothing to ingest.")
    for item in items:
        if len(item.content) > max_bytes:
            raise TooLarge(f"A file may have {max_bytes} bytes at most.")
        if item.meta.id is not None:
            checked_id(item.meta.id)
    plain = [clean(item.name) for item in items]
    covered = [pii.mask(name) for name in plain]
    rows = enumerate(zip(told_apart(covered), items, strict=True))
    return [
        Item(number, name, _meta(item, named=covered[number] == plain[number]), item.content)
        for number, (name, item) in rows
    ]


def told_apart(names: Sequence[str]) -> list[str]:
    """Number names that come again, because an id is made of the name: `a.md`, `a (2).md`."""
    seen: Counter[str] = Counter()
    apart = []
    for name in names:
        seen[name] += 1
        path = PurePosixPath(name)
        again = name and seen[name] > 1
        apart.append(str(path.with_stem(f"{path.stem} ({seen[name]})")) if again else name)
    return apart


def _meta(item: NewItem, *, named: bool) -> dict[str, object]:
    """What is said of an item; `named` when its name was not masked and tells it from others."""
    said = asdict(masked(item.meta))
    if not named and item.meta.id is None:
        said["id"] = f"doc-{hashlib.sha256(item.content).hexdigest()[:16]}"
    return {**{name: value for name, value in said.items() if value}, "format": item.format}


def view_of(job: Job, items: Sequence[Item], counts: Mapping[str, int]) -> JobView:
    """A job as its owner may see it."""
    return JobView(
        id=job.id,
        kind=cast("Literal['ingest', 'delete', 'embed']", job.kind),
        state=job.state,
        total=job.total,
        finished=job.total if job.state == "done" else job.finished,
        attempts=job.attempts,
        error_code=job.error_code,
        error=job.error,
        counts={state: counts.get(state, 0) for state in ITEM_STATES},
        items=tuple(
            ItemView(
                pii.mask(item.name),
                cast("ItemState", item.state),
                item.doc_ids,
                item.error_code,
                item.error,
            )
            for item in items
        ),
        created_at=job.created_at,
        updated_at=job.updated_at,
    )
