"""SQL as the server uses it: migrated, watched, with all stores; imported in the background."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

from apps.api import render
from apps.api.kept_runs import SqlRuns
from apps.api.rollout_desk import SqlExperiments, SqlRollouts
from apps.api.run_worker import RunWorker
from apps.api.stores import SqlAnswers, SqlDocuments, SqlKeys, SqlOnce, exposures
from apps.core.domain.models import AnswerRecord
from apps.core.domain.ports import Clock
from apps.core.errors import StorageDown
from apps.core.flags.arms import ArmRecorder, Snapshots
from apps.core.flags.node_watch import NodeWatch
from apps.core.settings import Settings
from apps.core.storage import answers, changes, keys, migrate, tables
from apps.core.storage.changes import Watch, open_watch
from apps.core.storage.engine import Storage
from apps.core.storage.keyring import KeyRing
from apps.core.storage.secret import service_secret

CACHE_TOPIC = "cache"
COUNT_S = 5.0
BEHIND = "The database schema is behind this program; run `alembic upgrade head`."


class Sql:
    """The open database of this process; implements `ports.Stores`."""

    def __init__(self, settings: Settings, clock: Clock, storage: Storage, watch: Watch) -> None:
        self.storage = storage
        self.watch = watch
        self._clock = clock
        self._pepper = service_secret(settings)
        self.ring = KeyRing(storage.reading, watch, self._pepper)
        self.answers = SqlAnswers(storage)
        self.documents = SqlDocuments(storage)
        self.keys = SqlKeys(storage, self.ring, pepper=self._pepper, clock=clock)
        self.rollouts = SqlRollouts(storage, clock)
        self.experiments = SqlExperiments(storage, clock)
        worker = RunWorker(storage, watch, clock)
        self.runs = SqlRuns(storage, worker, clock, pepper=self._pepper)
        # A claim must outlive the longest request, or two of them could do the same work.
        self.once = SqlOnce(storage, claim_s=2 * settings.REQUEST_TIMEOUT_S + 300)

    @classmethod
    async def open(cls, settings: Settings, clock: Clock) -> Sql:
        """Bring the schema up to date, open everything, and make the first key once.

        Raises:
            StorageDown: the database is away, or PostgreSQL's schema is behind; only an operator
                migrates a database that several hosts share.
        """
        storage = await Storage.open(settings)
        try:
            if storage.embedded:
                await asyncio.to_thread(migrate.upgrade, settings.database_url)
            elif not await asyncio.to_thread(migrate.is_current, settings.database_url):
                raise StorageDown(BEHIND)
            opened = cls(settings, clock, storage, await open_watch(storage.url))
            await opened._make_first_key()
            await opened.ring.current()
        except BaseException:
            await storage.close()
            raise
        return opened

    async def close(self) -> None:
        """Write what is waiting, then let go."""
        await self.watch.close()
        await self.storage.close()

    async def ping(self) -> None:
        """Ask for a sign of life."""
        await self.storage.ping()

    def arms(self, flags: Snapshots, nodes: NodeWatch) -> ArmRecorder:
        """What counts the arms of rollouts, under the service's pepper."""
        return ArmRecorder(self._clock, self._pepper, flags, nodes=nodes)

    async def record(self, made: AnswerRecord) -> None:
        """Keep an answer, written behind the response.

        Raises:
            StorageDown: too many rows wait already.
        """
        stored = answers.StoredAnswer(
            id=made.answer_id,
            request_id=made.request_id,
            key_id=made.key_id,
            question_masked=made.question_masked,
            body={**render.answer(made), **exposures(made)},
            created_at=made.created_at,
        )
        if not self.storage.writer.put(tables.answer, answers.answer_row(stored)):
            raise StorageDown("Too many answers wait to be written.")

    def generation(self) -> int:
        """Grows with every clear of the cache, in any worker."""
        return self.watch.version(CACHE_TOPIC)

    async def bump_cache(self) -> None:
        """Tell every worker that the cache was cleared."""
        async with self.storage.session() as s:
            await changes.bump(s, CACHE_TOPIC)
        await self.watch.refresh()

    async def count_use(self, uses: Mapping[str, int]) -> None:
        """Add requests to their keys."""
        async with self.storage.session(within_s=COUNT_S) as s:
            await keys.count_use(s, uses, day=self._today(), now=self._clock.now())

    async def used_today(self) -> Mapping[str, int]:
        """Requests of every key since midnight UTC."""
        async with self.storage.reading() as s:
            return await keys.used_on(s, self._today())

    def _today(self) -> str:
        return datetime.fromtimestamp(self._clock.now(), UTC).date().isoformat()

    async def _make_first_key(self) -> None:
        async with self.storage.session() as s:
            first = await keys.create_first(s, pepper=self._pepper, now=self._clock.now())
        if first is not None:
            announce(first.secret)


def announce(secret: str) -> None:
    """Show the first administrator's key, which only this process ever sees."""
    sys.stdout.write(f"\n  Administrator's API key, shown only once:  {secret}\n\n")
    sys.stdout.flush()
