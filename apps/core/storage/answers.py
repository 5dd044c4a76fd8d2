"""Answers as they were sent, and what people thought of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import RowMapping, func, select
from sqlalchemy.exc import IntegrityError

from apps.core.errors import MissingParameter, NotFound, Unprocessable
from apps.core.storage.connections import Session, insert
from apps.core.storage.tables import answer, feedback

LOWEST_RATING, MIDDLE_RATING, HIGHEST_RATING = 1, 3, 5


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """An answer's response body; `question_masked` has passed the mask."""

    id: str
    request_id: str
    key_id: str | None
    question_masked: str
    body: Mapping[str, Any]
    created_at: float


@dataclass(frozen=True, slots=True)
class Feedback:
    """What one caller thinks of one answer; `reward` is -1..1, see `reward_of`."""

    answer_id: str
    caller: str
    reward: float
    created_at: float
    rating: int | None = None
    thumbs_up: bool | None = None
    comment_masked: str | None = None
    labels: tuple[str, ...] = field(default=())


def reward_of(
    *, rating: int | None = None, thumbs_up: bool | None = None, reward: float | None = None
) -> float:
    """One number in -1..1 of what was said; the most exact word counts when there are several.

    Raises:
        MissingParameter: nothing was said.
        Unprocessable: a rating outside 1..5, or a reward outside -1..1 or no number.
    """
    if reward is not None:
        if not math.isfinite(reward) or not -1 <= reward <= 1:
            raise Unprocessable("reward must be a number from -1 to 1.")
        return float(reward)
    if rating is not None:
        if not LOWEST_RATING <= rating <= HIGHEST_RATING:
            raise Unprocessable("rating must be from 1 to 5.")
        return (rating - MIDDLE_RATING) / (HIGHEST_RATING - MIDDLE_RATING)
    if thumbs_up is not None:
        return 1.0 if thumbs_up else -1.0
    raise MissingParameter("Say one of rating, thumbs_up, reward.")


def answer_row(stored: StoredAnswer) -> dict[str, object]:
    """The row of an answer, for `storage.writer.put(tables.answer, ...)`."""
    return {
        "id": stored.id,
        "request_id": stored.request_id,
        "key_id": stored.key_id,
        "question_masked": stored.question_masked.replace("\0", ""),  # PostgreSQL holds no NUL
        "body": dict(stored.body),
        "created_at": stored.created_at,
    }


async def put(s: Session, stored: StoredAnswer) -> None:
    """Keep an answer; one with the same id stays as it was."""
    statement = insert(s, answer).values(answer_row(stored))
    await s.execute(statement.on_conflict_do_nothing())


async def get(s: Session, answer_id: str) -> StoredAnswer | None:
    """The stored answer, None when there is none (or none yet: flush the writer first)."""
    row = (await s.execute(select(answer).where(answer.c.id == answer_id))).mappings().first()
    return None if row is None else StoredAnswer(**row)


async def bodies(s: Session, *, since: float, limit: int) -> list[Mapping[str, Any]]:
    """The newest answers as they were sent, none made before `since`."""
    query = select(answer.c.body).where(answer.c.created_at >= since)
    newest = query.order_by(answer.c.created_at.desc()).limit(limit)
    return list((await s.execute(newest)).scalars())


async def count(s: Session, *, since: float) -> int:
    """How many answers were made at `since` or later."""
    query = select(func.count()).select_from(answer).where(answer.c.created_at >= since)
    return int((await s.execute(query)).scalar_one())


async def put_feedback(s: Session, given: Feedback) -> None:
    """Keep an opinion; a second one of the same caller replaces the first.

    Raises:
        NotFound: there is no such answer; the unit of work is void.
    """
    row = {
        "answer_id": given.answer_id,
        "caller": given.caller,
        "reward": given.reward,
        "rating": given.rating,
        "thumbs_up": given.thumbs_up,
        "comment_masked": given.comment_masked and given.comment_masked.replace("\0", ""),
        "labels": list(given.labels),
        "created_at": given.created_at,
    }
    statement = insert(s, feedback).values(row)
    identity = ("answer_id", "caller")
    newer = {name: statement.excluded[name] for name in row if name not in identity}
    try:
        await s.execute(statement.on_conflict_do_update(index_elements=identity, set_=newer))
    except IntegrityError as error:
        raise NotFound(f"There is no answer {given.answer_id!r}.") from error


async def feedback_of(s: Session, answer_id: str) -> list[Feedback]:
    """Every opinion on an answer, the oldest first."""
    rows = await s.execute(
        select(feedback)
        .where(feedback.c.answer_id == answer_id)
        .order_by(feedback.c.created_at, feedback.c.caller)
    )
    return [_feedback(row) for row in rows.mappings()]


async def forget_before(s: Session, moment: float) -> int:
    """Delete answers (and their feedback) made before `moment`; return how many."""
    result = await s.execute(answer.delete().where(answer.c.created_at < moment))
    return int(result.rowcount)


def _feedback(row: RowMapping) -> Feedback:
    values = dict(row)
    return Feedback(**{**values, "labels": tuple(values["labels"])})
