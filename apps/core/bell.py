"""A bell between processes through Redis' pub/sub: it only hastens what is seen anyway.

Nobody may rely on it: a message that is lost, late or doubled changes nothing but the moment.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import structlog

CHANNEL = "dtrag:flags"
SOCKET_TIMEOUT_S = 0.2
# So long a silent connection is trusted before it is asked for a sign of life.
HEALTH_S = 5.0
REST_S = 2.0

log = structlog.get_logger(__name__)


class Bell:
    """Rings with a number, and hears the numbers of others."""

    def __init__(self, url: str) -> None:
        # Imported late: a service without Redis need not load its client.
        from redis import asyncio as aio  # noqa: PLC0415
        from redis import backoff, exceptions  # noqa: PLC0415

        self._failures = (exceptions.RedisError, OSError, TimeoutError)
        self._client = aio.Redis.from_url(
            url,
            socket_connect_timeout=SOCKET_TIMEOUT_S,
            health_check_interval=HEALTH_S,
            retry=aio.retry.Retry(backoff.NoBackoff(), 0),
        )

    async def ring(self, number: int) -> None:
        """Tell everybody; does nothing while Redis is away."""
        with contextlib.suppress(*self._failures):
            async with asyncio.timeout(SOCKET_TIMEOUT_S):
                await self._client.publish(CHANNEL, str(number))

    async def listen(self, heard: Callable[[int], Awaitable[None]]) -> None:
        """Pass on every number until cancelled; comes back by itself when Redis does."""
        while True:
            try:
                async for number in self._numbers():
                    await heard(number)
            except self._failures as error:
                log.info("bell.lost", error=type(error).__name__, rest_s=REST_S)
            await asyncio.sleep(REST_S)

    async def _numbers(self) -> AsyncIterator[int]:
        async with self._client.pubsub(ignore_subscribe_messages=True) as subscription:
            await subscription.subscribe(CHANNEL)
            while True:
                message = await subscription.get_message(timeout=HEALTH_S)
                data = message["data"] if message else b""
                if data.isdigit():
                    yield int(data)

    async def close(self) -> None:
        """Let go of Redis."""
        with contextlib.suppress(*self._failures):
            await self._client.aclose()
