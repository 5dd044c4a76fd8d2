"""Answers and opinions in SQL, on both engines."""

from __future__ import annotations

import dataclasses

import pytest
from sqlalchemy import select

from apps.core.errors import NotFound
from apps.core.storage import answers, tables
from apps.core.storage.answers import Feedback, StoredAnswer
from apps.core.storage.engine import Storage

ANSWER = StoredAnswer(
    id="a1",
    request_id="r1",
    key_id="k1",
    question_masked="딥러닝이란?",
    body={"answer": "답 [1]", "citations": [{"index": 1, "span": [0, 3]}], "reason": None},
    created_at=100.5,
)
OPINION = Feedback(answer_id="a1", caller="k1", reward=0.5, created_at=200.0, rating=4)


async def put(storage: Storage, *stored: StoredAnswer) -> None:
    """Keep answers."""
    async with storage.session() as s:
        for one in stored:
            await answers.put(s, one)


async def test_an_answer_comes_back_as_it_was_sent(storage: Storage) -> None:
    """The stored body is the body."""
    await put(storage, ANSWER)
    async with storage.reading() as s:
        assert await answers.get(s, "a1") == ANSWER


async def test_the_writer_keeps_the_same_row(storage: Storage) -> None:
    """Written behind the response or at once, an answer reads the same."""
    storage.writer.put(tables.answer, answers.answer_row(ANSWER))
    await storage.writer.flush()
    async with storage.reading() as s:
        assert await answers.get(s, "a1") == ANSWER


async def test_an_unknown_answer_is_none(storage: Storage) -> None:
    """There is no such answer."""
    async with storage.reading() as s:
        assert await answers.get(s, "nothing") is None


async def test_a_second_answer_with_the_same_id_changes_nothing(storage: Storage) -> None:
    """A repeated write keeps what was sent first."""
    await put(storage, ANSWER, dataclasses.replace(ANSWER, body={"answer": "other"}))
    async with storage.reading() as s:
        assert await answers.get(s, "a1") == ANSWER


async def test_a_nul_in_a_question_is_dropped(storage: Storage) -> None:
    """PostgreSQL holds no NUL in a text; the answer is kept without it on both engines."""
    await put(storage, dataclasses.replace(ANSWER, question_masked="a\0b"))
    async with storage.reading() as s:
        found = await answers.get(s, "a1")
    assert found is not None
    assert found.question_masked == "ab"


async def test_an_opinion_comes_back(storage: Storage) -> None:
    """Every part of an opinion is kept."""
    await put(storage, ANSWER)
    given = dataclasses.replace(
        OPINION, thumbs_up=True, comment_masked="좋아요\0", labels=("helpful", "fast")
    )
    async with storage.session() as s:
        await answers.put_feedback(s, given)
    async with storage.reading() as s:
        found = await answers.feedback_of(s, "a1")
    assert found == [dataclasses.replace(given, comment_masked="좋아요")]


async def test_a_second_opinion_replaces_the_first(storage: Storage) -> None:
    """The same caller has one opinion, with nothing left of the old one."""
    await put(storage, ANSWER)
    second = Feedback(answer_id="a1", caller="k1", reward=-1.0, created_at=300.0, thumbs_up=False)
    async with storage.session() as s:
        await answers.put_feedback(s, OPINION)
        await answers.put_feedback(s, second)
    async with storage.reading() as s:
        assert await answers.feedback_of(s, "a1") == [second]


async def test_each_caller_has_an_opinion(storage: Storage) -> None:
    """Two callers do not overwrite each other; the oldest comes first."""
    await put(storage, ANSWER)
    other = dataclasses.replace(OPINION, caller="k0", created_at=150.0)
    async with storage.session() as s:
        await answers.put_feedback(s, OPINION)
        await answers.put_feedback(s, other)
        assert await answers.feedback_of(s, "a1") == [other, OPINION]


async def test_an_opinion_on_nothing_is_not_found(storage: Storage) -> None:
    """An opinion needs its answer, and the next unit of work is not harmed."""
    with pytest.raises(NotFound):
        async with storage.session() as s:
            await answers.put_feedback(s, OPINION)
    await put(storage, ANSWER)


async def test_old_answers_are_forgotten_with_their_opinions(storage: Storage) -> None:
    """Retention takes what is older than its moment and nothing else."""
    await put(storage, ANSWER, dataclasses.replace(ANSWER, id="a2", created_at=999.0))
    async with storage.session() as s:
        await answers.put_feedback(s, OPINION)
        assert await answers.forget_before(s, 500.0) == 1
        assert await answers.get(s, "a1") is None
        assert await answers.get(s, "a2") is not None
        assert (await s.execute(select(tables.feedback))).all() == []
