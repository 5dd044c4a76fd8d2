"""A question a turn: what was there before a request was sent is never missed."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine

import pytest
import uvloop

from apps.core.turns import EachTurn

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]
CLIENTS = 8
ROUNDS = 50


class Counted:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.value = 0
        self.asked = 0

    def __call__(self) -> int:
        self.asked += 1
        return self.value


def run(loop: Callable[[], asyncio.AbstractEventLoop], work: Coroutine[None, None, None]) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(work)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_turn_asks_once_and_the_next_asks_again(
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """Tasks of one turn share an answer; the turn after it sees what has changed."""
    source = Counted()
    newest = EachTurn(source)

    async def work() -> None:
        assert await asyncio.gather(*(seen() for _ in range(5))) == [0] * 5
        assert source.asked == 1
        source.value = 1
        await asyncio.sleep(0)
        assert (newest(), newest(), source.asked) == (1, 1, 2)
        source.value = 2
        newest.forget()
        assert newest() == 2

    async def seen() -> int:
        return newest()

    run(loop, work())


def test_without_a_loop_every_call_asks() -> None:
    """A thread has no turns, so nothing is kept for it."""
    source = Counted()
    newest = EachTurn(source)
    assert (newest(), newest(), source.asked) == (0, 0, 2)


@pytest.mark.parametrize("loop", LOOPS)
def test_the_answer_of_a_loop_ends_with_it(
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """Another loop in the same thread asks anew, although the first had no further turn."""
    source = Counted()
    newest = EachTurn(source)

    async def work() -> None:
        newest()

    run(loop, work())
    ended = loop()
    ended.close()
    newest._asked = (threading.get_ident(), ended, -1)  # as of a loop that broke off
    run(loop, work())
    assert source.asked == 2


@pytest.mark.parametrize("loop", LOOPS)
def test_a_change_before_a_request_is_seen_by_it(
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """Eight clients on real sockets raise a number and then ask; none reads an older one."""
    source, changing = Counted(), threading.Lock()
    newest = EachTurn(source)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1):
            writer.write(newest().to_bytes(4, "big"))
        writer.close()

    def client(port: int) -> list[tuple[int, int]]:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            found = []
            for _ in range(ROUNDS):
                with changing:
                    source.value += 1
                    least = source.value
                connection.sendall(b"?")
                found.append((least, int.from_bytes(connection.recv(4), "big")))
            return found

    async def work() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        seen = await asyncio.gather(*(asyncio.to_thread(client, port) for _ in range(CLIENTS)))
        server.close()
        await server.wait_closed()
        assert all(read >= least for rows in seen for least, read in rows)

    run(loop, work())
