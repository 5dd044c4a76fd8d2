"""A loopback server that speaks Gemini's REST dialect and fails on command.

It answers `POST /{version}/models/{model}:generateContent` and `:streamGenerateContent?alt=sse`
for the real client libraries. `python -m tests.fakes.gemini 9009` runs it alone; point
`GEMINI_BASE_URL` at it and the product can be tried without a key or a network.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal, Self

if TYPE_CHECKING:
    import pytest

Mode = Literal[
    "ok",
    "429",
    "500",
    "503",
    "401",
    "400_key",
    "too_long",
    "hang",
    "slow",
    "badjson",
    "reset",
    "empty",
    "safety",
    "prompt_blocked",
    "max_tokens",
    "cut",
    "clean_cut",
    "stall",
]
FAULTS: tuple[Mode, ...] = (
    "429",
    "500",
    "503",
    "401",
    "400_key",
    "too_long",
    "hang",
    "badjson",
    "reset",
    "empty",
    "safety",
    "prompt_blocked",
)
MID_STREAM: tuple[Mode, ...] = ("cut", "clean_cut", "stall")
SILENT = frozenset({"hang", "stall"})
REFUSALS: dict[str, tuple[int, str, str]] = {
    "429": (429, "RESOURCE_EXHAUSTED", "Quota exceeded."),
    "500": (500, "INTERNAL", "An internal error has occurred."),
    "503": (503, "UNAVAILABLE", "The model is overloaded."),
    "401": (401, "UNAUTHENTICATED", "Request had invalid authentication credentials."),
    "400_key": (400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."),
    "too_long": (
        400,
        "INVALID_ARGUMENT",
        "The input token count (9) exceeds the maximum number of tokens allowed (8).",
    ),
}
RETRY_DELAY_S = 17
PIECE_CHARS = 7


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it arrived."""

    path: str
    streamed: bool
    body: dict[str, Any]

    @property
    def system(self) -> str:
        parts = self.body.get("systemInstruction", {}).get("parts", [])
        return "".join(part.get("text", "") for part in parts)

    @property
    def user(self) -> str:
        turns = self.body.get("contents", [])
        return "".join(part.get("text", "") for turn in turns for part in turn["parts"])


@dataclass(slots=True)
class FakeGemini:
    """Set `reply` (text, or a function of the call) and `mode`; `then` lists modes for next calls.

    `pause_s` separates the pieces of a slow stream; `left` is set when a client hangs up early.
    """

    reply: str | Callable[[Call], str] = "ok"
    mode: Mode = "ok"
    then: list[Mode] = field(default_factory=list)
    pause_s: float = 0.01
    calls: list[Call] = field(default_factory=list)
    called: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    _server: asyncio.Server | None = None
    _open: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self, port: int = 0) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            call = await _read(reader)
            self.calls.append(call)
            self.called.set()
            mode = self.then.pop(0) if self.then else self.mode
            await self._answer(call, mode, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            self.left.set()
        finally:
            self._open.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(
        self, call: Call, mode: Mode, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if mode in REFUSALS:
            code, status, message = REFUSALS[mode]
            _send(writer, code, json.dumps(_refusal(code, status, message)))
        elif mode == "hang":
            await self._hold(reader)
        elif mode == "reset":
            _reset(writer)
        elif mode == "badjson":
            broken = '{"candidates": [{"content": {"parts": [{"te'
            _send(writer, 200, f"data: {broken}\r\n\r\n" if call.streamed else broken)
        else:
            await self._generate(call, mode, reader, writer)
        await writer.drain()

    async def _generate(
        self, call: Call, mode: Mode, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        text = self.reply(call) if callable(self.reply) else self.reply
        bodies = _bodies(text, mode)
        if not call.streamed:
            _send(writer, 200, json.dumps(_whole(text, bodies)))
            return
        writer.write(_head(200, "text/event-stream", chunked=True))
        kept = bodies[: len(bodies) // 2 + 1] if mode in MID_STREAM else bodies
        for body in kept:
            _chunk(writer, f"data: {json.dumps(body, ensure_ascii=False)}\r\n\r\n")
            await writer.drain()
            if mode in ("slow", "cut"):
                await asyncio.sleep(self.pause_s)
        if mode == "cut":
            _reset(writer)
        elif mode == "stall":
            await self._hold(reader)
        else:
            writer.write(b"0\r\n\r\n")

    async def _hold(self, reader: asyncio.StreamReader) -> None:
        """Say nothing until the client leaves."""
        await reader.read()
        self.left.set()


def _bodies(text: str, mode: Mode) -> list[dict[str, Any]]:
    if mode == "empty":
        return [{"candidates": [], "usageMetadata": _usage()}]
    if mode == "prompt_blocked":
        return [{"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}]
    if mode == "safety":
        return [{"candidates": [{"finishReason": "SAFETY", "index": 0}]}]
    end = "MAX_TOKENS" if mode == "max_tokens" else "STOP"
    pieces = [text[i : i + PIECE_CHARS] for i in range(0, len(text), PIECE_CHARS)] or [""]
    return [
        _candidate(piece, end if i == len(pieces) - 1 else None) for i, piece in enumerate(pieces)
    ]


def _whole(text: str, bodies: list[dict[str, Any]]) -> dict[str, Any]:
    if len(bodies) == 1:
        return bodies[0]
    return _candidate(text, bodies[-1]["candidates"][0]["finishReason"])


def _candidate(text: str, finish: str | None) -> dict[str, Any]:
    candidate = {"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {
        "candidates": [candidate],
        "usageMetadata": _usage(),
        "modelVersion": "gemini-2.5-flash",
    }


def _usage() -> dict[str, int]:
    return {
        "promptTokenCount": 100,
        "candidatesTokenCount": 20,
        "totalTokenCount": 120,
    }


def _refusal(code: int, status: str, message: str) -> dict[str, Any]:
    details = []
    if code == HTTPStatus.TOO_MANY_REQUESTS:
        kind = "type.googleapis.com/google.rpc.RetryInfo"
        details.append({"@type": kind, "retryDelay": f"{RETRY_DELAY_S}s"})
    return {"error": {"code": code, "message": message, "status": status, "details": details}}


async def _read(reader: asyncio.StreamReader) -> Call:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    path = head.split(" ", 2)[1]
    lengths = [
        line.split(":")[1] for line in head.split("\r\n") if line.lower().startswith("content-l")
    ]
    body = json.loads(await reader.readexactly(int(lengths[0])))
    return Call(path, ":streamGenerateContent" in path, body)


def _head(status: int, kind: str, *, chunked: bool) -> bytes:
    framing = "transfer-encoding: chunked\r\n" if chunked else ""
    reason = HTTPStatus(status).phrase
    return (
        f"HTTP/1.1 {status} {reason}\r\ncontent-type: {kind}\r\nconnection: close\r\n{framing}\r\n"
    ).encode()


def _send(writer: asyncio.StreamWriter, status: int, body: str) -> None:
    writer.write(_head(status, "application/json", chunked=False) + body.encode())


def _chunk(writer: asyncio.StreamWriter, text: str) -> None:
    data = text.encode()
    writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def mode_of(request: pytest.FixtureRequest) -> str | None:
    """The mode that a parametrised test asks for."""
    params: dict[str, str] = getattr(getattr(request.node, "callspec", None), "params", {})
    return params.get("mode")


def first_sentence(call: Call) -> str:
    """Answer with the first sentence of the first passage of our own prompt."""
    found = re.search(r"\[1\]\n[^\n]*\n(.+?[.!?])(?:\s|$)", call.user, re.DOTALL)
    return f"{found[1]} [1]" if found else "NO_ANSWER"


async def _main() -> None:
    fake = FakeGemini(reply=first_sentence)
    await fake.__aenter__(int(sys.argv[1]) if len(sys.argv) > 1 else 9009)
    sys.stdout.write(f"GEMINI_BASE_URL={fake.url}\n")
    await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main())
